"""What is shipped, as the tests read it."""

import re
import shutil
from collections.abc import Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import Any, get_type_hints

import yaml

from settings import Settings

ROOT = Path(__file__).parents[2]
DEPLOY = ROOT / "deploy"
SETTINGS = frozenset(
    f"MALL_{name.upper()}"
    for group in get_type_hints(Settings).values()
    for name in group.model_fields
)
"""Every variable that the mall reads."""


@cache
def compose() -> dict[str, Any]:
    """compose.yaml, before anything is filled in."""
    return yaml.safe_load((DEPLOY / "compose.yaml").read_text())


def services() -> dict[str, dict[str, Any]]:
    """The services of compose.yaml, by name."""
    return compose()["services"]


def of_the_mall() -> dict[str, dict[str, Any]]:
    """Those that run the mall's image."""
    return {name: one for name, one in services().items() if one["image"].startswith("points-mall")}


def assignments(file: str) -> dict[str, str]:
    """The variables of an env file; those that are commented out, too."""
    lines = re.findall(r"(?m)^#?([A-Z][A-Z0-9_]+)=(.*)$", (DEPLOY / file).read_text())
    return dict(lines)


def instructions() -> Iterator[tuple[str, str]]:
    """The Dockerfile's instructions and what they are given."""
    lines = (DEPLOY / "Dockerfile").read_text().splitlines()
    text = "\n".join(line for line in lines if not line.lstrip().startswith("#"))
    for line in re.sub(r"\\\n\s*", " ", text).splitlines():
        if line.strip():
            word, _, rest = line.partition(" ")
            yield word, rest.strip()


def last_stage() -> list[tuple[str, str]]:
    """The instructions of the stage that is run."""
    found = list(instructions())
    last = max(index for index, (word, _) in enumerate(found) if word == "FROM")
    return found[last:]


def anchors(document: Path) -> set[str]:
    """How links name the chapters of a document."""
    headings = re.findall(r"(?m)^#+ (.*)$", document.read_text())
    return {re.sub(r"[^a-z0-9 -]", "", one.lower()).replace(" ", "-") for one in headings}


def nginx_copy(
    to: Path, upstreams: list[str], port: int, changes: Mapping[str, str] | None = None
) -> Path:
    """nginx's configuration with these servers behind it, listening here; returns the file."""
    directory = shutil.copytree(DEPLOY / "nginx", to / "nginx")
    for service, address in zip(("web-1:8000", "web-2:8000"), upstreams, strict=True):
        _replace(directory / "nginx.conf", service, address)
    # Beside another nginx, perhaps, whose files these would be.
    for name in ("nginx.pid", "client_body", "proxy", "fastcgi", "uwsgi", "scgi"):
        _replace(directory / "nginx.conf", f"/tmp/{name}", str(to / name))
    _replace(directory / "nginx.conf", "/dev/stdout", str(to / "access.log"))
    _replace(directory / "servers" / "plain.conf", "8080", str(port))
    for old, new in (changes or {}).items():
        [file] = [one for one in directory.rglob("*.conf") if old in one.read_text()]
        _replace(file, old, new)
    return directory / "nginx.conf"


def with_tls(file: Path, port: int, tls_port: int, certificate: Path, key: Path) -> Path:
    """A copy of `nginx_copy` that listens on `port`, changed as tls.conf.example says."""
    servers = file.parent / "servers"
    (servers / "plain.conf").rename(servers / "plain.conf.off")
    shutil.copy(servers / "tls.conf.example", servers / "tls.conf")
    _replace(servers / "tls.conf", "listen 8080", f"listen {port}")
    _replace(servers / "tls.conf", "listen 8443", f"listen {tls_port}")
    _replace(servers / "tls.conf", "http2 on;", "")  # nginx of Debian 12 does not know it yet
    (file.parent / "certificates").mkdir()
    shutil.copy(certificate, file.parent / "certificates" / "mall.crt")
    shutil.copy(key, file.parent / "certificates" / "mall.key")
    return file


def _replace(file: Path, old: str, new: str) -> None:
    text = file.read_text()
    assert old in text, (file, old)
    file.write_text(text.replace(old, new))
