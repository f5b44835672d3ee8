"""What has served its time is deleted, and nothing else."""

from datetime import datetime, timedelta

from jobs.registry import JOBS
from jobs.runner import Runner
from services.bulk import Writes
from services.calendar import system_clock
from services.clean_up import (
    ALERTS_KEPT,
    DONE_JOBS_KEPT,
    KEYS_KEPT,
    PUSHES_KEPT,
    ROWS_A_BATCH,
    SUPPRESSED_PUSHES_KEPT,
)
from services.identifiers import new_id
from services.mall import Mall
from services.outbox import enqueue
from services.transaction import transaction
from tests.clock import MovableClock
from tests.factories import add_user, execute
from tests.pushes import add_device, draft, plan_now


async def clean_up(mall: Mall) -> dict[str, int]:
    """Run the job; how many rows each table has then."""
    async with transaction(mall.stores.write) as session:
        writes = Writes()
        enqueue(writes, "clean_up", [{}], mall.clock())
        await writes.flush(session)
    (row,) = await execute(mall, "SELECT max(id) AS id FROM outbox WHERE job = 'clean_up'")
    await Runner(mall, JOBS).run("clean_up", [row.id])
    (counts,) = await execute(
        mall,
        "SELECT (SELECT count(*) FROM outbox WHERE job <> 'clean_up') AS jobs,"
        " (SELECT count(*) FROM idempotency_keys) AS keys,"
        " (SELECT count(*) FROM push_records) AS pushes,"
        " (SELECT count(*) FROM push_deliveries) AS deliveries,"
        " (SELECT count(*) FROM share_visits) AS visits",
    )
    return dict(counts._mapping)


async def _world(mall: Mall, at: datetime) -> None:
    alice, bob = await add_user(mall, "alice"), await add_user(mall, "bob")
    await add_device(mall, alice, "phone")
    await plan_now(mall, draft(alice, "sent"), draft(alice, "queued"), draft(bob, "suppressed"))
    await execute(
        mall,
        "UPDATE push_records SET status = 'sent', sent_at = :at WHERE reference = 'sent'",
        at=at,
    )
    await execute(
        mall,
        "INSERT INTO push_deliveries (push_id, device_id, provider_message_id)"
        " SELECT id, id, 'x' FROM push_records WHERE reference <> 'queued'",
    )
    await execute(
        mall,
        "INSERT INTO idempotency_keys (user_id, operation, key, fingerprint, answer, created_at)"
        " VALUES (:alice, 'x', 'k', '', '{}', :at)",
        alice=alice,
        at=at,
    )
    await execute(mall, "UPDATE outbox SET done_at = :at WHERE id = 1", at=at)
    await execute(mall, "INSERT INTO outbox (job, payload) VALUES ('open', '{}')")
    await execute(
        mall,
        "INSERT INTO outbox (job, payload, failed_at) VALUES ('failed', '{}', :at)",
        at=at,
    )


async def test_each_thing_goes_when_its_time_is_over(mall: Mall, clock: MovableClock) -> None:
    """What is open, queued or failed stays whatever its age."""
    clock.now = system_clock()  # ids of pushes are made by the clock of the machine
    start = clock.now
    await _world(mall, start)
    everything = {"jobs": 3, "keys": 1, "pushes": 3, "deliveries": 2, "visits": 0}
    just_before = timedelta(minutes=-1)
    for kept, gone in (
        (DONE_JOBS_KEPT, {"jobs": 2}),
        (SUPPRESSED_PUSHES_KEPT, {"pushes": 2, "deliveries": 1}),
        (KEYS_KEPT, {"keys": 0}),
        (PUSHES_KEPT, {"pushes": 1, "deliveries": 0}),
    ):
        clock.now = start + kept + just_before
        assert await clean_up(mall) == everything
        clock.now = start + kept + timedelta(minutes=1)
        everything |= gone
        assert await clean_up(mall) == everything


async def test_visitors_of_days_that_are_over_go(mall: Mall, clock: MovableClock) -> None:
    """Those of today and yesterday stay, and the day before that by UTC: elsewhere it may last."""
    for days_ago in range(5):
        await execute(
            mall,
            "INSERT INTO share_visits (day, share_id, visitor) VALUES (:day, :id, sha256('x'))",
            day=clock.now.date() - timedelta(days=days_ago),
            id=new_id(),
        )
    assert (await clean_up(mall))["visits"] == 3
    (left,) = await execute(mall, "SELECT min(day) AS day FROM share_visits")
    assert left.day == clock.now.date() - timedelta(days=2)


async def test_days_on_which_members_were_seen_go_after_400(
    mall: Mall, clock: MovableClock
) -> None:
    """What they came to is kept for ever."""
    for days_ago in (0, 399, 400, 401, 500):
        await execute(
            mall,
            "INSERT INTO member_days (day, user_id) VALUES (:day, 1)",
            day=clock.now.date() - timedelta(days=days_ago),
        )
    await clean_up(mall)
    left = await execute(mall, "SELECT day FROM member_days ORDER BY day DESC")
    assert [(clock.now.date() - row.day).days for row in left] == [0, 399, 400]


async def test_alerts_go_400_days_after_they_were_over(mall: Mall, clock: MovableClock) -> None:
    """In batches; one that is open stays, however old it is."""
    await execute(
        mall,
        "INSERT INTO alerts (id, kind, severity, message, facts, first_seen_at, last_seen_at,"
        " occurrences, resolved_at)"
        " SELECT uuidv7(), 'ledger_drift', 'high', '', '{}', :now, :now, 1,"
        " CASE WHEN n > 0 THEN CAST(:now AS timestamptz) + n * interval '1 second' END"
        " FROM generate_series(0, :number) n",
        now=clock.now,
        number=ROWS_A_BATCH + 2,
    )
    open_and_over = "SELECT resolved_at FROM alerts ORDER BY resolved_at NULLS FIRST"
    clock.now += ALERTS_KEPT
    await clean_up(mall)
    assert len(await execute(mall, open_and_over)) == ROWS_A_BATCH + 3
    clock.advance(seconds=ROWS_A_BATCH + 2)
    await clean_up(mall)
    assert await execute(mall, open_and_over) == [(None,), (clock.now - ALERTS_KEPT,)]
