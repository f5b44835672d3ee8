"""What comes before an operation counts as well: long bodies, and documents nobody has seen."""

from dataclasses import replace

import pytest

from settings import LimitSettings, Settings
from tests.client import Client

_KIBIBYTE = 1024


@pytest.fixture
def settings(settings: Settings) -> Settings:
    """So little that ten new documents are too many, and none of it drips in anew."""
    limits = LimitSettings(rate_limits="anonymous_cost=2000/86400, cost=2000/86400")
    return replace(settings, limits=limits)


async def codes(client: Client, query: str, times: int, as_: str | None) -> list[str]:
    return [await client.error_code(query.format(number), as_=as_) for number in range(times)]


async def test_documents_that_are_invalid_count_too(client: Client) -> None:
    for name in (None, "alice"):
        refused = await codes(client, f"{{{{ {name}{{}} }}}}", 12, name)
        assert refused[0] == "GRAPHQL_VALIDATION_FAILED"
        assert refused[-1] == "COST_LIMITED"
        again = await codes(client, f"{{{{ {name}0 }}}}", 3, name)
        assert again == ["GRAPHQL_VALIDATION_FAILED"] * 3  # it is known what is wrong with it


async def long_request(client: Client, length: int, token: str | None) -> int:
    headers = {"Accept": "application/graphql-response+json"}
    if token is not None:
        headers["Authorization"] = f"Bearer {token}"
    body = {"query": "{ __typename }", "variables": {"unused": "x" * length}}
    return (await client.http.post("/graphql", json=body, headers=headers)).status_code


async def test_how_long_a_request_may_be_depends_on_who_asks(client: Client) -> None:
    nobody, member = None, client.token("alice")
    staff = (client.token("olga", "operator"), client.token("till", "service"))
    for length, token, status in (
        (63 * _KIBIBYTE, nobody, 200),
        (64 * _KIBIBYTE, nobody, 413),
        (255 * _KIBIBYTE, member, 200),
        (256 * _KIBIBYTE, member, 413),
        (256 * _KIBIBYTE, "no token", 401),
        *((1024 * _KIBIBYTE, each, 200) for each in staff),
    ):
        assert await long_request(client, length, token) == status
