"""A client as an app would have one: GraphQL over HTTP, with a token."""

import json
from typing import Any, Self

import httpx2
import jwt

from services.users.claims import Role
from services.users.tokens import issue_token


class Client:
    """Sends operations to one mall, as anyone."""

    def __init__(self, address: str, secret: str) -> None:
        self.address = address
        self._secret = secret
        self.http = httpx2.AsyncClient(base_url=address, timeout=30)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.http.aclose()

    def token(self, name: str, *roles: str, lifetime_s: int = 3600) -> str:
        """A valid token; a member's unless roles are named."""
        wanted = [Role(role) for role in roles or ("member",)]
        return issue_token(self._secret, name, wanted, name=name, lifetime_s=lifetime_s)

    def sign(self, claims: dict[str, Any]) -> str:
        """A token that says just this, signed as it should be."""
        return jwt.encode(claims, self._secret, algorithm="HS256")

    async def post(
        self, query: str, variables: dict[str, Any] | None = None, token: str | None = None
    ) -> dict[str, Any]:
        """The whole answer, errors and all."""
        headers = {"Authorization": f"Bearer {token}"} if token else {}
        body = {"query": query, "variables": variables}
        answer = await self.http.post("/graphql", json=body, headers=headers)
        assert answer.headers["content-type"].startswith("application/json"), answer.text
        return answer.json()

    async def first_event(self, subscription: str, token: str | None = None) -> dict[str, Any]:
        """What a subscription says first, over server-sent events; or why it is refused."""
        headers = {"Accept": "text/event-stream"}
        if token:
            headers["Authorization"] = f"Bearer {token}"
        body = {"query": subscription}
        async with self.http.stream("POST", "/graphql", json=body, headers=headers) as answer:
            if answer.headers["content-type"].startswith("application/json"):
                return json.loads(await answer.aread())
            async for line in answer.aiter_lines():
                if line.startswith("data: "):
                    return json.loads(line.removeprefix("data: "))
        raise AssertionError("nothing was said")

    async def data(
        self, query: str, variables: dict[str, Any] | None = None, *, as_: str | None = None
    ) -> dict[str, Any]:
        """The data of an operation that must not fail, as the member of that name."""
        answer = await self.post(query, variables, as_ and self.token(as_))
        assert "errors" not in answer, answer["errors"]
        return answer["data"]

    async def error_code(
        self, query: str, variables: dict[str, Any] | None = None, *, as_: str | None = None
    ) -> str:
        """The code of the one error that an operation must end in."""
        answer = await self.post(query, variables, as_ and self.token(as_))
        assert len(answer.get("errors", [])) == 1, answer
        return answer["errors"][0]["extensions"]["code"]

    async def user_id(self, name: str, *roles: str) -> str:
        """The global id of the member of that name, who signs in by this."""
        answer = await self.post("{ me { id } }", None, self.token(name, *roles))
        return answer["data"]["me"]["id"]
