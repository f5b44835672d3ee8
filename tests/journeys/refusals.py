"""Sending what must be refused, and seeing that it was, and that nothing else happened."""

import base64
import json
from typing import Any

from services.mall import Mall
from tests.client import Client
from tests.factories import fingerprint_of_database

BAD_INPUT, INVALID, UNPARSABLE = (
    "BAD_USER_INPUT",
    "GRAPHQL_VALIDATION_FAILED",
    "GRAPHQL_PARSE_FAILED",
)
INSIDE = ("traceback", "asyncpg", "sqlalchemy", "select ", "postgres", "python", ".py", "exception")


async def code_of(
    client: Client, query: str, variables: dict[str, Any] | None = None, *roles: str
) -> str | None:
    """The code that the operation ends in; None when it is answered."""
    name = "till" if "service" in roles else "alice"
    answer = await client.post(query, variables, client.token(name, *roles))
    assert not any(word in json.dumps(answer).lower() for word in INSIDE), answer
    codes = {error["extensions"]["code"] for error in answer.get("errors", [])}
    assert len(codes) <= 1
    return next(iter(codes), None)


async def all_answered(
    mall: Mall, client: Client, expected: str, asked: dict[str, tuple[Any, ...]]
) -> None:
    """Each of `asked` ends in the code, and none changes the database."""
    before = await fingerprint_of_database(mall)
    codes = {name: await code_of(client, *parameters) for name, parameters in asked.items()}
    assert codes == dict.fromkeys(asked, expected)
    assert await fingerprint_of_database(mall) == before


def raw(text: str | bytes) -> str:
    """What an id or a cursor would look like that says this."""
    encoded = text.encode() if isinstance(text, str) else text
    return base64.urlsafe_b64encode(encoded).decode().rstrip("=")
