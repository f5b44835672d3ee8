"""Operators are told of alerts by every channel, whatever the channels do."""

import json
import re
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from dataclasses import replace
from datetime import timedelta
from email import message_from_string
from email.policy import default
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from schema.ids import encode_id
from services.mall import Mall
from services.monitoring.alerts import AlertKind, of_members, raise_alerts, settle_alerts
from services.transaction import transaction
from settings import Settings
from tests.alerts import add_alert, check, deliver, left, open_kinds, run_once
from tests.client import Client
from tests.clock import MovableClock
from tests.doubles.alert_receiver import CHANNELS, AlertReceiver, Received
from tests.factories import add_user, execute

_ALERTS_PAGE = Path(__file__).parents[2] / "docs" / "alerts.md"
_ACT = """
mutation ($alert: ID!, $member: ID!) {
  acknowledgeAlert(input: {alertId: $alert}) {
    ... on AcknowledgeAlertSuccess { alert { type acknowledgedAt } }
  }
  suspendUser(input: {userId: $member, until: "2026-12-01T00:00:00Z", reason: "gains"}) {
    ... on SuspendUserSuccess { user { username } }
  }
}
"""


@pytest.fixture
async def receiver() -> AsyncIterator[AlertReceiver]:
    """Takes alerts on loopback."""
    async with AlertReceiver() as receiver:
        yield receiver


@pytest.fixture(autouse=True)
def _quiet() -> Iterator[None]:
    """Rendering the traceback of every failure would take longer than all the rest."""
    with capture_logs():
        yield


@pytest.fixture
def settings(settings: Settings, receiver: AlertReceiver) -> Settings:
    """All channels lead to the receiver."""
    return replace(settings, alerting=receiver.as_channels())


async def resolve(mall: Mall, kind: AlertKind = AlertKind.DEAD_JOBS) -> None:
    """Let it be over."""
    async with transaction(mall.stores.write) as session:
        await settle_alerts(session, [], [kind], mall.clock())


async def test_every_channel_is_told_once_although_each_fails_every_third_time(
    mall: Mall, clock: MovableClock, receiver: AlertReceiver
) -> None:
    """Raised and resolved, several times; every signature holds; no notice is lost or doubled."""
    for _ in range(4):
        await add_alert(mall)
        await deliver(mall, clock)
        await resolve(mall)
        await deliver(mall, clock)
    assert await left(mall) == []
    assert receiver.wrong == []
    assert Counter(each.channel for each in receiver.taken) == dict.fromkeys(CHANNELS, 8)
    assert len({each.delivery_id for each in receiver.taken}) == 4 * 8
    assert all(receiver.asked[channel] > 8 for channel in CHANNELS)
    events = [each.body["event"] for each in receiver.of("webhook")]
    assert events == ["alert.raised", "alert.resolved"] * 4
    alert = receiver.of("webhook")[0].body["alert"]
    assert (alert["kind"], alert["severity"], alert["message"]) == (
        "dead_jobs",
        "high",
        "something is wrong",
    )
    assert "Subject: [HIGH] dead_jobs raised" in receiver.of("mail")[0].body
    assert "To: a@mall.test, b@mall.test" in receiver.of("mail")[0].body


async def gain(mall: Mall, *user_ids: int) -> None:
    """Let those members have gained too much."""
    gains = [{"user_id": user_id, "points": 48_000} for user_id in user_ids]
    facts = {"user_ids": list(user_ids), "gains_1h": gains}
    async with transaction(mall.stores.write) as session:
        sighting = of_members(AlertKind.ABNORMAL_GAINS, facts, measured_at=mall.clock())
        await raise_alerts(session, [sighting], mall.clock())


def text_of(received: Received) -> str:
    """What a person reads."""
    if received.channel == "mail":
        message = message_from_string(received.body, policy=default)
        return message.get_content().replace("\r\n", "\n")
    body = received.body
    return body["text"] if received.channel == "slack" else body["markdown"]["text"]


@pytest.mark.parametrize("channel", CHANNELS)
async def test_what_a_notice_names_can_be_acted_on(
    mall: Mall, client: Client, clock: MovableClock, receiver: AlertReceiver, channel: str
) -> None:
    """By GraphQL, with the ids as they stand there; a text names the first 20 members."""
    receiver.refuses_every = 0
    mallory = await add_user(mall, "mallory")
    others = range(mallory + 1, mallory + 25)
    await gain(mall, mallory, *others)
    await deliver(mall, clock)
    [received] = receiver.of(channel)
    if channel == "webhook":
        alert = received.body["alert"]
        assert alert["type"] == alert["kind"] == "abnormal_gains"
        assert len(set(alert["userIds"])) == len(alert["facts"]["user_ids"]) == 25
        alert_id, member = alert["globalId"], alert["userIds"][0]
    else:
        text = text_of(received)
        [alert_id] = re.findall(r"^alertId: (\S+?) *$", text, re.MULTILINE)
        named = dict(re.findall(r"^userId: (\S+) \(member (\d+)\) *$", text, re.MULTILINE))
        assert list(named.values()) == [str(key) for key in (mallory, *others)][:20]
        assert "and 5 more" in text
        member = next(iter(named))
    answer = await client.post(
        _ACT, {"alert": alert_id, "member": member}, client.token("olga", "operator")
    )
    assert answer["data"]["acknowledgeAlert"]["alert"]["type"] == "abnormal_gains"
    assert answer["data"]["suspendUser"] == {"user": {"username": "mallory"}}


async def test_the_documented_notice_is_one(
    mall: Mall, clock: MovableClock, receiver: AlertReceiver
) -> None:
    """`docs/alerts.md` shows what is sent, but for ids: the receiver is written from it."""
    receiver.refuses_every = 0
    [shown] = re.findall(r"```json\n(.*?)```", _ALERTS_PAGE.read_text(), re.DOTALL)
    documented = json.loads(shown)
    await gain(mall, *documented["alert"]["facts"]["user_ids"])
    await deliver(mall, clock)
    [received] = receiver.of("webhook")
    for body in (documented, received.body):
        del body["deliveryId"]
        assert body["alert"].pop("globalId") == encode_id("Alert", body["alert"].pop("id"))
    assert received.body == documented


async def test_a_dead_channel_repeats_no_other_and_alarms_nobody_about_itself(
    mall: Mall, clock: MovableClock, receiver: AlertReceiver
) -> None:
    """It fails for good in the end, which is shown, and no dead job; delivered when retried."""
    receiver.refuses_every = 1
    await add_alert(mall, AlertKind.LEDGER_DRIFT)
    await deliver(mall, clock, rounds=12)
    assert [(row.channel, row.attempts) for row in await left(mall)] == [
        (channel, 10) for channel in CHANNELS
    ]
    assert all(row.failed_at for row in await left(mall))
    said = " ".join(row.error for row in await left(mall))
    assert "127.0.0.1" not in said
    assert "access_token" not in said
    receiver.refuses_every = 0
    await execute(mall, "UPDATE scheduled_jobs SET slot_at = :now", now=clock.now)
    await check(mall)
    assert "alerts_undelivered" in await open_kinds(mall)
    assert "dead_jobs" not in await open_kinds(mall)
    assert {each.body["alert"]["kind"] for each in receiver.of("webhook")} <= {"ledger_drift"}
    await execute(mall, "UPDATE outbox SET failed_at = NULL, due_at = :now", now=clock.now)
    await deliver(mall, clock)
    await check(mall)
    assert "alerts_undelivered" not in await open_kinds(mall)


async def test_a_channel_that_hangs_is_left_after_its_time(
    mall: Mall, clock: MovableClock, receiver: AlertReceiver
) -> None:
    """And tried again."""
    receiver.hangs = True
    await add_alert(mall)
    await run_once(mall, "tell_of_alert")
    await run_once(mall, "deliver_alert")
    assert [(row.channel, row.attempts) for row in await left(mall)] == [
        (channel, 1) for channel in CHANNELS
    ]
    receiver.hangs, receiver.refuses_every = False, 0
    clock.advance(minutes=1)
    await deliver(mall, clock)
    assert Counter(each.channel for each in receiver.taken) == dict.fromkeys(CHANNELS, 1)


async def test_who_dies_after_sending_sends_the_same_notice_again(
    mall: Mall, clock: MovableClock, receiver: AlertReceiver
) -> None:
    """Nothing is lost; by its id the receiver can tell."""
    receiver.refuses_every = 0
    await add_alert(mall)
    await deliver(mall, clock)
    await execute(
        mall,
        "UPDATE outbox SET done_at = NULL, claim = gen_random_uuid() WHERE job = 'deliver_alert'",
    )
    clock.advance(hours=1)
    await execute(mall, "UPDATE outbox SET claim = NULL WHERE job = 'deliver_alert'")  # the relay
    await deliver(mall, clock)
    for channel in CHANNELS:
        first, second = receiver.of(channel)
        assert first.delivery_id == second.delivery_id


async def test_a_repeat_that_came_too_late_is_dropped(
    mall: Mall, clock: MovableClock, receiver: AlertReceiver
) -> None:
    """What lasted and is over meanwhile is told as over, not as lasting."""
    receiver.refuses_every = 0
    await add_alert(mall)
    await run_once(mall, "tell_of_alert")
    clock.advance(seconds=timedelta(minutes=30).total_seconds())
    await add_alert(mall)
    await run_once(mall, "tell_of_alert")
    await resolve(mall)
    await deliver(mall, clock)
    events = {each.body["event"] for each in receiver.of("webhook")}
    assert events == {"alert.raised", "alert.resolved"}
