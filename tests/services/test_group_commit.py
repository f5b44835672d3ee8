"""Group commit: who waits is settled together, and nobody suffers from a neighbour.

The settling function is the test's own; the transactions are PostgreSQL's.
"""

import asyncio
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, field

import pytest
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncSession, async_sessionmaker

from models.stores import open_stores
from services.errors import NotFound, ServiceUnavailable
from services.group_commit import GroupCommit
from services.mall import Mall
from settings import StoreSettings
from tests.factories import execute

_INSERT = text(
    "INSERT INTO users (external_id, username, locale, timezone) VALUES (:name, :name, 'en', 'UTC')"
)


@dataclass
class Desk:
    """Settles names by adding users; the test opens and closes the door."""

    batches: list[list[str]] = field(default_factory=list)
    door: asyncio.Event = field(default_factory=asyncio.Event)
    arrived: asyncio.Event = field(default_factory=asyncio.Event)

    async def settle(self, session: AsyncSession, names: Sequence[str]) -> list[str | NotFound]:
        """A name that begins with `poison` fails the batch, `refused` only itself."""
        self.batches.append(list(names))
        self.arrived.set()
        await self.door.wait()
        wanted = [name for name in names if not name.startswith("refused")]
        await session.execute(_INSERT, [{"name": name} for name in wanted or ["nobody"]])
        if any(name.startswith("poison") for name in names):
            raise ZeroDivisionError(names)
        return [NotFound("Name", n) if n.startswith("refused") else n.upper() for n in names]


@pytest.fixture
def desk() -> Desk:
    """A desk whose door is still closed."""
    return Desk()


@pytest.fixture
def group(mall: Mall, desk: Desk) -> GroupCommit[str, str]:
    """Group commit before that desk."""
    return GroupCommit(mall.stores.write, desk.settle)


async def _queue_behind(
    group: GroupCommit[str, str], desk: Desk, names: Sequence[str]
) -> list[asyncio.Task[str]]:
    """Submit the first name, and the others once it is being settled."""
    tasks = [asyncio.create_task(group.submit(names[0]))]
    await desk.arrived.wait()
    tasks += [asyncio.create_task(group.submit(name)) for name in names[1:]]
    await asyncio.sleep(0)
    return tasks


async def _names(mall: Mall) -> list[str]:
    return [row[0] for row in await execute(mall, "SELECT external_id FROM users ORDER BY id")]


async def test_a_lone_request_is_settled_at_once(
    mall: Mall, group: GroupCommit[str, str], desk: Desk
) -> None:
    """Nothing waits for company."""
    desk.door.set()
    assert await group.submit("a") == "A"
    assert (desk.batches, await _names(mall)) == ([["a"]], ["a"])


async def test_who_comes_meanwhile_is_settled_together(
    mall: Mall, group: GroupCommit[str, str], desk: Desk
) -> None:
    """While one batch is in flight the next gathers; answers go to those who asked."""
    tasks = await _queue_behind(group, desk, "abcde")
    desk.door.set()
    assert await asyncio.gather(*tasks) == ["A", "B", "C", "D", "E"]
    assert desk.batches == [["a"], ["b", "c", "d", "e"]]
    assert await _names(mall) == list("abcde")


async def test_a_batch_has_an_upper_bound(mall: Mall, desk: Desk) -> None:
    """More requests than a batch may hold make several batches, in their order."""
    group = GroupCommit[str, str](mall.stores.write, desk.settle, largest_batch=2)
    tasks = await _queue_behind(group, desk, "abcdef")
    desk.door.set()
    await asyncio.gather(*tasks)
    assert desk.batches == [["a"], ["b", "c"], ["d", "e"], ["f"]]


async def test_a_refusal_is_its_own_request_s_alone(
    mall: Mall, group: GroupCommit[str, str], desk: Desk
) -> None:
    """A refused request raises for whoever asked; its batch is committed."""
    tasks = await _queue_behind(group, desk, ["a", "b", "refused", "c"])
    desk.door.set()
    answers = await asyncio.gather(*tasks, return_exceptions=True)
    assert [type(answer) for answer in answers] == [str, str, NotFound, str]
    assert (len(desk.batches), await _names(mall)) == (2, ["a", "b", "c"])


async def test_a_poisoned_request_does_not_fail_its_neighbours(
    mall: Mall, group: GroupCommit[str, str], desk: Desk
) -> None:
    """The batch is undone and settled one by one: only the bad request fails, nobody twice."""
    tasks = await _queue_behind(group, desk, ["a", "b", "poison", "refused", "c"])
    desk.door.set()
    answers = await asyncio.gather(*tasks, return_exceptions=True)
    assert [type(answer) for answer in answers] == [str, str, ZeroDivisionError, NotFound, str]
    assert await _names(mall) == ["a", "b", "nobody", "c"]
    assert await group.submit("d") == "D"


async def test_too_long_a_queue_refuses_more(mall: Mall, desk: Desk) -> None:
    """Whoever finds the queue full is told at once; those in it are settled."""
    group = GroupCommit[str, str](mall.stores.write, desk.settle, longest_queue=3)
    tasks = await _queue_behind(group, desk, "abcd")
    with pytest.raises(ServiceUnavailable):
        await group.submit("e")
    desk.door.set()
    assert await asyncio.gather(*tasks) == ["A", "B", "C", "D"]
    assert await group.submit("f") == "F"
    assert await _names(mall) == list("abcdf")


async def test_who_goes_away_does_not_hurt_the_others(
    mall: Mall, group: GroupCommit[str, str], desk: Desk
) -> None:
    """Cancelled in flight and in the queue: all are settled, and those who wait get theirs."""
    tasks = await _queue_behind(group, desk, "abcd")
    tasks[0].cancel()
    tasks[2].cancel()
    await asyncio.sleep(0)
    desk.door.set()
    answers = await asyncio.gather(*tasks, return_exceptions=True)
    assert [answers[1], answers[3]] == ["B", "D"]
    assert all(isinstance(answers[place], asyncio.CancelledError) for place in (0, 2))
    assert await _names(mall) == list("abcd")


async def test_when_all_go_away_the_next_is_served(
    mall: Mall, group: GroupCommit[str, str], desk: Desk
) -> None:
    """Nobody is left to wait for a batch that then fails: the desk stays open."""
    tasks = await _queue_behind(group, desk, ["poison-1", "poison-2"])
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    desk.door.set()
    assert await group.submit("a") == "A"
    assert await _names(mall) == ["a"]


async def test_too_few_outcomes_fail_the_batch(mall: Mall) -> None:
    """A mistake in the operation must not leave anybody waiting for ever."""

    async def forgetful(_session: AsyncSession, names: Sequence[str]) -> list[str]:
        return list(names[1:])

    group = GroupCommit[str, str](mall.stores.write, forgetful)
    async with asyncio.timeout(5):
        answers = await asyncio.gather(*map(group.submit, "abc"), return_exceptions=True)
    assert all(isinstance(answer, ValueError) for answer in answers), answers


async def _cut_connections(mall: Mall) -> None:
    await execute(
        mall,
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
        " WHERE datname = current_database() AND pid <> pg_backend_pid()",
    )


async def test_a_cut_connection_fails_its_batch_only(mall: Mall) -> None:
    """The batch in flight is told to ask again, once for all of it; the next one is settled."""
    calls: list[int] = []
    arrived, door = asyncio.Event(), asyncio.Event()

    async def settle(session: AsyncSession, names: Sequence[str]) -> list[str]:
        await session.execute(text("SELECT 1"))
        calls.append(len(names))
        arrived.set()
        await door.wait()
        await session.execute(_INSERT, [{"name": name} for name in names])
        return list(names)

    group = GroupCommit[str, str](mall.stores.write, settle)
    tasks = [asyncio.create_task(group.submit(name)) for name in "abc"]
    await arrived.wait()
    await _cut_connections(mall)
    door.set()
    answers = await asyncio.gather(*tasks, return_exceptions=True)
    assert [type(answer) for answer in answers] == [ServiceUnavailable] * 3
    assert await group.submit("d") == "d"
    assert (calls, await _names(mall)) == ([3, 1], ["d"])


@pytest.fixture
async def nowhere() -> AsyncIterator[async_sessionmaker[AsyncSession]]:
    """Sessions of a database that does not answer."""
    url = "postgresql+asyncpg://nobody@127.0.0.1:1/nothing"
    async with open_stores(StoreSettings(database_url=url, redis_url="redis://x")) as stores:
        yield stores.write


async def test_without_a_database_everybody_is_told_to_come_back(
    nowhere: async_sessionmaker[AsyncSession],
) -> None:
    """ServiceUnavailable within seconds for all who wait, without trying one by one."""

    async def settle(session: AsyncSession, names: Sequence[str]) -> list[str]:
        await session.execute(text("SELECT 1"))
        return list(names)

    group = GroupCommit[str, str](nowhere, settle)
    async with asyncio.timeout(5):
        answers = await asyncio.gather(*map(group.submit, "abc" * 30), return_exceptions=True)
    assert {type(answer) for answer in answers} == {ServiceUnavailable}
