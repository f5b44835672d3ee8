"""What a link looks like: its code, its address, and where it leads."""

import secrets
from urllib.parse import quote

ALPHABET = "23456789ABCDEFGHJKLMNPQRSTUVWXYZ"
"""Nothing that is taken for something else when it is read out or typed: no 0, 1, I or O."""
CODE_LENGTH = 10
"""Characters, of 5 bits each: among 100,000,000 links one code in 11,000,000 is taken already."""


def new_code() -> str:
    """A code nobody can guess, from the system's cryptographic source."""
    return "".join(secrets.choice(ALPHABET) for _ in range(CODE_LENGTH))


def read_code(written: str) -> str | None:
    """The code as it is stored, however it was typed; None for what no code looks like."""
    code = written.strip().upper()
    is_code = len(code) == CODE_LENGTH and all(letter in ALPHABET for letter in code)
    return code if is_code else None


def link_to(public_url: str, code: str) -> str:
    """The address of a link, below the address at which the public reaches the mall."""
    return f"{public_url}/s/{code}"


def front_end_link(template: str, code: str, kind: str, target: str) -> str:
    """Where the front end shows what is shared; every value is quoted for an address."""
    values = {"code": code, "kind": kind, "target": target}
    return template.format_map({name: quote(value, safe="") for name, value in values.items()})
