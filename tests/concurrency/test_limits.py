"""How often one member may take an item, asked for 200 times at once through two processes.

Both processes read one clock, which the tests move over the end of the period.
"""

from collections import Counter
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import uuid4

import pytest

from services.mall import open_mall
from tests.concurrency.conftest import Town, members_of, start_servers
from tests.concurrency.operations import (
    CANCEL,
    Answer,
    add_members,
    all_at_once,
    only_field,
    outcomes,
)
from tests.concurrency.told_time import FileClock
from tests.databases import migrated_database, settings_of
from tests.factories import add_item, execute, points_of

_NOON = datetime(2026, 11, 20, 4, 0, tzinfo=UTC)  # of a Friday in Shanghai
_LIMIT, _CALLS, _PRICE, _RICHES = 7, 200, 10, 1_000


@dataclass(frozen=True)
class _Collector:
    """A member who takes one item as often as they can."""

    town: Town
    name: str
    user_id: int
    item_id: int

    async def take(self, turn: str) -> list[Answer]:
        """200 calls at once, each under a key of its own."""
        return await all_at_once(
            self.town.members.exchange(self.name, self.item_id, f"{turn}-{number}", through=number)
            for number in range(_CALLS)
        )

    async def cancel(self, taken: Answer) -> None:
        """Give back what was taken."""
        asked = {"id": taken["exchange"]["id"]}
        done = only_field(await self.town.members.ask(self.name, CANCEL, **asked))
        assert done["refundedPoints"] == _PRICE

    async def assert_holds(self, count: int) -> None:
        """That many exchanges stand, they are paid for, and the stock is what they left."""
        standing = await execute(
            self.town.mall,
            "SELECT count(*) FROM exchanges WHERE user_id = :user AND status <> 'cancelled'",
            user=self.user_id,
        )
        assert standing == [(count,)]
        assert await points_of(self.town.mall, self.user_id) == _RICHES - count * _PRICE
        [(stock,)] = await execute(
            self.town.mall, "SELECT stock FROM exchange_items WHERE id = :id", id=self.item_id
        )
        assert stock == 1_000 - count


@pytest.fixture(scope="module")
def told_clock(tmp_path_factory: pytest.TempPathFactory) -> FileClock:
    """The clock of this module's processes."""
    clock = FileClock(tmp_path_factory.mktemp("clock") / "now")
    clock.tell(_NOON)
    return clock


@pytest.fixture(scope="module")
async def shared_town(
    told_clock: FileClock, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[Town]:
    """Two processes in Shanghai that read the clock's file."""
    program = ("-m", "tests.concurrency.told_time", str(told_clock.path))
    async with AsyncExitStack() as stack:
        settings = settings_of(await stack.enter_async_context(migrated_database()))
        mall = await stack.enter_async_context(open_mall(settings, told_clock))
        directory = tmp_path_factory.mktemp("servers")
        servers = await start_servers(stack, mall, directory, 2, program)
        yield Town(mall, await members_of(stack, servers), servers)


def _counted(granted: int) -> Counter[str]:
    counted = Counter({"OneClickExchangeSuccess": granted, "LIMIT_REACHED": _CALLS - granted})
    return +counted


@pytest.fixture
async def collector(town: Town, told_clock: FileClock, period: str) -> _Collector:
    """A rich member at noon, and an item to be taken 7 times a period."""
    told_clock.tell(_NOON)
    name = f"collector-{uuid4().hex}"
    (user_id,) = await add_members(town.mall, [name], _RICHES)
    limit: dict[str, Any] = {"per_user_limit_count": _LIMIT, "per_user_limit_period": period}
    item_id = await add_item(
        town.mall, points=_PRICE, stock=1_000, type="coupon", config={"generate": True}, **limit
    )
    return _Collector(town, name, user_id, item_id)


@pytest.mark.parametrize(
    ("period", "ends"),
    [
        ("day", "2026-11-20T16:00:00Z"),
        ("week", "2026-11-22T16:00:00Z"),
        ("month", "2026-11-30T16:00:00Z"),
    ],
)
async def test_a_period_gives_what_its_limit_says(
    told_clock: FileClock, collector: _Collector, ends: str
) -> None:
    """Of 200 calls 7; none until the mall's midnight; 7 of 200 from that instant on."""
    end = datetime.fromisoformat(ends)
    assert outcomes(await collector.take("first")) == _counted(_LIMIT)
    told_clock.tell(end - timedelta(microseconds=1))
    assert outcomes(await collector.take("a moment early")) == _counted(0)
    await collector.assert_holds(_LIMIT)
    told_clock.tell(end)
    assert outcomes(await collector.take("next")) == _counted(_LIMIT)
    await collector.assert_holds(2 * _LIMIT)


@pytest.mark.parametrize("period", ["lifetime"])
async def test_a_lifetime_has_no_end(told_clock: FileClock, collector: _Collector) -> None:
    """Of 200 calls 7; none of 200 half a year later."""
    assert outcomes(await collector.take("first")) == _counted(_LIMIT)
    told_clock.tell(_NOON + timedelta(days=180))
    assert outcomes(await collector.take("next")) == _counted(0)
    await collector.assert_holds(_LIMIT)


@pytest.mark.parametrize("period", ["day", "week", "month", "lifetime"])
async def test_what_was_cancelled_may_be_taken_again(collector: _Collector) -> None:
    """Three of the seven given back, 200 calls: three more."""
    first = await collector.take("first")
    taken = [answer for answer in first if "exchange" in answer]
    await all_at_once(collector.cancel(answer) for answer in taken[:3])
    await collector.assert_holds(_LIMIT - 3)
    assert outcomes(await collector.take("again")) == _counted(3)
    await collector.assert_holds(_LIMIT)
