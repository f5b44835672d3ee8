"""What days came to stays when it is forgotten who was seen on them."""

from datetime import date, timedelta
from typing import Any

from services.calendar import local_day
from services.kpis.report import report
from services.kpis.roll_up import keep_day
from services.mall import Mall
from services.transaction import transaction
from tests.clock import MovableClock
from tests.factories import add_user, execute


async def counted(mall: Mall, day: date) -> Any:
    """What is kept of a day when it has been counted now."""
    async with transaction(mall.stores.bulk) as session:
        await keep_day(session, day, mall.clock(), mall.zone)
    (row,) = await execute(
        mall, "SELECT active_members, completing_members FROM daily_figures WHERE day = :d", d=day
    )
    return tuple(row)


async def rate(mall: Mall, last: date) -> float | None:
    """The exchange rate of the 30 days that end then."""
    async with transaction(mall.stores.bulk) as session:
        return (await report(session, last, last, mall.clock(), mall.zone)).exchange_rate


async def test_a_day_that_is_counted_late_again_keeps_who_was_there(
    mall: Mall, clock: MovableClock
) -> None:
    """While it is known who was seen a day is corrected; after 400 days it stays."""
    day = local_day(clock.now, mall.zone)
    user_id = await add_user(mall)
    await execute(mall, "INSERT INTO member_days VALUES (:day, :id)", day=day, id=user_id)
    clock.advance(days=40)
    assert await counted(mall, day) == (1, 0)
    await execute(mall, "INSERT INTO member_days VALUES (:day, :id)", day=day, id=user_id + 1)
    assert await counted(mall, day) == (2, 0)
    assert await rate(mall, day + timedelta(days=29)) == 0
    clock.advance(days=365)
    await execute(mall, "DELETE FROM member_days")
    assert await counted(mall, day) == (2, 0)
    assert await rate(mall, day + timedelta(days=29)) is None
