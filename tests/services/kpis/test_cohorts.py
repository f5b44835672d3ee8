"""Cohorts of a random history: every point that was granted is somewhere, to the point."""

from collections import Counter
from datetime import UTC, date, datetime
from typing import Any

from services.calendar import local_day, month_start
from services.kpis.cohorts import keep_month, keep_next_month, read_movements
from services.kpis.liability import read_liability
from services.mall import Mall
from services.transaction import transaction
from tests.client import Client
from tests.clock import MovableClock
from tests.factories import execute
from tests.services.kpis.living import LivingMall

KEPT = "SELECT * FROM cohort_months ORDER BY cohort, month"
QUERY = """{ pointsLiability {
  outstandingPoints pendingPoints expiring { month points } asOf
  cohorts { month granted redeemed expired takenBack outstanding expectedToExpire }
  expectedToExpire breakageRate
} }"""


async def keep_all(mall: Mall) -> list[date]:
    """Let the job do what is left to do; the months it kept."""
    kept: list[date] = []
    while True:
        async with transaction(mall.stores.bulk) as session:
            month = await keep_next_month(session, mall.clock(), mall.zone)
        if month is None:
            return kept
        kept.append(month)


async def held_by_cohort(mall: Mall) -> dict[date, int]:
    """What the lots themselves hold, by the month in which they could be spent first."""
    held = Counter[date]()
    for lot in await execute(mall, "SELECT * FROM points_records WHERE expires_at IS NOT NULL"):
        month = month_start(local_day(lot.available_at or lot.created_at, mall.zone))
        held[month] += lot.points if lot.status == "active" else 0
    return {month: points for month, points in held.items() if points}


async def test_every_point_is_somewhere(mall: Mall, clock: MovableClock, client: Client) -> None:
    """Three months of everything: outstanding by cohort is what the lots hold, and balances."""
    clock.now = datetime(2026, 8, 31, 10, 0, tzinfo=UTC)
    living = LivingMall(mall, clock, seed=5)
    await living.open()
    await living.live(400)
    while clock.now.day > 3:  # until a month has just ended, and nothing has happened since
        clock.advance(days=1)
    kept = await keep_all(mall)
    assert kept == sorted(kept)
    assert (kept[0], len(kept) > 3) == (date(2026, 8, 1), True)
    assert await keep_all(mall) == []
    async with transaction(mall.stores.bulk) as session:
        found = await read_liability(session, clock.now, mall.zone)
    cohorts = {each.month: each.outstanding for each in found.cohorts if each.outstanding}
    assert cohorts == await held_by_cohort(mall)
    assert sum(cohorts.values()) == found.outstanding == found.forecast.outstanding
    assert sum(each.points for each in found.endings) == found.outstanding > 0
    expired = -(await execute(mall, _SUM, action="expire"))[0][0]
    assert sum(each.expired for each in found.cohorts) == expired > 0
    await _assert_rebuilt(mall, kept)
    await _assert_served(mall, client, found.outstanding)


_SUM = "SELECT coalesce(sum(amount), 0)::int FROM points_audit_log WHERE action = :action"


async def _assert_rebuilt(mall: Mall, months: list[date]) -> None:
    right = await execute(mall, KEPT)
    await execute(mall, "UPDATE cohort_months SET granted_points = granted_points + 1")
    for month in months:
        async with transaction(mall.stores.bulk) as session:
            await keep_month(session, month, mall.zone)
    assert await execute(mall, KEPT) == right


async def _assert_served(mall: Mall, client: Client, outstanding: int) -> None:
    answer = await client.post(QUERY, None, client.token("olga", "operator"))
    served: dict[str, Any] = answer["data"]["pointsLiability"]
    assert served["outstandingPoints"] == outstanding
    assert sum(each["points"] for each in served["expiring"]) == outstanding
    assert sum(each["outstanding"] for each in served["cohorts"]) == outstanding
    async with mall.stores.read() as session:
        movements = await read_movements(session)
    assert {each["month"] for each in served["cohorts"]} == {
        each.cohort.isoformat() for each in movements
    }
