"""A row's effect happens once, however often it is sent; failures are tried again, then kept."""

import asyncio
from dataclasses import replace
from datetime import timedelta

import pytest
from sqlalchemy import text

from jobs.runner import FIRST_PAUSE_S, MOST_ATTEMPTS, Runner
from services.calendar import system_clock
from services.mall import Mall
from services.outbox import failed_jobs, retry_failed, take_due
from services.transaction import reading, transaction
from settings import JobSettings, Settings
from tests.clock import MovableClock
from tests.commands import run_command
from tests.factories import execute
from tests.jobs.asking import JOBS, STEPS, ask, count_open, prepare, traces, until


@pytest.fixture
async def runner(mall: Mall) -> Runner:
    """A runner of the test's jobs."""
    await prepare(mall)
    return Runner(mall, JOBS)


async def test_a_message_that_comes_many_times_has_its_effect_once(
    mall: Mall, runner: Runner
) -> None:
    """Also when its copies run at the same time, and share rows with other messages."""
    ids = await ask(mall, "trace", range(40))
    copies = (runner.run("trace", ids[start:]) for start in (0, 0, 10, 20, 0, 39))
    await asyncio.gather(*copies)
    await runner.run("trace", ids)
    assert await traces(mall) == list(range(40))
    assert await count_open(mall) == 0


async def test_a_bad_row_does_not_fail_its_neighbours(mall: Mall, runner: Runner) -> None:
    """The others of the message are done; the bad one is to be tried again later."""
    ids = await ask(mall, "trace", [1, -1, 2])
    await runner.run("trace", ids)
    assert await traces(mall) == [1, 2]
    (left,) = await execute(
        mall, "SELECT id, attempts, error, due_at, sent_at FROM outbox WHERE done_at IS NULL"
    )
    assert (left.id, left.attempts, left.sent_at) == (ids[1], 1, None)
    assert left.error == "ValueError: minus one is never right"
    waits_s = (left.due_at - mall.clock()).total_seconds()
    assert FIRST_PAUSE_S / 2 <= waits_s < FIRST_PAUSE_S


async def test_a_lock_held_elsewhere_delays_its_row_alone(mall: Mall, runner: Runner) -> None:
    """Waiting for a lock is no outage: the others of the message are done, this one is noted."""
    await execute(mall, "CREATE TABLE held (number int PRIMARY KEY)")
    await execute(mall, "INSERT INTO held VALUES (2)")
    await execute(
        mall,
        "CREATE FUNCTION wait_for_held() RETURNS trigger LANGUAGE plpgsql AS"
        " 'BEGIN PERFORM FROM held WHERE number = NEW.number FOR UPDATE; RETURN NEW; END'",
    )
    await execute(
        mall,
        "CREATE TRIGGER held BEFORE INSERT ON traces FOR EACH ROW EXECUTE FUNCTION wait_for_held()",
    )
    ids = await ask(mall, "trace", [1, 2, 3])
    async with transaction(mall.stores.write) as session:
        await session.execute(text("SELECT FROM held FOR UPDATE"))
        await runner.run("trace", ids)
    assert await traces(mall) == [1, 3]
    (left,) = await execute(mall, "SELECT id, attempts FROM outbox WHERE done_at IS NULL")
    assert (left.id, left.attempts) == (ids[1], 1)


async def test_what_fails_for_good_is_kept_listed_and_tried_again(
    mall: Mall, runner: Runner, clock: MovableClock, settings: Settings
) -> None:
    """After the last attempt it is failed; `jobs retry` opens it again."""
    ids = await ask(mall, "trace", [-1])
    for _ in range(MOST_ATTEMPTS):
        assert await count_open(mall) == 1
        await runner.run("trace", ids)
        clock.now += timedelta(hours=1)
    await runner.run("trace", ids)  # a late copy of the message
    async with reading(mall.stores.read) as session:
        (failed,) = await failed_jobs(session, 10)
    assert (failed.id, failed.job, failed.attempts) == (ids[0], "trace", MOST_ATTEMPTS)
    listed = await run_command(settings, "jobs", "failed")
    assert listed.returncode == 1
    assert "ValueError: minus one is never right" in listed.stdout
    missing = await run_command(settings, "jobs", "retry", "987654")
    assert (missing.returncode, missing.stdout) == (1, "0 will be tried again\n")
    retried = await run_command(settings, "jobs", "retry", "--all")
    assert (retried.returncode, retried.stdout) == (0, "1 will be tried again\n")
    assert (await run_command(settings, "jobs", "failed")).returncode == 0
    await execute(mall, "UPDATE outbox SET payload = '{\"number\": 7}', due_at = :now", now=clock())
    await runner.run("trace", ids)
    assert await traces(mall) == [7]


@pytest.mark.parametrize("job", ["trace", "talk"])
async def test_a_late_copy_does_not_skip_the_pause(
    mall: Mall, runner: Runner, clock: MovableClock, job: str
) -> None:
    """A message that comes many times while its row waits costs no attempt."""
    ids = await ask(mall, job, [-1])
    for _ in range(MOST_ATTEMPTS + 2):
        await runner.run(job, ids)
    (left,) = await execute(mall, "SELECT attempts, failed_at FROM outbox")
    assert (left.attempts, left.failed_at) == (1, None)


async def test_a_talk_may_be_put_off(mall: Mall, runner: Runner, clock: MovableClock) -> None:
    """Its row comes again then, as it is, and no attempt was lost."""
    ids = await ask(mall, "talk", [3], put_off_s=30)
    await runner.run("talk", ids)
    (left,) = await execute(mall, "SELECT attempts, claim, sent_at, due_at FROM outbox")
    assert (left.attempts, left.claim, left.sent_at) == (0, None, None)
    assert left.due_at == clock() + timedelta(seconds=30)
    await runner.run("talk", ids)
    assert await count_open(mall) == 1


async def test_the_rows_of_a_message_talk_at_once(mall: Mall, runner: Runner) -> None:
    """Ten that wait for a second each are through long before ten seconds; and each once."""
    ids = await ask(mall, "talk", range(10), takes_s=1.0)
    async with asyncio.timeout(5.0):
        await runner.run("talk", ids)
    assert await traces(mall) == list(range(10))


async def test_retrying_opens_only_what_failed(mall: Mall, runner: Runner) -> None:
    """What is done stays done."""
    ids = await ask(mall, "trace", [1])
    await runner.run("trace", ids)
    async with transaction(mall.stores.write) as session:
        assert await retry_failed(session, ids, mall.clock()) == []
        assert await retry_failed(session, None, mall.clock()) == []
    await runner.run("trace", ids)
    assert await traces(mall) == [1]


async def test_a_long_job_goes_step_by_step(mall: Mall, runner: Runner) -> None:
    """Until it says that nothing remains."""
    await runner.run("steps", await ask(mall, "steps", [5]))
    assert await traces(mall) == [5] * STEPS
    assert await count_open(mall) == 0


async def test_a_worker_that_stops_hands_its_long_job_on(mall: Mall, runner: Runner) -> None:
    """After the step it is at; the row is due at once, and the next worker goes on."""
    ids = await ask(mall, "steps", [5])
    runner.stop()
    await runner.run("steps", ids)
    assert await traces(mall) == [5]
    assert await count_open(mall) == 1
    await Runner(mall, JOBS).run("steps", ids)
    assert await traces(mall) == [5] * STEPS


async def test_a_talk_is_noted_once(mall: Mall, runner: Runner) -> None:
    """However many copies of its message come, at once or later."""
    ids = await ask(mall, "talk", [3], takes_s=0.2)
    await asyncio.gather(*(runner.run("talk", ids) for _ in range(6)))
    await runner.run("talk", ids)
    assert await traces(mall) == [3]
    assert await count_open(mall) == 0


@pytest.mark.parametrize(
    ("number", "problem"), [(-1, "minus one is never right"), (-2, "minus two cannot be taken")]
)
async def test_a_talk_that_goes_wrong_is_tried_again(
    mall: Mall, runner: Runner, clock: MovableClock, number: int, problem: str
) -> None:
    """Before or after: it fails where it is seen, and its row is free for the next attempt."""
    ids = await ask(mall, "talk", [number])
    await runner.run("talk", ids)
    (left,) = await execute(mall, "SELECT attempts, error, claim, sent_at FROM outbox")
    assert (left.attempts, left.claim, left.sent_at) == (1, None, None)
    assert left.error == f"ValueError: {problem}"
    await execute(mall, "UPDATE outbox SET payload = '{\"number\": 7}'")
    clock.advance(seconds=FIRST_PAUSE_S)
    await runner.run("talk", ids)
    assert await traces(mall) == [7]


@pytest.mark.parametrize("job", ["talk", "steps"])
async def test_who_lost_a_row_neither_closes_nor_fails_it(
    mall: Mall, runner: Runner, job: str
) -> None:
    """It fell due while its worker slept, and is another's now."""
    ids = await ask(mall, job, [-1 if job == "talk" else 5], takes_s=0.3)
    working = asyncio.create_task(runner.run(job, ids))

    async def is_claimed() -> bool:
        return bool(await execute(mall, "SELECT id FROM outbox WHERE claim IS NOT NULL"))

    await until(is_claimed)
    await execute(mall, "UPDATE outbox SET claim = gen_random_uuid()")
    await working
    (left,) = await execute(mall, "SELECT attempts, done_at, error, claim FROM outbox")
    assert (left.attempts, left.done_at, left.error) == (0, None, None)
    assert left.claim is not None


async def test_a_row_is_kept_while_it_is_worked_on(mall: Mall) -> None:
    """It never falls due, however long its job takes."""
    await prepare(mall)
    hurried = replace(mall, settings=replace(mall.settings, jobs=JobSettings(job_resend_s=0.3)))
    runner = Runner(replace(hurried, clock=system_clock), JOBS)
    ids = await ask(mall, "talk", [1], takes_s=1.5)
    working = asyncio.create_task(runner.run("talk", ids))
    await asyncio.sleep(0.1)
    while not working.done():
        async with transaction(mall.stores.write) as session:
            assert await take_due(session, {"talk": 10}, system_clock(), 0.3) == {}
        await asyncio.sleep(0.05)
    assert await traces(mall) == [1]
