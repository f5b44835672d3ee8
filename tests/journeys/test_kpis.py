"""An operator asks how the mall does: every figure, as counted once more from every row."""

from datetime import date, timedelta
from typing import Any

import pytest

from dev.demo.load import load_demo
from services.mall import Mall
from services.transaction import transaction
from tests.client import Client
from tests.clock import MovableClock
from tests.services.kpis.naive import as_report, read_everything

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
