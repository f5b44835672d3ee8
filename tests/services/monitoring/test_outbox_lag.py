"""How long jobs wait: for a relay, for a broker, for a worker that never begins them."""

from services.mall import Mall
from services.monitoring.figures import MOST_COUNTED, Figures, read_figures
from services.outbox import note_not_sent, take_due
from services.transaction import reading, transaction
from tests.alerts import ask_for, check, open_kinds
from tests.clock import MovableClock
from tests.factories import execute

ROOM = {"expire_points": 8, "import_users": 8}


async def figures(mall: Mall) -> Figures:
    """As they are now."""
    async with reading(mall.stores.read) as session:
        return await read_figures(session, mall.clock())


async def send_again(
    mall: Mall, clock: MovableClock, minutes: int, *, is_broker_there: bool = True
) -> None:
    """Let a relay send what is due each minute, and no worker begin any of it."""
    for _ in range(minutes):
        async with transaction(mall.stores.write) as session:
            taken = await take_due(session, ROOM, mall.clock(), 60.0)
            if not is_broker_there:
                for ids in taken.values():
                    await note_not_sent(session, ids, mall.clock())
        clock.advance(minutes=1)


async def test_what_is_sent_and_never_begun_waits(mall: Mall, clock: MovableClock) -> None:
    """Sent again every minute: it is never due for long, and nobody does it."""
    await ask_for(mall, "expire_points")
    await send_again(mall, clock, minutes=15)
    assert (await figures(mall)).outbox_lag_s == 900
    await send_again(mall, clock, minutes=1)
    await check(mall)
    assert await open_kinds(mall) == {"outbox_lag"}


async def test_what_no_broker_takes_waits(mall: Mall, clock: MovableClock) -> None:
    """Given back each time, it falls due at once: the alert is about all of the time."""
    await ask_for(mall, "expire_points")
    await send_again(mall, clock, minutes=20, is_broker_there=False)
    assert (await figures(mall)).outbox_lag_s == 1_200


async def test_what_a_worker_has_claimed_does_not_wait(mall: Mall, clock: MovableClock) -> None:
    """However long it takes; who lost it waits from the moment it is sent again."""
    await ask_for(mall, "import_users")
    await send_again(mall, clock, minutes=1)
    await execute(
        mall, "UPDATE outbox SET claim = gen_random_uuid(), due_at = due_at + interval '2 hours'"
    )
    clock.advance(hours=1)
    assert (await figures(mall)).outbox_lag_s == 0
    clock.advance(hours=2)
    await send_again(mall, clock, minutes=1)
    found = await figures(mall)
    assert (found.outbox_lag_s, found.outbox_waiting) == (60, 1)


async def test_one_job_of_many_rows_hides_no_other(mall: Mall, clock: MovableClock) -> None:
    """The oldest of all jobs is found, however many rows come before it in the index."""
    await execute(
        mall,
        """
        INSERT INTO outbox (job, payload, due_at)
        SELECT job, '{}', CAST(:now AS timestamptz) - late
        FROM (SELECT 'a' AS job, interval '0' AS late FROM generate_series(1, :many)
              UNION ALL SELECT 'z', interval '1 hour') waiting
        """,
        now=clock.now,
        many=MOST_COUNTED,
    )
    found = await figures(mall)
    assert (found.outbox_lag_s, found.outbox_waiting) == (3_600, MOST_COUNTED)
