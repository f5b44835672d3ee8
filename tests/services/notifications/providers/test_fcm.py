"""FCM, against a double that speaks its HTTP v1 and its token endpoint over TLS."""

import asyncio
import json
import time

import pytest

from services.notifications.fcm_answers import FcmAnswer, outcome_of
from services.notifications.open import open_providers
from services.notifications.providers import (
    DeviceGone,
    NotTried,
    Outcome,
    PayloadRejected,
    PushMessage,
    RetryLater,
    Sent,
)
from tests.doubles.both import Doubles
from tests.services.notifications.providers.conftest import UnixClock
from tests.services.notifications.providers.messages import message_to


async def send(
    doubles: Doubles, clock: UnixClock, *messages: PushMessage, **changes: object
) -> list[Outcome]:
    async with open_providers(doubles.settings(**changes), clock, clock) as providers:
        return await providers["android"].send(messages)


async def test_a_push_arrives_with_all_that_it_says(doubles: Doubles, clock: UnixClock) -> None:
    """The text, the data, and ids by which a repeat replaces it on every platform."""
    (outcome,) = await send(doubles, clock, message_to("phone"))
    assert isinstance(outcome, Sent)
    assert outcome.provider_message_id.startswith("projects/points-mall/messages/")
    (seen,) = doubles.fcm.record.seen
    message = seen.body["message"]
    assert message["token"] == "phone"
    assert message["notification"] == {
        "title": "积分即将到期",
        "body": "1 points expire tomorrow",
    }
    assert message["data"] == {"kind": "expiry_reminder", "recordId": "1"}
    assert message["android"]["collapse_key"] == "expiry:2026-11-22:1"
    assert message["android"]["ttl"] == "86400s"
    assert message["apns"]["headers"] == {"apns-collapse-id": "expiry:2026-11-22:1"}
    assert seen.headers["content-type"] == "application/json"


@pytest.mark.parametrize(
    ("collapse_id", "topic"),
    [
        ("short-enough_1", "short-enough_1"),
        ("expiry:2026-11-22:1", "r_FEfQ3RhVTT0GaEjn1YnqH_Uy8a__tt"),
        ("x" * 64, "fOEAlx9k5wAej-WlGXPs3-HO1Cvv5-6N"),
    ],
)
async def test_a_web_push_topic_is_what_browsers_take(
    doubles: Doubles, clock: UnixClock, collapse_id: str, topic: str
) -> None:
    """What is too long for RFC 8030 or has other characters is digested, always alike."""
    message = PushMessage("browser", "t", "b", {}, collapse_id)
    (outcome,) = await send(doubles, clock, message)
    assert isinstance(outcome, Sent)
    (seen,) = doubles.fcm.record.seen
    assert seen.body["message"]["webpush"]["headers"]["Topic"] == topic


@pytest.mark.parametrize(
    ("behaviour", "outcome"),
    [
        ("unregistered", DeviceGone("UNREGISTERED")),
        ("sender_mismatch", DeviceGone("SENDER_ID_MISMATCH")),
        (
            "bad_token",
            DeviceGone(
                "INVALID_ARGUMENT: The registration token is not a valid FCM registration token"
            ),
        ),
        (
            "bad_token_field",
            DeviceGone("INVALID_ARGUMENT: Request contains an invalid argument."),
        ),
        ("too_big", PayloadRejected("INVALID_ARGUMENT: Android message is too big")),
        ("bad_ttl", PayloadRejected("INVALID_ARGUMENT: Invalid TTL")),
        (
            "malformed",
            PayloadRejected("INVALID_ARGUMENT: Invalid JSON payload received. Unknown name"),
        ),
        ("too_many_seconds", RetryLater(120, "FCM answered 429 QUOTA_EXCEEDED", is_throttle=True)),
        ("internal", RetryLater(None, "FCM answered 500 INTERNAL", is_outage=True)),
        ("unavailable", RetryLater(120, "FCM answered 503 UNAVAILABLE", is_outage=True)),
        ("bad_gateway", RetryLater(None, "FCM answered 502", is_outage=True)),
        ("redirect", RetryLater(None, "FCM answered 302", is_outage=True)),
        ("not_json", RetryLater(None, "FCM answered 200 without a name", is_outage=True)),
        ("third_party_auth", RetryLater(None, "FCM answered 401 THIRD_PARTY_AUTH_ERROR")),
        (
            "permission_denied",
            RetryLater(None, "FCM answered 403 PERMISSION_DENIED", is_outage=True),
        ),
        ("unknown_project", RetryLater(None, "FCM answered 404 NOT_FOUND", is_outage=True)),
        (
            "access_token_expired",
            RetryLater(None, "FCM answered 401 UNAUTHENTICATED", is_outage=True),
        ),
    ],
)
async def test_what_each_answer_does(
    doubles: Doubles, clock: UnixClock, behaviour: str, outcome: Outcome
) -> None:
    """And never a second request for what was answered, but once for a refused access token."""
    doubles.fcm.script.set("phone", behaviour)
    assert await send(doubles, clock, message_to("phone")) == [outcome]
    asked_again = behaviour == "access_token_expired"
    assert len(doubles.fcm.record.seen) == 1 + asked_again
    assert doubles.fcm.tokens_asked == 1 + asked_again


async def test_a_date_to_come_back_is_understood(doubles: Doubles, clock: UnixClock) -> None:
    """Dates have whole seconds."""
    doubles.fcm.script.set("phone", "too_many_date")
    (outcome,) = await send(doubles, clock, message_to("phone"))
    assert isinstance(outcome, RetryLater)
    assert outcome.after_s == pytest.approx(120, abs=1)


@pytest.mark.parametrize(
    ("violation", "is_throttle"),
    [
        ({"subject": "project:1", "description": "Quota exceeded for send requests"}, True),
        ({"subject": "device:x", "description": "Device message rate exceeded"}, False),
        ({"description": "Topic message rate exceeded"}, False),
    ],
)
def test_a_quota_is_the_projects_or_one_devices(
    violation: dict[str, str], is_throttle: bool
) -> None:
    """One device's limit does not silence all others."""
    details = [{"@type": "type.googleapis.com/google.rpc.QuotaFailure", "violations": [violation]}]
    error = {"code": 429, "message": "Quota exceeded.", "details": details}
    found = outcome_of(FcmAnswer(429, None, json.dumps({"error": error}).encode()), 0.0)
    assert isinstance(found, RetryLater)
    assert (found.is_throttle, found.is_outage) == (is_throttle, False)


@pytest.mark.parametrize("data", [{"from": "us"}, {"google.id": "1"}, {"text": "长" * 2_000}])
async def test_what_fcm_would_refuse_of_us_drops_no_device(
    doubles: Doubles, clock: UnixClock, data: dict[str, str]
) -> None:
    """Reserved keys and texts too long: the push is at fault."""
    message = PushMessage("phone", "t", "b", data, "c")
    (outcome,) = await send(doubles, clock, message)
    assert isinstance(outcome, PayloadRejected)


@pytest.mark.parametrize(
    ("behaviour", "problems"),
    [
        ("slow", {"ReadTimeout", "TimeoutError"}),
        ("drip", {"ReadTimeout", "TimeoutError"}),
        ("reset", {"ConnectionError"}),
    ],
)
async def test_trouble_on_the_line_is_for_later(
    doubles: Doubles, clock: UnixClock, behaviour: str, problems: set[str]
) -> None:
    """The next push goes through."""
    doubles.fcm.script.set("phone", behaviour, "success")
    async with open_providers(doubles.settings(push_timeout_s=0.5), clock, clock) as providers:
        provider = providers["android"]
        (first,) = await provider.send([message_to("phone")])
        assert first in [
            RetryLater(None, f"FCM: {problem}", is_outage=True) for problem in problems
        ]
        assert isinstance((await provider.send([message_to("phone")]))[0], Sent)


async def test_a_refused_connection_is_for_later(doubles: Doubles, clock: UnixClock) -> None:
    """And things go on when FCM is back, with connections that had been dropped."""
    async with open_providers(doubles.settings(), clock, clock) as providers:
        provider = providers["web"]
        assert isinstance((await provider.send([message_to("phone")]))[0], Sent)
        await doubles.fcm.stop()
        refused = await provider.send([message_to("phone")])
        assert refused == [RetryLater(None, "FCM: ConnectionError", is_outage=True)]
        await doubles.fcm.start()
        assert isinstance((await provider.send([message_to("phone")]))[0], Sent)


async def test_many_share_connections_and_one_access_token(
    doubles: Doubles, clock: UnixClock
) -> None:
    """As many connections as threads, one more for the token; the outcomes in their order."""
    doubles.fcm.script.set("gone", "unregistered")
    tokens = ["gone" if number % 3 == 0 else f"phone-{number}" for number in range(200)]
    messages = [message_to(token, number) for number, token in enumerate(tokens)]
    async with open_providers(doubles.settings(fcm_threads=4), clock, clock) as providers:
        outcomes = await providers["android"].send(messages)
        outcomes += await providers["web"].send(messages)
    expected = [DeviceGone if token == "gone" else Sent for token in tokens]
    assert [type(outcome) for outcome in outcomes] == expected * 2
    assert len(doubles.fcm.record.seen) == 400
    assert doubles.fcm.connections <= 5
    assert doubles.fcm.tokens_asked == 1


async def test_the_access_token_is_renewed_before_it_ends(
    doubles: Doubles, clock: UnixClock
) -> None:
    """So that FCM never has to refuse one."""
    async with open_providers(doubles.settings(), clock, clock) as providers:
        provider = providers["android"]
        for pause_s, asked in [(0, 1), (3_000, 1), (400, 2), (200, 2)]:
            clock.advance(pause_s)
            assert isinstance((await provider.send([message_to("phone")]))[0], Sent)
            assert doubles.fcm.tokens_asked == asked


async def test_a_refused_access_token_is_renewed_once_for_all(
    doubles: Doubles, clock: UnixClock
) -> None:
    """Many that are refused together fetch one."""
    async with open_providers(doubles.settings(), clock, clock) as providers:
        provider = providers["android"]
        await provider.send([message_to("phone")])
        doubles.fcm.expire_tokens()
        outcomes = await provider.send([message_to("phone", number) for number in range(50)])
    assert {type(outcome) for outcome in outcomes} == {Sent}
    assert doubles.fcm.tokens_asked == 2


@pytest.mark.parametrize(("trouble", "status"), [("refused", 400), ("unavailable", 503)])
async def test_without_an_access_token_all_is_for_later(
    doubles: Doubles, clock: UnixClock, trouble: str, status: int
) -> None:
    """Whether Google refuses the account or is away; and no thread sleeps over it."""
    doubles.fcm.token_endpoint = trouble
    async with open_providers(doubles.settings(), clock, clock) as providers:
        provider = providers["android"]
        reason = f"no access token: the token endpoint answered {status}"
        expected = RetryLater(None, reason, is_outage=True)
        assert await provider.send([message_to("phone")]) == [expected]
        assert doubles.fcm.tokens_asked == 1
        doubles.fcm.token_endpoint = "success"
        assert isinstance((await provider.send([message_to("phone")]))[0], Sent)


async def test_a_token_endpoint_that_fails_slowly_is_asked_once(
    doubles: Doubles, clock: UnixClock
) -> None:
    """All threads share the failure, instead of waiting one after the other."""
    doubles.fcm.token_endpoint, doubles.fcm.slow_s = "slow_unavailable", 0.5
    messages = [message_to("phone", number) for number in range(16)]
    outcomes = await send(doubles, clock, *messages, push_timeout_s=15)
    reason = "no access token: the token endpoint answered 503"
    assert outcomes == [RetryLater(None, reason, is_outage=True)] * 16
    # A thread that came too late, on a busy machine, may have asked for itself.
    assert doubles.fcm.tokens_asked <= 3


async def test_a_silent_token_endpoint_holds_nobody_up(doubles: Doubles, clock: UnixClock) -> None:
    """A push waits for it no longer than for FCM."""
    doubles.fcm.token_endpoint = "slow"
    messages = [message_to("phone", number) for number in range(16)]
    outcomes = await send(doubles, clock, *messages, push_timeout_s=0.5)
    assert {type(outcome) for outcome in outcomes} == {RetryLater}


async def test_a_slow_push_holds_up_no_other(doubles: Doubles, clock: UnixClock) -> None:
    """The others are through while it still waits; asyncio's own threads are free anyway."""
    doubles.fcm.script.set("slow", "slow")
    settings = doubles.settings(push_timeout_s=5, fcm_threads=4)
    async with open_providers(settings, clock, clock) as providers:
        provider = providers["android"]
        slow = asyncio.create_task(provider.send([message_to("slow")]))
        others = await provider.send([message_to("phone", number) for number in range(50)])
        await asyncio.to_thread(time.monotonic)
        assert not slow.done()
        assert {type(outcome) for outcome in others} == {Sent}
        slow.cancel()


async def test_the_breaker_opens_within_one_batch(doubles: Doubles, clock: UnixClock) -> None:
    """A dead provider is asked a few times, not once for each of many."""
    doubles.fcm.script.default = "internal"
    messages = [message_to("phone", number) for number in range(100)]
    changes = {"fcm_threads": 2, "push_breaker_failures": 3, "push_breaker_open_s": 30}
    async with open_providers(doubles.settings(**changes), clock, clock) as providers:
        provider = providers["android"]
        outcomes = await provider.send(messages)
        assert len(doubles.fcm.record.seen) <= 2 * 3 + 2
        assert outcomes[-1] == NotTried(30)
        clock.advance(20)
        assert await provider.send(messages[:1]) == [NotTried(10)]
        doubles.fcm.script.default = "success"
        clock.advance(10)
        assert {type(found) for found in await provider.send(messages[:1])} == {Sent}
        assert {type(found) for found in await provider.send(messages)} == {Sent}


async def test_threads_that_are_held_up_are_freed(doubles: Doubles, clock: UnixClock) -> None:
    """By answers that never come or never end; all of them, so that things go on."""
    changes = {"push_timeout_s": 0.5, "fcm_threads": 4, "push_breaker_failures": 1_000}
    async with open_providers(doubles.settings(**changes), clock, clock) as providers:
        provider = providers["android"]
        for behaviour in ("slow", "drip"):
            doubles.fcm.script.default = behaviour
            outcomes = await provider.send([message_to("phone", n) for n in range(8)])
            assert {type(outcome) for outcome in outcomes} == {RetryLater}
        doubles.fcm.script.default = "success"
        messages = [message_to("phone", number) for number in range(40)]
        async with asyncio.timeout(20):  # the last of them may still hold their threads a while
            while {type(found) for found in await provider.send(messages)} != {Sent}:
                pass


async def test_a_text_that_cannot_be_written_takes_no_other_along(
    doubles: Doubles, clock: UnixClock
) -> None:
    """Half a surrogate pair is no Unicode."""
    broken = PushMessage("phone", "\ud800", "b", {}, "c")
    outcomes = await send(doubles, clock, message_to("phone"), broken, message_to("phone"))
    assert [type(outcome) for outcome in outcomes] == [Sent, RetryLater, Sent]
