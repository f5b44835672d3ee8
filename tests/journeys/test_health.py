"""How the mall does: in public in one word, and with its reasons for who may know."""

from dataclasses import replace
from typing import Any

import httpx2
import pytest
from pydantic import SecretStr

from services.mall import Mall
from services.monitoring.alerts import AlertKind
from services.monitoring.health import HealthStatus, status_of
from settings import MallSettings, ObservationSettings, Settings, StoreSettings
from tests.alerts import add_alert
from tests.client import Client
from tests.clock import MovableClock
from tests.factories import add_user, execute, give_points
from tests.serving import serving

_TOKEN = "a token that reads figures"
_HEALTH = "{ systemHealth { status metrics alerts checkedAt } }"


@pytest.fixture
def production(settings: Settings) -> Settings:
    """The same mall outside of the dev profile, with a token for figures."""
    observation = ObservationSettings(metrics_token=SecretStr(_TOKEN))
    return replace(settings, mall=MallSettings(profile="production"), observation=observation)


async def health(settings: Settings, clock: MovableClock, token: str | None = None) -> Any:
    """Status and body of `/health`, as a server that just began says it."""
    headers = {"Authorization": f"Bearer {token}"} if token else {}
    async with serving(settings, clock) as address, httpx2.AsyncClient() as http:
        answer = await http.get(f"{address}/health", headers=headers)
    return answer.status_code, answer.json()


async def test_the_public_sees_one_word(
    production: Settings, mall: Mall, clock: MovableClock
) -> None:
    """With a wrong token, too; the right one shows why."""
    await add_alert(mall)
    assert await health(production, clock) == (200, {"status": "WARNING"})
    assert await health(production, clock, "guess") == (200, {"status": "WARNING"})
    status, body = await health(production, clock, _TOKEN)
    assert (status, body["status"], body["alerts"]) == (
        200,
        "WARNING",
        ["dead_jobs: something is wrong"],
    )
    assert body["metrics"]["failed_jobs"] == 0
    assert "largest_gains_1h" not in body["metrics"]
    assert body["checkedAt"] == clock.now.isoformat()


async def test_without_a_token_set_nobody_sees_more(
    production: Settings, mall: Mall, clock: MovableClock
) -> None:
    """Outside of the dev profile; an empty token is none."""
    blind = replace(production, observation=ObservationSettings())
    assert await health(blind, clock) == (200, {"status": "HEALTHY"})
    assert await health(blind, clock, "") == (200, {"status": "HEALTHY"})
    assert mall.settings.mall.profile == "dev"
    assert "metrics" in (await health(mall.settings, clock))[1]


async def test_wrong_books_are_critical(mall: Mall, clock: MovableClock) -> None:
    """However few points it is about."""
    await add_alert(mall, AlertKind.LEDGER_DRIFT)
    status, body = await health(mall.settings, clock)
    assert (status, body["status"]) == (503, "CRITICAL")


@pytest.mark.parametrize("away", ["database_url", "redis_url"])
async def test_a_store_that_is_away_is_critical(
    settings: Settings, clock: MovableClock, away: str
) -> None:
    """And the answer comes nonetheless."""
    nowhere = {"database_url": "postgresql://nobody@127.0.0.1:1/x", "redis_url": "redis://[::1]:1"}
    stores = StoreSettings(**{**settings.stores.model_dump(), away: nowhere[away]})
    status, body = await health(replace(settings, stores=stores), clock)
    assert (status, body["status"]) == (503, "CRITICAL")
    assert body["alerts"][0] in ("postgresql is away", "redis is away")


async def test_a_schedule_that_nobody_keeps_shows(mall: Mall, clock: MovableClock) -> None:
    """For nobody checks for alerts then."""
    await execute(mall, "INSERT INTO scheduled_jobs VALUES ('often', :now)", now=clock.now)
    assert (await health(mall.settings, clock))[1]["status"] == "HEALTHY"
    clock.advance(seconds=301)
    status, body = await health(mall.settings, clock)
    assert (status, body["status"]) == (200, "WARNING")
    assert "schedule_silent" in body["alerts"][0]


@pytest.mark.parametrize(
    ("planted", "kind", "status"),
    [
        (
            """
            INSERT INTO outbox (job, payload, due_at)
            VALUES ('expire_points', '{}', CAST(:now AS timestamptz) - interval '2 hours')
            """,
            "outbox_lag",
            "WARNING",
        ),
        (
            "INSERT INTO outbox (job, payload, failed_at) VALUES ('expire_points', '{}', :now)",
            "dead_jobs",
            "WARNING",
        ),
        (
            """
            INSERT INTO ledger_checks (scope, found, violations, completed_at)
            VALUES ('full', 0, 1, :now)
            """,
            "ledger_drift",
            "CRITICAL",
        ),
    ],
)
async def test_what_is_wrong_shows_without_a_worker(
    mall: Mall, clock: MovableClock, planted: str, kind: str, status: str
) -> None:
    """Alerts are raised by workers: with none left nobody would raise any."""
    await execute(mall, "INSERT INTO scheduled_jobs VALUES ('often', :now)", now=clock.now)
    await execute(mall, planted, now=clock.now)
    found = (await health(mall.settings, clock))[1]
    assert found["status"] == status
    assert [alert.split(":")[0] for alert in found["alerts"]] == [kind]


async def test_however_many_ask_the_stores_are_asked_once(mall: Mall) -> None:
    """The answer is as old as it may be, for all of them."""
    first = await mall.health.latest()
    await add_user(mall)
    assert await mall.health.latest() is first


async def test_operators_ask_by_graphql(mall: Mall, client: Client) -> None:
    """The same, with figures of all jobs and members."""
    await give_points(mall, await add_user(mall), 10)
    answer = await client.post(_HEALTH, None, client.token("olga", "operator"))
    found = answer["data"]["systemHealth"]
    assert (found["status"], found["alerts"]) == ("HEALTHY", [])
    assert found["checkedAt"] == "2026-11-20T04:00:00Z"
    assert found["metrics"]["ledger_violations"] is None
    assert found["metrics"]["outbox_waiting"] == 0


def test_what_is_critical() -> None:
    """A store that is away, or wrong books; everything else warns."""
    assert status_of([], []) is HealthStatus.HEALTHY
    assert status_of(["redis"], []) is HealthStatus.CRITICAL
    for kind in AlertKind:
        is_critical = kind is AlertKind.LEDGER_DRIFT
        expected = HealthStatus.CRITICAL if is_critical else HealthStatus.WARNING
        assert status_of([], [kind]) is expected
