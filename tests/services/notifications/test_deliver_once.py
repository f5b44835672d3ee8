"""Who delivers a push: one worker at a time, however many get the message, die, stall or stop."""

import asyncio
from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from uuid import UUID

import pytest

from jobs.runner import Runner
from models.notifications import PushType
from services.job_claims import Claim, claim_row, close_claimed
from services.mall import Mall
from services.notifications.deliver import note_outcomes
from services.notifications.providers import PayloadRejected, Sent
from services.notifications.take import take_pushes
from services.transaction import transaction
from settings import JobSettings
from tests.clock import MovableClock
from tests.doubles.both import Doubles
from tests.factories import add_user, execute
from tests.jobs.asking import until
from tests.services.notifications.pushing import (
    PostOffice,
    add_device,
    draft,
    post_office,
    pushes,
)

DELIVER = "deliver_pushes"


async def members(mall: Mall, count: int) -> list[int]:
    """Each with a phone, `phone-1` the first one's."""
    ids = [await add_user(mall, f"member-{number}") for number in range(1, count + 1)]
    for number, user_id in enumerate(ids, 1):
        await add_device(mall, user_id, f"phone-{number}")
    return ids


async def message(mall: Mall) -> int:
    """The id of the one row that asks for delivery now."""
    (row,) = await execute(
        mall, "SELECT id FROM outbox WHERE job LIKE 'deliver%' AND done_at IS NULL"
    )
    return row.id


async def claim(mall: Mall, identifier: int) -> Claim:
    """What a worker does that then dies, or sleeps."""
    claimed = Claim(identifier)
    async with transaction(mall.stores.write) as session:
        due_at = mall.clock() + timedelta(seconds=60)
        assert await claim_row(session, claimed, mall.clock(), due_at) is not None
    return claimed


async def push_ids(mall: Mall) -> Sequence[UUID]:
    return [row.id for row in await execute(mall, "SELECT id FROM push_records ORDER BY id")]


async def test_many_workers_send_a_push_once(
    mall: Mall, office: PostOffice, doubles: Doubles
) -> None:
    """The same message of the broker, eight times at once, for 100 members."""
    await draft(mall, *await members(mall, 100))
    row = await message(mall)
    await asyncio.gather(*(Runner(mall, office.jobs).run(DELIVER, [row]) for _ in range(8)))
    assert [push.status for push in await pushes(mall)] == ["sent"] * 100
    assert len(doubles.fcm.record.seen) == 100


async def test_a_late_copy_of_a_message_leaves_the_row_alone(
    mall: Mall, office: PostOffice, doubles: Doubles
) -> None:
    """It waited in the broker for so long that the row was sent again: no other row comes of it."""
    await draft(mall, *await members(mall, 1))
    row = await message(mall)
    await claim(mall, row)
    await Runner(mall, office.jobs).run(DELIVER, [row])
    assert await message(mall) == row
    assert doubles.fcm.record.seen == []


async def test_a_push_that_its_worker_left_is_sent_by_another(
    mall: Mall, office: PostOffice, doubles: Doubles, clock: MovableClock
) -> None:
    """Killed after it took it: sent when the claim ends."""
    await draft(mall, *await members(mall, 1))
    await claim(mall, await message(mall))
    assert await office.deliver() == 0
    assert doubles.fcm.record.seen == []
    clock.advance(seconds=61)
    assert await office.deliver() == 1
    assert await pushes(mall) == [("sent", None)]
    assert len(doubles.fcm.record.of("phone-1")) == 1


async def test_a_worker_that_was_thought_dead_notes_only_what_devices_got(
    mall: Mall, office: PostOffice, doubles: Doubles, clock: MovableClock
) -> None:
    """It wakes up while another has its pushes: what it sent is not sent again, no more."""
    await draft(mall, *await members(mall, 2))
    row = await message(mall)
    late_claim = await claim(mall, row)
    first, second = await push_ids(mall)
    async with transaction(mall.stores.write) as session:
        late = await take_pushes(session, [str(first), str(second)], clock())
    (reached,) = late.pushes[0].targets
    late.outcomes[first].append((reached, Sent("it woke up too late")))
    clock.advance(seconds=61)
    doubles.fcm.script.set("phone-2", "internal", "success")
    await office.deliver()
    assert [push.status for push in await pushes(mall)] == ["sent", "queued"]
    async with transaction(mall.stores.write) as session:
        is_ours = await close_claimed(session, late_claim, clock())
        assert not is_ours
        await note_outcomes(session, late, clock(), is_ours=is_ours)
    assert [push.status for push in await pushes(mall)] == ["sent", "queued"]
    clock.advance(seconds=30)
    await office.deliver()
    assert [push.status for push in await pushes(mall)] == ["sent", "sent"]


async def test_a_slow_provider_costs_no_claim(mall: Mall, doubles: Doubles) -> None:
    """It takes three times as long as a row may be silent, and nobody else takes the pushes."""
    running = replace(mall, settings=replace(mall.settings, jobs=JobSettings(job_resend_s=0.3)))
    doubles.fcm.slow_s = 0.9
    doubles.fcm.script.set("phone-1", "slow")
    await draft(mall, *await members(mall, 1))
    async with post_office(running, doubles.settings(push_timeout_s=5.0)) as office:
        sending = asyncio.create_task(office.deliver())
        while not sending.done():
            await asyncio.sleep(0.1)
            await office.deliver()
    assert await pushes(mall) == [("sent", None)]
    assert len(doubles.fcm.record.of("phone-1")) == 1


async def test_a_stop_lets_go_of_what_is_not_begun(
    mall: Mall, doubles: Doubles, clock: MovableClock
) -> None:
    """What is under way ends and is noted; the others are the next worker's, and cost nothing."""
    doubles.fcm.slow_s = 0.5
    for number in range(1, 31):
        doubles.fcm.script.set(f"phone-{number}", "slow")
    await draft(mall, *await members(mall, 30))
    async with post_office(mall, doubles.settings(fcm_threads=4)) as office:
        runner = Runner(mall, office.jobs)
        sending = asyncio.create_task(runner.run(DELIVER, [await message(mall)]))

        async def is_under_way() -> bool:
            return len(doubles.fcm.record.seen) == 4

        await until(is_under_way)
        runner.stop()
        await sending
        statuses = [push.status for push in await pushes(mall)]
        assert (statuses.count("sent"), statuses.count("queued")) == (4, 26)
        rows = await execute(mall, "SELECT attempts FROM push_records WHERE status = 'queued'")
        assert {row.attempts for row in rows} == {0}
        doubles.fcm.slow_s = 0.0
        clock.advance(seconds=5)
        await office.deliver()
    assert {push.status for push in await pushes(mall)} == {"sent"}
    assert len(doubles.fcm.record.seen) == 30


async def test_what_a_member_waits_for_overtakes_what_many_get(
    mall: Mall, doubles: Doubles
) -> None:
    """A provider that is slow with a campaign still has a place for a confirmation."""
    doubles.fcm.slow_s = 20.0
    many = await members(mall, 12)
    alice = await add_user(mall, "alice")
    await add_device(mall, alice, "awaited")
    for number in range(1, 13):
        doubles.fcm.script.set(f"phone-{number}", "slow")
    await draft(mall, *many, kind=PushType.CAMPAIGN)
    async with post_office(mall, doubles.settings(fcm_threads=4, push_timeout_s=30.0)) as office:
        sending = asyncio.create_task(office.deliver())

        async def is_busy() -> bool:
            return len(doubles.fcm.record.seen) == 3

        await until(is_busy)
        await draft(mall, alice)
        async with asyncio.timeout(10.0):
            await office.deliver()
        assert [seen.token for seen in doubles.fcm.record.seen][3:] == ["awaited"]
        sending.cancel()
        await asyncio.wait({sending})


async def test_a_breaker_that_is_open_costs_no_attempt(
    mall: Mall, doubles: Doubles, clock: MovableClock
) -> None:
    """Nobody was asked: the push waits for the rest of the time, not for a growing pause."""
    await draft(mall, *await members(mall, 1))
    settings = doubles.settings(push_breaker_failures=1, push_breaker_open_s=600.0)
    doubles.fcm.script.set("phone-1", "internal", "success")
    async with post_office(mall, settings) as office:
        assert await office.deliver() == 1
        for wait_s, jobs in ((30, 1), (300, 0), (280, 1)):
            clock.advance(seconds=wait_s)
            assert await office.deliver() == jobs
    (push,) = await execute(mall, "SELECT status, attempts FROM push_records")
    assert (push.status, push.attempts) == ("sent", 2)
    assert len(doubles.fcm.record.seen) == 2


async def test_an_outage_writes_nothing_but_when_to_come_again(
    mall: Mall, doubles: Doubles, clock: MovableClock
) -> None:
    """A backlog that is put off a hundred times leaves no hundred rows behind."""
    await draft(mall, *await members(mall, 20))
    settings = doubles.settings(push_breaker_failures=1, push_breaker_open_s=3_600.0)
    doubles.fcm.script.default = "internal"
    due = "UPDATE outbox SET due_at = :now WHERE done_at IS NULL"
    count = "SELECT count(*) AS rows, sum(attempts) AS attempts FROM outbox"
    async with post_office(mall, settings) as office:
        await office.deliver()
        (before,) = await execute(mall, count)
        for _ in range(5):
            clock.advance(seconds=300)
            await execute(mall, due, now=clock())
            assert await office.deliver() > 0
        (after,) = await execute(mall, count)
    assert (after.rows, after.attempts) == (before.rows, 0)


async def test_pushes_that_failed_leave_room_for_others(
    mall: Mall, office: PostOffice, doubles: Doubles, clock: MovableClock
) -> None:
    """The cap counts what a member got, or will get: what came to nothing is no push of the day."""
    (alice,) = await members(mall, 1)
    for number in range(3):
        await draft(mall, alice, kind=PushType.CAMPAIGN, about=f"old {number}")
    clock.advance(days=2)
    await office.deliver()
    await draft(mall, alice, kind=PushType.CAMPAIGN, about="new")
    await office.deliver()
    assert [tuple(push) for push in await pushes(mall)] == [
        *[("failed", "expired")] * 3,
        ("sent", None),
    ]


async def test_a_refusal_that_was_not_noted_in_time_is_known_all_the_same(
    mall: Mall, office: PostOffice, clock: MovableClock
) -> None:
    """The worker that heard it had lost its claim: failed, and not for want of a device."""
    await draft(mall, *await members(mall, 1))
    row = await message(mall)
    await claim(mall, row)
    (push,) = await push_ids(mall)
    async with transaction(mall.stores.write) as session:
        late = await take_pushes(session, [str(push)], clock())
        late.outcomes[push].append((late.pushes[0].targets[0], PayloadRejected("too big")))
        await note_outcomes(session, late, clock(), is_ours=False)
    clock.advance(seconds=61)
    await office.deliver()
    assert [tuple(found) for found in await pushes(mall)] == [("failed", "rejected")]


async def test_a_quota_that_is_used_up_holds_everybody(
    mall: Mall, doubles: Doubles, clock: MovableClock
) -> None:
    """After FCM's 429 nobody is sent anything for as long as it asks."""
    first, second = await members(mall, 2)
    doubles.fcm.script.set("phone-1", "too_many_seconds", "success")
    async with post_office(mall, doubles.settings()) as office:
        await draft(mall, first)
        await office.deliver()
        await draft(mall, second)
        await office.deliver()
        assert len(doubles.fcm.record.seen) == 1
        assert [push.status for push in await pushes(mall)] == ["queued", "queued"]


@pytest.mark.parametrize(("told_today", "status"), [(2, "sent"), (3, "suppressed")])
async def test_a_push_that_comes_a_day_late_counts_there(
    mall: Mall,
    office: PostOffice,
    doubles: Doubles,
    clock: MovableClock,
    told_today: int,
    status: str,
) -> None:
    """At most three a day: those of the day on which it comes are counted, it included."""
    (alice,) = await members(mall, 1)
    clock.now = datetime.fromisoformat("2026-11-20T12:00:00+08:00")
    doubles.fcm.script.set("phone-1", "internal", *["success"] * 5)
    await draft(mall, alice, kind=PushType.CAMPAIGN, about="late")
    await office.deliver()
    await execute(
        mall, "UPDATE outbox SET due_at = '2026-11-21T10:00:00+08:00' WHERE done_at IS NULL"
    )
    clock.now = datetime.fromisoformat("2026-11-21T09:00:00+08:00")
    for number in range(told_today):
        await draft(mall, alice, kind=PushType.CAMPAIGN, about=f"today {number}")
    await office.deliver()
    clock.now = datetime.fromisoformat("2026-11-21T10:00:30+08:00")
    await office.deliver()
    late, *others = await execute(
        mall, "SELECT status, reason, counted_on::text FROM push_records ORDER BY id"
    )
    assert [other.status for other in others] == ["sent"] * told_today
    assert late.status == status
    assert (late.reason, late.counted_on) == (
        (None, "2026-11-21") if status == "sent" else ("daily_cap", "2026-11-20")
    )
