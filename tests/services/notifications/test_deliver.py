"""What becomes of pushes, by what the providers answer: never lost in silence, never sent twice
to a device that has it, and tried again as the provider asks."""

from datetime import datetime, timedelta

import pytest

from models.notifications import PushType
from services.mall import Mall
from services.notifications.settle import LIFETIME
from settings import NotificationSettings
from tests.clock import MovableClock
from tests.doubles.both import Doubles
from tests.factories import add_user, execute
from tests.services.notifications.pushing import (
    PostOffice,
    add_device,
    devices,
    draft,
    post_office,
    pushes,
)

IOS = "ab" * 32


async def test_a_push_reaches_every_device_of_the_member(
    mall: Mall, office: PostOffice, doubles: Doubles
) -> None:
    """Android, web and iOS, with the texts, what the app needs, and one collapse id."""
    alice = await add_user(mall, "alice")
    await add_device(mall, alice, "phone")
    await add_device(mall, alice, "browser", "web")
    await add_device(mall, alice, IOS, "ios")
    await draft(mall, alice)
    assert await office.deliver() == 1
    assert await pushes(mall) == [("sent", None)]
    (phone,) = doubles.fcm.record.of("phone")
    (browser,) = doubles.fcm.record.of("browser")
    (ios,) = doubles.apns.record.of(IOS)
    assert phone.collapse_id == browser.collapse_id == ios.collapse_id
    assert phone.body["message"]["notification"] == {"title": "标题", "body": "内容"}
    data = phone.body["message"]["data"]
    assert (data["number"], data["name"], data["type"]) == ("7", "x", "EXCHANGE_CONFIRMATION")
    assert ios.body["pushId"] == data["pushId"]
    assert await office.deliver() == 0


@pytest.mark.parametrize("answer", ["unregistered", "bad_token", "sender_mismatch"])
async def test_a_device_that_is_gone_is_dropped(
    mall: Mall, office: PostOffice, doubles: Doubles, answer: str
) -> None:
    """The push has failed where it was the only one; another device still gets it."""
    alice, bob = await add_user(mall, "alice"), await add_user(mall, "bob")
    for user_id, token in ((alice, "gone-1"), (bob, "gone-2"), (bob, "there")):
        await add_device(mall, user_id, token)
    for token in ("gone-1", "gone-2"):
        doubles.fcm.script.set(token, answer)
    await draft(mall, alice, bob)
    await office.deliver()
    assert await pushes(mall) == [("failed", "no_device"), ("sent", None)]
    assert await devices(mall) == ["there"]
    answers = {"device_gone": 2, "sent": 1}
    for outcome, count in answers.items():
        labels = {"provider": "fcm", "kind": "exchange_confirmation", "outcome": outcome}
        assert mall.metrics.registry.get_sample_value("pushes_total", labels) == count


async def test_a_device_that_registered_again_is_kept(
    mall: Mall, office: PostOffice, doubles: Doubles
) -> None:
    """APNs says since when a token is gone; one that was seen later is another's."""
    alice = await add_user(mall, "alice")
    device = await add_device(mall, alice, IOS, "ios")
    await execute(
        mall,
        "UPDATE devices SET last_seen_at = now() + interval '1 year' WHERE id = :id",
        id=device,
    )
    doubles.apns.script.set(IOS, "unregistered")
    await draft(mall, alice)
    await office.deliver()
    assert await devices(mall) == [IOS]


async def test_a_malformed_payload_drops_nothing(
    mall: Mall, office: PostOffice, doubles: Doubles
) -> None:
    """Sending it again would be refused again."""
    alice = await add_user(mall, "alice")
    await add_device(mall, alice, "phone")
    doubles.fcm.script.set("phone", "malformed")
    await draft(mall, alice)
    await office.deliver()
    assert await pushes(mall) == [("failed", "rejected")]
    assert await devices(mall) == ["phone"]
    assert len(doubles.fcm.record.of("phone")) == 1


@pytest.mark.parametrize("answer", ["too_many_seconds", "too_many_date"])
async def test_what_the_provider_asks_for_is_waited(
    mall: Mall, office: PostOffice, doubles: Doubles, clock: MovableClock, answer: str
) -> None:
    """120 seconds, said as a number or as a date; not before, and not twice to who has it."""
    alice = await add_user(mall, "alice")
    await add_device(mall, alice, "busy")
    await add_device(mall, alice, "free")
    doubles.fcm.script.set("busy", answer, "success")
    await draft(mall, alice)
    await office.deliver()
    assert await pushes(mall) == [("queued", None)]
    clock.advance(seconds=110)
    assert await office.deliver() == 0
    clock.advance(seconds=20)
    assert await office.deliver() == 1
    assert await pushes(mall) == [("sent", None)]
    assert [len(doubles.fcm.record.of(token)) for token in ("busy", "free")] == [2, 1]


@pytest.mark.parametrize("answer", ["internal", "unavailable", "slow", "reset"])
async def test_trouble_is_tried_again_with_growing_pauses(
    mall: Mall, office: PostOffice, doubles: Doubles, clock: MovableClock, answer: str
) -> None:
    """And in the end it arrives, under the collapse id it had."""
    alice = await add_user(mall, "alice")
    await add_device(mall, alice, "phone")
    doubles.fcm.script.set("phone", answer, answer, "success")
    await draft(mall, alice)
    attempts = 0
    for _ in range(20):
        attempts += await office.deliver()
        clock.advance(seconds=15)
    assert attempts == 3
    assert await pushes(mall) == [("sent", None)]
    seen = doubles.fcm.record.of("phone")
    assert len(seen) == 3
    assert len({each.collapse_id for each in seen}) == 1


async def test_a_provider_that_is_away_for_long_ends_the_push(
    mall: Mall, office: PostOffice, doubles: Doubles, clock: MovableClock
) -> None:
    """Connection refused for more than its lifetime: failed, with the reason."""
    alice = await add_user(mall, "alice")
    await add_device(mall, alice, "phone")
    await doubles.fcm.stop()
    await draft(mall, alice)
    await office.deliver()
    assert await pushes(mall) == [("queued", None)]
    clock.now += LIFETIME + timedelta(minutes=1)
    await office.deliver()
    assert await pushes(mall) == [("failed", "expired")]


async def test_what_the_member_chose_meanwhile_holds(
    mall: Mall, office: PostOffice, doubles: Doubles
) -> None:
    """Muted, switched off, or without a device by now: suppressed, and says why."""
    ids = [await add_user(mall, name) for name in ("muted", "off", "lost", "fine")]
    for user_id in ids:
        await add_device(mall, user_id, f"phone-{user_id}")
    await draft(mall, *ids, kind=PushType.ACHIEVEMENT)
    muted, off, lost, _ = ids
    await execute(
        mall,
        "UPDATE push_preferences SET muted_types = '{achievement}' WHERE user_id = :id",
        id=muted,
    )
    await execute(mall, "UPDATE push_preferences SET enabled = false WHERE user_id = :id", id=off)
    await execute(mall, "DELETE FROM devices WHERE user_id = :id", id=lost)
    await office.deliver()
    assert await pushes(mall) == [
        ("suppressed", "muted"),
        ("suppressed", "disabled"),
        ("suppressed", "no_device"),
        ("sent", None),
    ]
    assert len(doubles.fcm.record.seen) == 1


async def test_without_credentials_a_push_is_recorded_and_not_sent(mall: Mall) -> None:
    """`domain.md`, Notifications."""
    alice = await add_user(mall, "alice")
    await add_device(mall, alice, "phone")
    await draft(mall, alice)
    async with post_office(mall, NotificationSettings()) as office:
        await office.deliver()
    assert await pushes(mall) == [("suppressed", "no_credentials")]


async def test_what_comes_late_waits_for_the_end_of_quiet_hours(
    mall: Mall, office: PostOffice, doubles: Doubles, clock: MovableClock
) -> None:
    """Planned for the day, tried again at night: nobody is woken, but by what they wait for."""
    alice = await add_user(mall, "alice")
    await add_device(mall, alice, "phone")
    doubles.fcm.script.set("phone", "internal", "internal", "success")
    await draft(mall, alice, kind=PushType.CAMPAIGN)
    await draft(mall, alice)
    await office.deliver()
    assert [push.status for push in await pushes(mall)] == ["queued", "queued"]
    clock.now = datetime.fromisoformat("2026-11-20T22:30:00+08:00")
    await office.deliver()
    assert sorted(push.status for push in await pushes(mall)) == ["queued", "sent"]
    clock.now = datetime.fromisoformat("2026-11-21T07:59:00+08:00")
    assert await office.deliver() == 0
    clock.now = datetime.fromisoformat("2026-11-21T08:00:30+08:00")
    await office.deliver()
    assert [push.status for push in await pushes(mall)] == ["sent", "sent"]
    assert [(row.attempts) for row in await execute(mall, "SELECT attempts FROM push_records")] == [
        2,
        2,
    ]


async def test_what_cannot_be_noted_fails_where_it_is_seen(
    mall: Mall, office: PostOffice, doubles: Doubles, clock: MovableClock
) -> None:
    """The job fails with its attempts counted, and takes its pushes again itself."""
    alice = await add_user(mall, "alice")
    await add_device(mall, alice, "phone")
    await draft(mall, alice)
    await execute(mall, "ALTER TABLE push_deliveries ADD CONSTRAINT never CHECK (false) NOT VALID")
    await office.deliver()
    (job,) = await execute(mall, "SELECT id, attempts, error FROM outbox WHERE job LIKE 'deliver%'")
    assert (job.attempts, "never" in job.error) == (1, True)
    await execute(mall, "ALTER TABLE push_deliveries DROP CONSTRAINT never")
    clock.advance(seconds=10)
    await office.deliver()
    assert await pushes(mall) == [("sent", None)]
    assert len({seen.collapse_id for seen in doubles.fcm.record.of("phone")}) == 1
