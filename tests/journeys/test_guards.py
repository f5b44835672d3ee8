"""What the mall lets browsers do, and what its answers tell them."""

import pytest

from tests.client import Client


@pytest.mark.parametrize("path", ["/livez", "/readyz", "/s/nobody", "/nowhere", "/graphql"])
async def test_every_answer_has_security_headers(client: Client, path: str) -> None:
    answer = await client.http.get(path)
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert answer.headers["referrer-policy"] == "no-referrer"
    assert answer.headers["cache-control"] == "no-store"
    assert "frame-ancestors 'none'" in answer.headers["content-security-policy"]


async def test_a_page_elsewhere_cannot_have_a_visitor_ask(client: Client) -> None:
    asked = {"query": "{ __typename }"}
    refused = await client.http.get("/graphql", params=asked)
    assert (refused.status_code, refused.json()["errors"][0]["extensions"]["code"]) == (
        400,
        "BAD_USER_INPUT",
    )
    headers = {"apollo-require-preflight": "1"}
    answer = await client.http.get("/graphql", params=asked, headers=headers)
    assert answer.json()["data"] == {"__typename": "Query"}


async def test_an_answer_says_what_it_cost_and_too_much_is_refused(client: Client) -> None:
    nested = "{ items(first: %d) { nodes { name category tags } } }"
    answer = await client.post(nested % 100)
    assert answer["extensions"]["cost"] == {"requested": 101, "maximum": 5_000}
    lots = "balance { lots(first: $n) { nodes { id } } }"
    users = f"query ($n: Int) {{ users(first: $n) {{ nodes {{ id {lots} }} }} }}"
    answer = await client.post(users, {"n": 100}, client.token("root", "operator"))
    assert answer["errors"][0]["extensions"]["code"] == "COST_LIMITED"
    answer = await client.post(users, {"n": 10}, client.token("root", "operator"))
    assert "errors" not in answer
