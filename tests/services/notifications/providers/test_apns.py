"""APNs, against a double that speaks HTTP/2 over TLS and checks tokens and headers."""

import asyncio
from datetime import UTC, datetime
from uuid import UUID

import pytest

from services.notifications.open import open_providers
from services.notifications.providers import (
    DeviceGone,
    Outcome,
    PayloadRejected,
    PushMessage,
    RetryLater,
    Sent,
)
from tests.doubles.apns import GONE_AT_MS
from tests.doubles.both import TOPIC, Doubles
from tests.services.notifications.providers.conftest import UnixClock
from tests.services.notifications.providers.messages import message_to

PHONE, OTHER, GONE = "ab" * 32, "cd" * 32, "ee" * 32
GONE_AT = datetime.fromtimestamp(GONE_AT_MS / 1000, UTC)


def phone(number: int) -> str:
    return f"{number:064x}"


async def send(
    doubles: Doubles, clock: UnixClock, *messages: PushMessage, **changes: object
) -> list[Outcome]:
    async with open_providers(doubles.settings(**changes), clock, clock) as providers:
        return await providers["ios"].send(messages)


async def test_a_push_arrives_with_all_that_it_says(doubles: Doubles, clock: UnixClock) -> None:
    """The text, the data beside it, and the headers that Apple asks for."""
    (outcome,) = await send(doubles, clock, message_to(PHONE))
    (seen,) = doubles.apns.record.seen
    assert outcome == Sent(seen.headers["apns-id"])
    assert seen.headers[":path"] == f"/3/device/{PHONE}"
    assert seen.headers["apns-topic"] == TOPIC
    assert seen.headers["apns-push-type"] == "alert"
    assert seen.headers["apns-priority"] == "10"
    assert seen.headers["apns-expiration"] == str(int(clock.now) + 86_400)
    assert seen.headers["apns-collapse-id"] == "expiry:2026-11-22:1"
    assert seen.body == {
        "aps": {"alert": {"title": "积分即将到期", "body": "1 points expire tomorrow"}},
        "kind": "expiry_reminder",
        "recordId": "1",
    }


async def test_a_repeat_bears_the_same_id(doubles: Doubles, clock: UnixClock) -> None:
    """Another device, or another text under the same collapse id, bears another."""
    changed = PushMessage(PHONE, "t", "changed", {}, "expiry:2026-11-22:1")
    await send(doubles, clock, message_to(PHONE), message_to(OTHER), message_to(PHONE), changed)
    ids = {
        (seen.token, seen.body["aps"]["alert"]["body"]): UUID(seen.headers["apns-id"])
        for seen in doubles.apns.record.seen
    }
    assert len(doubles.apns.record.seen) == 4
    assert len(set(ids.values())) == 3


async def test_data_cannot_replace_what_is_shown(doubles: Doubles, clock: UnixClock) -> None:
    """Not even under the name that Apple reads."""
    message = PushMessage(PHONE, "t", "b", {"aps": "nonsense"}, "c")
    assert isinstance((await send(doubles, clock, message))[0], Sent)


@pytest.mark.parametrize(
    ("behaviour", "outcome"),
    [
        ("unregistered", DeviceGone("Unregistered", GONE_AT)),
        ("expired_device_token", DeviceGone("ExpiredToken", GONE_AT)),
        ("bad_token", DeviceGone("BadDeviceToken")),
        ("other_topic", DeviceGone("DeviceTokenNotForTopic")),
        ("malformed", PayloadRejected("PayloadEmpty")),
        ("too_big", PayloadRejected("PayloadTooLarge")),
        ("bad_topic", RetryLater(None, "APNs answered 400 TopicDisallowed", is_outage=True)),
        ("idle_timeout", RetryLater(None, "APNs answered 400 IdleTimeout")),
        (
            "invalid_provider_token",
            RetryLater(None, "APNs answered 403 InvalidProviderToken", is_outage=True),
        ),
        (
            "too_many_token_updates",
            RetryLater(None, "APNs answered 429 TooManyProviderTokenUpdates"),
        ),
        ("too_many_seconds", RetryLater(120, "APNs answered 429 TooManyRequests")),
        ("internal", RetryLater(None, "APNs answered 500 InternalServerError", is_outage=True)),
        ("unavailable", RetryLater(120, "APNs answered 503 ServiceUnavailable", is_outage=True)),
        ("shutdown", RetryLater(None, "APNs answered 503 Shutdown", is_outage=True)),
        ("not_json", RetryLater(None, "APNs answered 502", is_outage=True)),
    ],
)
async def test_what_each_answer_does(
    doubles: Doubles, clock: UnixClock, behaviour: str, outcome: Outcome
) -> None:
    """And one request each."""
    doubles.apns.script.set(PHONE, behaviour)
    assert await send(doubles, clock, message_to(PHONE)) == [outcome]
    assert len(doubles.apns.record.seen) == 1


async def test_a_date_to_come_back_is_understood(doubles: Doubles, clock: UnixClock) -> None:
    """Dates have whole seconds."""
    doubles.apns.script.set(PHONE, "too_many_date")
    (outcome,) = await send(doubles, clock, message_to(PHONE))
    assert isinstance(outcome, RetryLater)
    assert outcome.after_s == pytest.approx(120, abs=1)


@pytest.mark.parametrize("token", ["", "..", "a/b", "abc?x=1", "没有", "ab cd", "f" * 201])
async def test_what_cannot_be_a_token_is_not_asked_about(
    doubles: Doubles, clock: UnixClock, token: str
) -> None:
    """It would be part of a path."""
    assert await send(doubles, clock, message_to(token)) == [DeviceGone("BadDeviceToken")]
    assert doubles.apns.connections == 0


async def test_a_text_too_long_drops_no_device(doubles: Doubles, clock: UnixClock) -> None:
    """APNs takes 4 KB."""
    message = PushMessage(PHONE, "t", "长" * 2_000, {}, "c")
    assert await send(doubles, clock, message) == [PayloadRejected("PayloadTooLarge")]


@pytest.mark.parametrize(
    ("behaviour", "problems"),
    [
        ("slow", {"TimeoutError", "ReadTimeout"}),
        ("reset", {"ReadError", "RemoteProtocolError", "WriteError"}),
        ("stream_reset", {"RemoteProtocolError"}),
        ("goaway", {"RemoteProtocolError"}),
    ],
)
async def test_trouble_on_the_line_is_for_later(
    doubles: Doubles, clock: UnixClock, behaviour: str, problems: set[str]
) -> None:
    """The next push goes through, on a new connection."""
    doubles.apns.script.set(PHONE, behaviour)
    async with open_providers(doubles.settings(push_timeout_s=0.5), clock, clock) as providers:
        provider = providers["ios"]
        assert isinstance((await provider.send([message_to(OTHER)]))[0], Sent)
        for _ in range(3):
            (first,) = await provider.send([message_to(PHONE)])
            assert isinstance(first, RetryLater)
            assert first.is_outage
            assert first.reason.removeprefix("APNs: ") in problems
            assert isinstance((await provider.send([message_to(OTHER)]))[0], Sent)
    # What GOAWAY says was not looked at, httpx2 sends again at once, on one connection more.
    assert doubles.apns.connections == (7 if behaviour == "goaway" else 4)


@pytest.mark.parametrize("behaviour", ["goaway", "reset"])
async def test_a_connection_lost_in_the_middle_of_many(
    doubles: Doubles, clock: UnixClock, behaviour: str
) -> None:
    """Each has an outcome, those lost are for later, and what comes after goes through."""
    lost = phone(40)
    doubles.apns.script.set(lost, behaviour, "success")
    doubles.apns.script.set(phone(3), "slow", "success")
    messages = [message_to(phone(number), number) for number in range(80)]
    async with open_providers(doubles.settings(apns_streams=20), clock, clock) as providers:
        provider = providers["ios"]
        outcomes = await provider.send(messages)
        assert {type(outcome) for outcome in outcomes} == {Sent, RetryLater}
        assert isinstance(outcomes[40], RetryLater)
        again = [
            message
            for message, outcome in zip(messages, outcomes, strict=True)
            if not isinstance(outcome, Sent)
        ]
        assert {type(outcome) for outcome in await provider.send(again)} == {Sent}
    answered = [seen for seen in doubles.apns.record.seen if seen.behaviour == "success"]
    assert {seen.token for seen in answered} == {message.token for message in messages}


async def test_a_refused_connection_is_for_later(doubles: Doubles, clock: UnixClock) -> None:
    """And things go on when APNs is back."""
    async with open_providers(doubles.settings(), clock, clock) as providers:
        provider = providers["ios"]
        await doubles.apns.stop()
        refused = RetryLater(None, "APNs: ConnectError", is_outage=True)
        assert await provider.send([message_to(PHONE)]) == [refused]
        await doubles.apns.start()
        assert isinstance((await provider.send([message_to(PHONE)]))[0], Sent)


async def test_an_idle_connection_that_apns_closed_costs_one_try(
    doubles: Doubles, clock: UnixClock
) -> None:
    """Then there is a new one."""
    async with open_providers(doubles.settings(), clock, clock) as providers:
        provider = providers["ios"]
        assert isinstance((await provider.send([message_to(PHONE)]))[0], Sent)
        await doubles.apns.stop()
        await doubles.apns.start()
        await provider.send([message_to(PHONE)])
        assert isinstance((await provider.send([message_to(PHONE)]))[0], Sent)


async def test_who_is_not_apns_gets_nothing(doubles: Doubles, clock: UnixClock) -> None:
    """Its certificate is checked against the authorities that are trusted."""
    changes = {"push_ca_file": ""}
    (outcome,) = await send(doubles, clock, message_to(PHONE), **changes)
    assert outcome == RetryLater(None, "APNs: ConnectError", is_outage=True)
    assert doubles.apns.record.seen == []


async def test_many_share_one_connection_and_one_provider_token(
    doubles: Doubles, clock: UnixClock
) -> None:
    """So many streams at a time as the settings allow; the outcomes in their order."""
    doubles.apns.script.set(GONE, "unregistered")
    tokens = [GONE if number % 3 == 0 else phone(number) for number in range(300)]
    messages = [message_to(token, number) for number, token in enumerate(tokens)]
    async with open_providers(doubles.settings(apns_streams=30), clock, clock) as providers:
        outcomes = await providers["ios"].send(messages)
        outcomes += await providers["ios"].send(messages)
    expected = [DeviceGone if token == GONE else Sent for token in tokens]
    assert [type(outcome) for outcome in outcomes] == expected * 2
    assert doubles.apns.connections == 1
    assert len(doubles.apns.provider_tokens) == 1
    assert 1 < doubles.apns.most_streams <= 30


async def test_the_provider_token_is_renewed_in_time(doubles: Doubles, clock: UnixClock) -> None:
    """Not within 20 minutes, and always within 60, as Apple demands."""
    async with open_providers(doubles.settings(), clock, clock) as providers:
        for minutes, tokens in [(0, 1), (20, 1), (19, 1), (2, 2), (38, 2), (3, 3), (600, 4)]:
            clock.advance(minutes * 60)
            assert isinstance((await providers["ios"].send([message_to(PHONE)]))[0], Sent)
            assert len(doubles.apns.provider_tokens) == tokens


async def test_an_expired_provider_token_is_replaced_once_for_all(
    doubles: Doubles, clock: UnixClock
) -> None:
    """Many that are refused together make one."""
    async with open_providers(doubles.settings(), clock, clock) as providers:
        provider = providers["ios"]
        await provider.send([message_to(PHONE)])
        doubles.apns.expire_tokens()
        outcomes = await provider.send([message_to(phone(n), n) for n in range(50)])
    assert {type(outcome) for outcome in outcomes} == {Sent}
    assert len(doubles.apns.provider_tokens) == 2


async def test_provider_tokens_are_not_made_over_and_over(
    doubles: Doubles, clock: UnixClock
) -> None:
    """APNs that calls each of them expired (our clock is wrong) sees one more in 20 minutes."""
    refused = RetryLater(None, "APNs answered 403 ExpiredProviderToken", is_outage=True)
    doubles.apns.clock = lambda: clock.now + 7_200
    changes = {"push_breaker_failures": 1_000}
    async with open_providers(doubles.settings(**changes), clock, clock) as providers:
        for _ in range(5):
            assert await providers["ios"].send([message_to(PHONE)]) == [refused]
        assert len(doubles.apns.provider_tokens) == 2
        clock.advance(1_200)
        assert await providers["ios"].send([message_to(PHONE)]) == [refused]
        assert len(doubles.apns.provider_tokens) == 3


async def test_a_slow_push_holds_up_no_other(doubles: Doubles, clock: UnixClock) -> None:
    """The others share its connection and are through while it still waits."""
    doubles.apns.script.set(PHONE, "slow")
    async with open_providers(doubles.settings(push_timeout_s=5), clock, clock) as providers:
        provider = providers["ios"]
        slow = asyncio.create_task(provider.send([message_to(PHONE)]))
        others = await provider.send([message_to(phone(n), n) for n in range(50)])
        assert not slow.done()
        assert {type(outcome) for outcome in others} == {Sent}
        slow.cancel()


async def test_streams_given_up_do_not_add_up(doubles: Doubles, clock: UnixClock) -> None:
    """Many slow pushes, more than a connection has streams: the next one still goes through."""
    doubles.apns.script.set(PHONE, "slow")
    changes = {"push_timeout_s": 0.3, "apns_streams": 100, "push_breaker_failures": 1_000}
    async with open_providers(doubles.settings(**changes), clock, clock) as providers:
        provider = providers["ios"]
        outcomes = await provider.send([message_to(PHONE, number) for number in range(300)])
        assert {type(outcome) for outcome in outcomes} == {RetryLater}
        assert isinstance((await provider.send([message_to(OTHER)]))[0], Sent)


async def test_a_lost_connection_does_not_open_the_breaker(
    doubles: Doubles, clock: UnixClock
) -> None:
    """It fails many at once; a provider that is down fails them again and again."""
    doubles.apns.script.default = "slow"
    doubles.apns.script.set(OTHER, "goaway")
    async with open_providers(
        doubles.settings(apns_streams=50, push_breaker_failures=2), clock, clock
    ) as providers:
        provider = providers["ios"]
        messages = [*(message_to(phone(n), n) for n in range(49)), message_to(OTHER)]
        outcomes = await provider.send(messages)
        assert {type(outcome) for outcome in outcomes} == {RetryLater}
        doubles.apns.script.default = "success"
        assert isinstance((await provider.send([message_to(PHONE)]))[0], Sent)


async def test_a_push_that_takes_too_long_spoils_no_other(
    doubles: Doubles, clock: UnixClock
) -> None:
    """Those on its connection are answered, although it is given up in their middle."""
    kinds = ["slow" if number == 30 else "success" for number in range(150)]
    for number, kind in enumerate(kinds):
        doubles.apns.script.set(phone(number), kind)
    # Few at a time and a long wait: on a busy machine the others must not be late as well.
    changes = {"push_timeout_s": 3, "apns_streams": 10, "push_breaker_failures": 1_000}
    async with open_providers(doubles.settings(**changes), clock, clock) as providers:
        messages = [message_to(phone(number), number) for number in range(150)]
        outcomes = await providers["ios"].send(messages)
    expected = [RetryLater if kind == "slow" else Sent for kind in kinds]
    assert [type(outcome) for outcome in outcomes] == expected


async def test_callers_that_are_cancelled_spoil_no_other(
    doubles: Doubles, clock: UnixClock
) -> None:
    """Wherever in a request they are: half a frame would end the connection for everybody."""
    async with open_providers(doubles.settings(push_timeout_s=10), clock, clock) as providers:
        provider = providers["ios"]
        await provider.send([message_to(OTHER)])
        callers = [
            asyncio.create_task(provider.send([message_to(PHONE, number)])) for number in range(80)
        ]
        others = asyncio.create_task(provider.send([message_to(phone(n), n) for n in range(200)]))
        for caller in callers:
            await asyncio.sleep(0)
            caller.cancel()
        assert {type(outcome) for outcome in await others} == {Sent}
        assert doubles.apns.connections == 1


async def test_closing_does_not_wait_for_what_was_left_behind(
    doubles: Doubles, clock: UnixClock
) -> None:
    """Nobody is there to be told."""
    doubles.apns.script.set(PHONE, "slow")
    async with open_providers(doubles.settings(push_timeout_s=20), clock, clock) as providers:
        sending = asyncio.create_task(providers["ios"].send([message_to(PHONE)]))
        await providers["ios"].send([message_to(OTHER)])
        sending.cancel()
    assert doubles.apns.record.of(PHONE)
