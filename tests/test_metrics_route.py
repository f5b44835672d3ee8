"""`/metrics`: who may read it, where it is, and what it says while a store is away."""

import socket
from dataclasses import replace
from datetime import timedelta

import httpx2
import pytest
from pydantic import SecretStr

from commands.metrics import serving_metrics
from services.bulk import Writes
from services.mall import Mall, open_mall
from services.outbox import enqueue
from services.transaction import transaction
from settings import MallSettings, ObservationSettings, Settings, SettingsError, StoreSettings
from tests.alerts import note_days
from tests.client import Client
from tests.clock import MovableClock
from tests.factories import add_user, execute, give_points
from tests.jobs.due import jobs_named, run_due
from tests.measured import scrape
from tests.serving import serving

_TOKEN = "a token for Prometheus only"
_FIGURES = ("outbox_lag_seconds", "outbox_waiting_rows", "failed_jobs")


@pytest.fixture
def free_port() -> int:
    """A port on which nobody listens."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
    return port


def _in_production(settings: Settings, token: str | None) -> Settings:
    observation = ObservationSettings(metrics_token=token and SecretStr(token))
    return replace(settings, mall=MallSettings(profile="production"), observation=observation)


async def _status(settings: Settings, clock: MovableClock, authorization: str) -> int:
    async with serving(settings, clock) as address, httpx2.AsyncClient() as http:
        headers = {"Authorization": authorization.encode("latin-1")}
        return (await http.get(f"{address}/metrics", headers=headers)).status_code


@pytest.mark.parametrize(
    ("token", "authorization", "status"),
    [
        (None, "Bearer x", 404),
        (_TOKEN, "", 401),
        (_TOKEN, f"Bearer {_TOKEN}x", 401),
        (_TOKEN, f"Bearer {_TOKEN} é", 401),
        (_TOKEN, f"Bearer {_TOKEN}", 200),
    ],
)
async def test_in_production_only_the_token_opens_it(
    settings: Settings, clock: MovableClock, token: str | None, authorization: str, status: int
) -> None:
    """Without one it does not exist."""
    settings = _in_production(settings, token)
    assert await _status(settings, clock, authorization) == status


async def test_the_figures_are_among_it(client: Client) -> None:
    """Of the tables, and that they could be read."""
    found = await scrape(client.http)
    assert found.value("points_mall_figures_up") == 1
    assert {name: found.value(name) for name in _FIGURES} == dict.fromkeys(_FIGURES, 0)


async def test_figures_are_what_plain_sql_says(mall: Mall, client: Client) -> None:
    """After the job has measured; before that they are missing."""
    for name in ("alice", "bob"):
        user_id = await add_user(mall, name, last_login_at=mall.clock())
        await give_points(mall, user_id, 300, expires_at=mall.clock() + timedelta(days=3))
    await note_days(mall)
    async with transaction(mall.stores.write) as session:
        writes = Writes()
        enqueue(writes, "measure_figures", [{}], mall.clock())
        await writes.flush(session)
    await run_due(mall, jobs_named("measure_figures"))
    found = await scrape(client.http)
    active = await execute(
        mall,
        "SELECT count(*) FROM users WHERE last_login_at > :since",
        since=mall.clock() - timedelta(days=1),
    )
    expiring = await execute(
        mall,
        "SELECT sum(points) FROM points_records WHERE status = 'active' AND expires_at <= :until",
        until=mall.clock() + timedelta(days=7),
    )
    assert found.value("active_users_24h") == active[0][0] == 2
    assert found.value("expiring_points_7d") == expiring[0][0] == 600


async def test_it_answers_while_postgresql_is_away(
    settings: Settings, clock: MovableClock, free_port: int
) -> None:
    """The figures are missing, and one says so."""
    away = StoreSettings(
        database_url=f"postgresql://nobody@127.0.0.1:{free_port}/x",
        redis_url=settings.stores.redis_url,
    )
    async with (
        serving(replace(settings, stores=away), clock) as address,
        httpx2.AsyncClient(base_url=address) as http,
    ):
        found = await scrape(http)
    assert found.value("points_mall_figures_up") == 0
    assert [found.value(name) for name in _FIGURES] == [None] * len(_FIGURES)
    assert found.value("database_connections", state="busy") == 0


async def test_a_worker_serves_its_own(
    settings: Settings, clock: MovableClock, free_port: int
) -> None:
    """On the port that is set for it, with a sign of life; a port that is taken is said."""
    observation = ObservationSettings(metrics_port=free_port)
    async with (
        open_mall(replace(settings, observation=observation), clock) as worker,
        serving_metrics(worker),
        httpx2.AsyncClient(base_url=f"http://127.0.0.1:{free_port}") as http,
    ):
        worker.metrics.time_job("a_job", 0.5)
        found = await scrape(http)
        assert found.value("job_duration_seconds_count", job="a_job") == 1
        assert (await http.get("/livez")).status_code == 200
        with pytest.raises(SettingsError, match=f"MALL_METRICS_PORT {free_port}"):
            async with serving_metrics(worker):
                pass


async def test_a_request_keeps_an_id_that_can_be_searched_for(client: Client) -> None:
    """Of the client or its proxy; any other gets one of ours, which nobody else has."""

    async def echoed(said: str | None) -> str:
        headers = {} if said is None else {"x-request-id": said.encode("latin-1")}
        return (await client.http.get("/livez", headers=headers)).headers["x-request-id"]

    kept = "1-67891233:abc=DEF.4/5+6_7"
    assert await echoed(kept) == kept
    ours = [await echoed(said) for said in (None, "", "two words", "é", "x" * 65)]
    assert len(set(ours)) == len(ours)
    assert not {"", "two words", "x" * 65} & set(ours)
