"""Every alert there is: fired and resolved by real data, and delivered by channels that fail."""

from collections.abc import AsyncIterator, Iterator
from contextlib import aclosing
from dataclasses import replace
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from services.mall import Mall
from services.monitoring.alerts import NEVER_SENT, AlertKind, Telling
from settings import Settings
from tests.alert_causes import CAUSES, LIMITS, THRESHOLDS, Scene
from tests.alerts import alerts, deliver, left, look
from tests.client import Client
from tests.clock import MovableClock
from tests.doubles.alert_receiver import CHANNELS, AlertReceiver, Received


@pytest.fixture
async def receiver() -> AsyncIterator[AlertReceiver]:
    """Takes alerts on loopback, but for every third."""
    async with AlertReceiver() as receiver:
        yield receiver


@pytest.fixture(autouse=True)
def _quiet() -> Iterator[None]:
    """Rendering the traceback of every failure would take longer than all the rest."""
    with capture_logs():
        yield


@pytest.fixture
def settings(settings: Settings, receiver: AlertReceiver) -> Settings:
    """What a handful of members reach, told to the receiver."""
    return replace(settings, alerting=receiver.as_channels(**THRESHOLDS), limits=LIMITS)


def tellings(received: list[Received], kind: AlertKind) -> list[Telling]:
    """What was taken about alerts of that kind, in order."""
    return [why for each in received for why in Telling if f"{kind} {why}" in _title(each)]


def _title(received: Received) -> str:
    if received.channel == "webhook":
        return f"{received.body['alert']['kind']} {received.body['event'].partition('.')[2]}"
    return str(received.body)


def test_there_is_a_cause_for_every_kind() -> None:
    """None is left out below."""
    assert set(CAUSES) == set(AlertKind)


@pytest.mark.parametrize("kind", AlertKind)
async def test_every_alert_fires_and_resolves(
    mall: Mall,
    client: Client,
    clock: MovableClock,
    receiver: AlertReceiver,
    tmp_path: Path,
    kind: AlertKind,
) -> None:
    """Each channel takes both notices once, though it refused the first, or the second, at first.

    What is about delivering is shown and told by nobody.
    """
    asked_before = 1 + list(AlertKind).index(kind) % 2
    receiver.asked.update(dict.fromkeys(CHANNELS, asked_before))
    async with aclosing(CAUSES[kind](Scene(mall, client, clock, receiver, tmp_path))) as cause:
        for is_over in (False, True):
            await anext(cause, None)
            await look(mall)
            (alert,) = [alert for alert in await alerts(mall) if alert.kind == kind]
            assert (alert.resolved_at is not None) == is_over
            await deliver(mall, clock)
    told = [] if kind in NEVER_SENT else [Telling.RAISED, Telling.RESOLVED]
    for channel in CHANNELS:
        taken = receiver.of(channel)
        assert tellings(taken, kind) == told
        assert receiver.asked[channel] > asked_before + len(taken)
    assert await left(mall) == []
    assert receiver.wrong == []
