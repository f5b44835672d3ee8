"""A rebuild that meets the job of the night waits for it, however long that counts."""

import asyncio
from datetime import date

import pytest

from services.kpis.cohorts import keep_month
from services.kpis.roll_up import keep_day
from services.mall import Mall
from services.transaction import transaction
from tests.factories import execute

_MONTH = date(2026, 10, 1)


@pytest.mark.parametrize(("what", "table"), [("month", "cohort_months"), ("day", "daily_figures")])
async def test_who_counts_as_well_waits_their_turn(mall: Mall, what: str, table: str) -> None:
    """Longer than a statement may wait for a lock."""
    longer_s = mall.settings.stores.database_lock_timeout_s + 0.5
    has_begun = asyncio.Event()

    async def count(stays_s: float) -> None:
        async with transaction(mall.stores.bulk) as session:
            if what == "month":
                await keep_month(session, _MONTH, mall.zone)
            else:
                await keep_day(session, _MONTH, mall.clock(), mall.zone)
            has_begun.set()
            await asyncio.sleep(stays_s)

    async with asyncio.TaskGroup() as group:
        group.create_task(count(longer_s))
        await has_begun.wait()
        group.create_task(count(0))
    assert len(await execute(mall, f"SELECT * FROM {table}")) == 1
