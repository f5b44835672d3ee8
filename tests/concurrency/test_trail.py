"""The operators' trail when twenty change one thing at once: each note goes on from the one before.

What a note says was there before is read under a lock. Without one, two of them would both say that
they changed the same state, and what the first of them did would be gone without a trace.
"""

import asyncio
from datetime import timedelta
from typing import Any

import pytest

from models.tasks import TaskFrequency
from services.catalogue.save_item import save_item
from services.mall import Mall
from services.tasks.save import TaskTerms, save_task
from services.transaction import transaction
from services.users.suspend import suspend_user
from tests.factories import add_item, add_task, add_user, execute
from tests.services.catalogue.test_stock import terms_with

_AT_ONCE = 20


@pytest.fixture
async def olga(mall: Mall) -> int:
    """An operator."""
    return await add_user(mall, "olga")


async def _notes(mall: Mall) -> list[dict[str, Any]]:
    rows = await execute(mall, "SELECT details FROM operator_actions")
    assert len(rows) == _AT_ONCE
    return [row.details for row in rows]


def _ends_of_chain(links: list[tuple[Any, Any]], first: Any) -> Any:
    """Where the changes lead from the first state, each taken once."""
    following = dict(links)
    assert len(following) == len(links), links
    state = first
    while following:
        assert state in following, links
        state = following.pop(state)
    return state


async def test_saves_of_a_task_chain(mall: Mall, olga: int) -> None:
    """Twenty names at once: the last of the chain is the name that is there."""
    task_id = await add_task(mall, name="first")

    async def save(number: int) -> None:
        terms = TaskTerms(f"name {number}", None, 10, TaskFrequency.DAILY, True, None, None, None)
        async with transaction(mall.stores.write) as session:
            await save_task(session, olga, terms, task_id=task_id, clock=mall.clock, zone=mall.zone)

    await asyncio.gather(*(save(number) for number in range(_AT_ONCE)))
    links = [(note["before"]["name"], note["after"]["name"]) for note in await _notes(mall)]
    assert await execute(mall, "SELECT name FROM tasks") == [(_ends_of_chain(links, "first"),)]


async def test_saves_of_an_item_chain(mall: Mall, olga: int) -> None:
    """Twenty stocks at once: the last of the chain is the stock that is there."""
    item_id = await add_item(mall, stock=1_000)

    async def save(number: int) -> None:
        async with transaction(mall.stores.write) as session:
            await save_item(session, olga, terms_with(number), item_id=item_id, clock=mall.clock)

    await asyncio.gather(*(save(number) for number in range(_AT_ONCE)))
    links = [(note["before"]["stock"], note["after"]["stock"]) for note in await _notes(mall)]
    assert await execute(mall, "SELECT stock FROM exchange_items") == [
        (_ends_of_chain(links, 1_000),)
    ]


async def test_suspensions_of_a_member_chain(mall: Mall, olga: int) -> None:
    """Twenty ends at once: the last of the chain is how long the member is suspended."""
    alice, now = await add_user(mall, "alice"), mall.clock()

    async def suspend(days: int) -> None:
        async with transaction(mall.stores.write) as session:
            until = now + timedelta(days=days)
            await suspend_user(session, olga, alice, until, "odd", now)

    await asyncio.gather(*(suspend(number + 1) for number in range(_AT_ONCE)))
    links = [(note["from"], note["to"]) for note in await _notes(mall)]
    (row,) = await execute(mall, "SELECT suspended_until FROM users WHERE id = :id", id=alice)
    assert row.suspended_until.isoformat() == _ends_of_chain(links, None)
