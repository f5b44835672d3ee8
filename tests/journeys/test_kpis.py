"""An operator asks how the mall does: every figure, as counted once more from every row."""

import asyncio
from datetime import date, timedelta
from typing import Any

import pytest

from dev.demo.load import load_demo
from services.calendar import day_start
from services.mall import Mall
from services.transaction import transaction
from tests.client import Client
from tests.clock import MovableClock
from tests.databases import SECRET
from tests.factories import add_user, execute, give_points
from tests.services.kpis.naive import as_report, read_everything
from tests.serving import serving

QUERY = """
query ($from: Date!, $to: Date!) { kpis(from: $from, to: $to) {
  from to dailyActiveUsers dailyActiveUsersChange taskCompletionRate pushOpenRate exchangeRate
  averageExchangeCycleDays netPromoterScore expiryRate apiLatencyP95Ms availability
  pointsIssued pointsRedeemed pointsExpired pointsAdjusted outstandingPoints
  days { date activeUsers pointsIssued pointsRedeemed pointsExpired pointsAdjusted exchanges
         tasksCompleted pushesSent pushesOpened }
  targets { metric target actual met }
} }
"""


async def kpis(client: Client, first: date, last: date) -> dict[str, Any]:
    """What an operator is told of the days from first to last."""
    asked = {"from": first.isoformat(), "to": last.isoformat()}
    answer = await client.post(QUERY, asked, client.token("olga", "operator"))
    assert "errors" not in answer, answer["errors"]
    return answer["data"]["kpis"]


def assert_alike(shown: dict[str, Any], expected: dict[str, Any]) -> None:
    """To the point; a mean of days and a rate to the last digits of a double."""
    for name, value in expected.items():
        wanted = pytest.approx(value, rel=1e-12) if isinstance(value, float) else value
        assert shown[name] == wanted, name


@pytest.fixture
async def demo(mall: Mall) -> None:
    """Months of history."""
    async with transaction(mall.stores.bulk) as session:
        await load_demo(session, mall.clock(), mall.zone)


@pytest.mark.usefixtures("demo")
async def test_all_figures_of_the_demo_mall(
    mall: Mall, client: Client, clock: MovableClock
) -> None:
    """A month, a quarter with today, a day; counted as asked for, and kept by the nightly job."""
    today = date(2026, 11, 20)
    everything = await read_everything(mall, mall.zone)
    periods = [
        (date(2026, 10, 1), date(2026, 10, 31)),
        (date(2026, 9, 1), today),
        (today - timedelta(1), today - timedelta(1)),
        (today, today),
    ]
    live = [await kpis(client, *period) for period in periods]
    for period, shown in zip(periods, live, strict=True):
        assert_alike(shown, as_report(everything, *period, today))
    assert live[0]["exchangeRate"] > 0.05
    assert live[0]["pointsIssued"] > live[0]["pointsRedeemed"] > 0


@pytest.mark.parametrize(
    ("first", "last"),
    [
        ("2026-11-20", "2026-11-19"),
        ("2025-11-19", "2026-11-20"),  # 367 days
        ("1999-12-31", "2000-01-01"),
        ("2999-12-31", "3000-01-01"),
        ("9999-12-31", "9999-12-31"),
        ("0001-01-01", "0001-01-01"),
    ],
)
async def test_what_is_no_period(client: Client, first: str, last: str) -> None:
    """It ends before it begins, is longer than a leap year, or lies nowhere."""
    token = client.token("olga", "operator")
    answer = await client.post(QUERY, {"from": first, "to": last}, token)
    assert [each["extensions"]["code"] for each in answer["errors"]] == ["BAD_USER_INPUT"]


async def test_a_mall_in_which_nothing_has_happened(client: Client) -> None:
    """366 days of zeros; what would divide by nothing is null, and no target is judged."""
    shown = await kpis(client, date(2025, 11, 20), date(2026, 11, 20))
    assert len(shown["days"]) == 366
    assert shown["outstandingPoints"] == shown["dailyActiveUsers"] == 0
    nulls = {name for name, value in shown.items() if value is None}
    assert nulls == {
        *("dailyActiveUsersChange", "taskCompletionRate", "pushOpenRate", "exchangeRate"),
        *("averageExchangeCycleDays", "netPromoterScore", "expiryRate", "apiLatencyP95Ms"),
        "availability",
    }
    assert {target["met"] for target in shown["targets"]} == {None}
    assert {target["metric"] for target in shown["targets"]} == nulls


async def test_days_to_come(mall: Mall, client: Client) -> None:
    """A month that has begun shows the days that have; one to come shows none."""
    user = await add_user(mall, "alice")
    await give_points(mall, user, 70)
    month = await kpis(client, date(2026, 11, 1), date(2026, 11, 30))
    assert [month["to"], month["days"][-1]["date"]] == ["2026-11-30", "2026-11-20"]
    assert (month["pointsIssued"], month["outstandingPoints"]) == (70, 70)
    later = await kpis(client, date(2027, 1, 1), date(2027, 1, 31))
    assert (later["days"], later["dailyActiveUsers"], later["outstandingPoints"]) == ([], 0, 70)
    assert (await kpis(client, date(2026, 11, 1), date(2026, 11, 19)))["outstandingPoints"] == 0


async def wait_for_visits(mall: Mall, count: int) -> None:
    """They are noted beside requests, not before them."""
    for _ in range(3_000):
        if len(await execute(mall, "SELECT day FROM member_days")) >= count:
            return
        await asyncio.sleep(0.01)
    raise AssertionError("the visits are not noted")


async def test_members_are_seen_and_staff_is_not(
    mall: Mall, client: Client, clock: MovableClock
) -> None:
    """Once a day, from the first request on; just after midnight as well."""
    clock.now = day_start(date(2026, 11, 21), mall.zone) - timedelta(seconds=30)
    for name, role in (("alice", "member"), ("till", "service"), ("olga", "operator")):
        await client.post("{ pointsRules { explanation } }", None, client.token(name, role))
    await client.user_id("alice")
    clock.advance(minutes=1)
    for name in ("alice", "bob"):
        await client.user_id(name)
    await wait_for_visits(mall, 3)
    shown = await kpis(client, date(2026, 11, 20), date(2026, 11, 21))
    assert [day["activeUsers"] for day in shown["days"]] == [1, 2]
    assert shown["dailyActiveUsers"] == 1  # of the day that has ended


async def test_requests_are_measured(mall: Mall, clock: MovableClock) -> None:
    """Of every web process, once it has ended; the failed ones as well."""
    async with serving(mall.settings, clock) as address, Client(address, SECRET) as client:
        for _ in range(9):
            await client.data("{ items { totalCount } }")
        await execute(mall, "ALTER TABLE daily_figures RENAME TO gone")
        asked = {"from": "2026-11-20", "to": "2026-11-20"}
        answer = await client.post(QUERY, asked, client.token("olga", "operator"))
        assert answer["errors"][0]["extensions"]["code"] == "INTERNAL"
        await execute(mall, "ALTER TABLE gone RENAME TO daily_figures")
    async with serving(mall.settings, clock) as address, Client(address, SECRET) as client:
        shown = await kpis(client, date(2026, 11, 20), date(2026, 11, 20))
    assert shown["availability"] == 0.9
    assert 0.1 < shown["apiLatencyP95Ms"] < 30_000
    judged = {target["metric"]: target for target in shown["targets"]}
    assert judged["availability"] == {
        "metric": "availability",
        "target": 0.999,
        "actual": 0.9,
        "met": False,
    }
