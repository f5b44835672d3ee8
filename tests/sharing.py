"""Links and invites: arranged behind the server's back, followed and accepted in front of it."""

from typing import Any

import httpx2

from jobs.job import Job
from models.sharing import Invite, ShareKind
from models.sharing import Share as ShareTable
from services.bulk import Writes, insert_rows
from services.identifiers import new_id
from services.mall import Mall
from services.sharing.links import new_code
from services.sharing.shares import Share, shares_by_id
from services.transaction import transaction
from tests.client import Client
from tests.factories import execute
from tests.jobs.due import jobs_named, run_due

PHONE = "Mozilla/5.0 (Linux; Android 15; Pixel 9) AppleWebKit/537.36 Chrome/141.0 Mobile Safari"
"""A person's browser."""
SHARE = "id kind code url visits conversions pointsEarned createdAt"
_CREATE = f"""
mutation ($input: CreateShareInput!) {{ createShare(input: $input) {{
  __typename
  ... on Problem {{ code message }}
  ... on NotFound {{ id }}
  ... on InvalidInput {{ field }}
  ... on LimitReached {{ limit period availableAgainAt }}
  ... on CreateShareSuccess {{ share {{ {SHARE} }} }}
}} }}
"""
_ACCEPT = """
mutation ($input: AcceptInviteInput!) { acceptInvite(input: $input) {
  __typename
  ... on Problem { code message }
  ... on NotFound { id }
  ... on InvalidState { state }
  ... on AcceptInviteSuccess { pointsEarned balance { available } }
} }
"""
REWARDING: dict[str, Job] = dict(jobs_named("reward_invite"))
"""The job that follows a first task."""


async def create(client: Client, name: str, kind: str, target: str | None = None) -> dict[str, Any]:
    """Ask for a link."""
    asked = {"kind": kind, "targetId": target}
    return (await client.data(_CREATE, {"input": asked}, as_=name))["createShare"]


async def accept(client: Client, name: str, code: str) -> dict[str, Any]:
    """Accept an invite."""
    return (await client.data(_ACCEPT, {"input": {"code": code}}, as_=name))["acceptInvite"]


async def invite_code(client: Client, name: str) -> str:
    """The code of a member's invite."""
    return (await create(client, name, "INVITE"))["share"]["code"]


async def own(client: Client, name: str) -> list[dict[str, Any]]:
    """A member's links."""
    return (await client.data(f"{{ shares {{ {SHARE} }} }}", as_=name))["shares"]


async def follow(
    client: Client, code: str, *, agent: str = PHONE, method: str = "GET", **headers: str
) -> httpx2.Response:
    """Follow a link; header names with underscores for dashes."""
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return await client.http.request(method, f"/s/{code}", headers={"User-Agent": agent, **named})


async def reward(mall: Mall) -> int:
    """Run the jobs that first tasks asked for; how many there were."""
    return await run_due(mall, REWARDING)


async def add_share(
    mall: Mall, user_id: int, kind: ShareKind, target: int | None = None, **columns: Any
) -> Share:
    """A link, whether or not its member could make it."""
    values = {
        "id": new_id(),
        "user_id": user_id,
        "kind": kind,
        "target": target,
        "code": new_code(),
        "created_at": mall.clock(),
        **columns,
    }
    async with transaction(mall.stores.write) as session:
        await insert_rows(session, ShareTable, tuple(values), [tuple(values.values())])
        return (await shares_by_id(session, [values["id"]]))[values["id"]]


async def add_invite(mall: Mall, inviter_id: int, invited_id: int) -> Any:
    """An invite that is accepted, by the one link of the inviter's that invites; its row."""
    rows = await execute(
        mall, "SELECT id FROM shares WHERE user_id = :u AND kind = 'invite'", u=inviter_id
    )
    share_id = rows[0].id if rows else (await add_share(mall, inviter_id, ShareKind.INVITE)).id
    columns = ("id", "invited_id", "inviter_id", "share_id", "accepted_at")
    invite_id = new_id()
    async with transaction(mall.stores.write) as session:
        writes = Writes()
        row = (invite_id, invited_id, inviter_id, share_id, mall.clock())
        writes.insert(Invite, columns, [row])
        await writes.flush(session)
    return await invite(mall, invited_id)


async def invite(mall: Mall, invited_id: int) -> Any:
    """The invite of a member who was invited."""
    rows = await execute(mall, "SELECT * FROM invites WHERE invited_id = :u", u=invited_id)
    return rows[0] if rows else None
