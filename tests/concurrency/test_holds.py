"""One held lot that 20 calls decide on at once, through two engines: one of them does."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack
from uuid import UUID

import pytest

from services.errors import InvalidState
from services.mall import Mall, open_mall
from services.points.holds import decide_hold, hold_decision
from services.points.many_holds import decide_holds, many_holds
from services.transaction import transaction
from tests.factories import add_user, execute, give_points, points_of

_CALLS, _POINTS, _TURNS = 20, 50, 5


@pytest.fixture
async def malls(mall: Mall) -> AsyncIterator[tuple[Mall, Mall]]:
    """The mall, and the same once more with connections of its own."""
    async with AsyncExitStack() as stack:
        yield mall, await stack.enter_async_context(open_mall(mall.settings, mall.clock))


async def decide_alone(mall: Mall, boss: int, lot_id: UUID, key: str, *, releases: bool) -> str:
    """How a decision on one lot ends: done, again, or the state that was met."""
    decision = hold_decision(boss, lot_id, "reason", key, releases=releases)
    try:
        async with transaction(mall.stores.write) as session:
            done = await decide_hold(session, decision, clock=mall.clock, zone=mall.zone)
    except InvalidState as refused:
        return refused.state
    return "again" if done.replayed else "done"


async def decide_among(mall: Mall, boss: int, lot_id: UUID, key: str, *, releases: bool) -> str:
    """The same of a call for many."""
    asked = many_holds(boss, [lot_id], None, "reason", key, releases=releases)
    try:
        async with transaction(mall.stores.write) as session:
            done = await decide_holds(session, asked, clock=mall.clock, zone=mall.zone)
    except InvalidState as refused:
        return refused.state
    return "again" if done.replayed else "done"


WAYS = (decide_alone, decide_among)


async def asked_at_once(
    malls: Sequence[Mall], boss: int, lot_id: UUID, keys: Sequence[tuple[str, bool]]
) -> list[str]:
    """How each of these calls (key, whether it releases) ends, in turn through both engines."""
    return list(
        await asyncio.gather(
            *(
                WAYS[number // 2 % 2](malls[number % 2], boss, lot_id, key, releases=releases)
                for number, (key, releases) in enumerate(keys)
            )
        )
    )


async def test_one_of_20_decisions_on_a_lot_is_made(malls: tuple[Mall, Mall]) -> None:
    """Under keys of their own, some releasing and some rejecting: the others meet what it did."""
    mall, _ = malls
    boss, alice = await add_user(mall, "boss"), await add_user(mall, "alice")
    released = 0
    for turn in range(_TURNS):
        lot = await give_points(mall, alice, _POINTS, held=True)
        # Each way and each engine has calls of both kinds.
        keys = [(f"{turn} {number}", number // 4 % 2 == turn % 2) for number in range(_CALLS)]
        ends = await asked_at_once(malls, boss, lot.id, keys)
        won = ends.index("done")
        state = "ACTIVE" if keys[won][1] else "REVERSED"
        assert sorted(ends) == sorted(["done", *[state] * (_CALLS - 1)])
        released += _POINTS * keys[won][1]
        noted = await execute(
            mall, "SELECT action FROM operator_actions WHERE key = :key", key=str(lot.id)
        )
        assert [row.action for row in noted] == [
            "release_points" if keys[won][1] else "reject_points"
        ]
    assert await points_of(mall, alice) == released
    kept = await execute(mall, "SELECT count(*) FROM idempotency_keys WHERE user_id = :id", id=boss)
    assert kept == [(_TURNS,)]


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("releases", [False, True])
async def test_one_key_decides_once_through_both_engines(
    malls: tuple[Mall, Mall], way: object, releases: bool
) -> None:
    """20 calls under it: one does it, 19 are told the same again."""
    mall, _ = malls
    boss, alice = await add_user(mall, "boss"), await add_user(mall, "alice")
    lot = await give_points(mall, alice, _POINTS, held=True)
    decide = decide_alone if way is decide_alone else decide_among
    ends = await asyncio.gather(
        *(
            decide(malls[number % 2], boss, lot.id, "the key", releases=releases)
            for number in range(_CALLS)
        )
    )
    assert sorted(ends) == ["again"] * (_CALLS - 1) + ["done"]
    assert await points_of(mall, alice) == _POINTS * releases
