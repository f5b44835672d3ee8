"""A member whose row is held elsewhere holds nobody else up."""

import asyncio

from sqlalchemy import text

from schema.ids import encode_id
from services.mall import Mall
from services.transaction import transaction
from tests.client import Client
from tests.factories import add_task, add_user

_COMPLETE = """mutation ($id: ID!) { completeTask(input: {taskId: $id}) {
  ... on CompleteTaskSuccess { pointsEarned } } }"""


async def test_a_held_row_fails_its_member_only(mall: Mall, client: Client) -> None:
    """Who needs the row is told to ask again; who was in the same batch is settled."""
    alice, _ = [await add_user(mall, name) for name in ("alice", "bob")]
    variables = {"id": encode_id("Task", await add_task(mall))}
    await asyncio.gather(*(client.user_id(name) for name in ("alice", "bob")))
    async with transaction(mall.stores.bulk) as session:
        lock = text("SELECT 1 FROM users WHERE id = :id FOR UPDATE")
        await session.execute(lock, {"id": alice})
        async with asyncio.timeout(8):
            held, settled = await asyncio.gather(
                client.post(_COMPLETE, variables, client.token("alice")),
                client.post(_COMPLETE, variables, client.token("bob")),
            )
    assert held["errors"][0]["extensions"]["code"] == "SERVICE_UNAVAILABLE"
    assert settled["data"]["completeTask"] == {"pointsEarned": 10}
    assert (await client.data(_COMPLETE, variables, as_="alice"))["completeTask"]
