"""Training on a mall: what is learnt, swapped in all at once, and cleared up, whatever happens."""

import asyncio
import os
import signal
import subprocess
import sys
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from models.recommendations import MOST_NEIGHBOURS, RunState
from schema.ids import encode_id
from services.mall import Mall
from services.recommendations.runs import RunLost, end_run, hold_run
from services.recommendations.train import train
from services.transaction import transaction
from tests.client import Client
from tests.clock import MovableClock
from tests.commands import run_command
from tests.factories import add_item, add_user, execute, give_points
from tests.jobs.due import jobs_named, look_at_schedule, run_due
from tests.journeys.money import ask
from tests.journeys.steps import event, exchange, record
from tests.journeys.test_wishes import wish
from tests.services.recommendations.malls import (
    add_tastes,
    found_by,
    run_now,
    states,
    trained,
)

_ROOT = Path(__file__).parents[3]
SHIPPING = {"recipient": "李雷", "phone": "13800138000", "address": "上海市"}
_JOB = "train_recommendations"


async def test_an_empty_mall(mall: Mall) -> None:
    """Nothing can be learnt of it, and that is no error."""
    assert await run_now(mall) is None
    run = await trained(mall)
    assert await run_now(mall) == run.run_id
    assert await found_by(mall, run.run_id) == []
    assert (run.figures["interactions"], run.figures["items"]) == (0, 0)


async def test_what_goes_together_is_found(mall: Mall) -> None:
    """By who wished for it, by its texts, and by interests: the two tastes are told apart."""
    shelf = await add_tastes(mall, members=120)
    run = await trained(mall)
    rows = await execute(mall, "SELECT item_id, kind, neighbour_ids, weights FROM item_neighbours")
    assert {(row.item_id, row.kind) for row in rows} == {
        (item, kind) for item in shelf for kind in ("collaborative", "content")
    }
    for row in rows:
        alike = shelf[shelf.index(row.item_id) % 2 :: 2]
        best = row.neighbour_ids[: len(alike) - 1]
        assert set(best) == set(alike) - {row.item_id}
        assert row.item_id not in row.neighbour_ids
        assert row.weights == sorted(row.weights, reverse=True)
        assert len(row.neighbour_ids) <= MOST_NEIGHBOURS
    interests = await execute(mall, "SELECT interest, item_ids FROM interest_items ORDER BY 1")
    assert [(row.interest, set(row.item_ids)) for row in interests] == [
        ("tea", set(shelf[::2])),
        ("toys", set(shelf[1::2])),
    ]
    assert run.figures["signals"] == {"exchange": 0, "wish": 360, "view": 0}
    assert run.figures["algorithm"] == "ease"


async def test_exchanges_wishes_and_views_count(
    mall: Mall, client: Client, clock: MovableClock
) -> None:
    """Through the API; not what was cancelled or is years old, nor views of no item at all."""
    items = [await add_item(mall, name=name) for name in ("a", "b", "c")]
    items.append(await add_item(mall, name="d", type="physical", config={}))
    for name in ("alice", "bob", "carol"):
        user_id = await add_user(mall, name)
        await give_points(mall, user_id, 1_000)
        views = [
            event(user_id, f"{name}-{number}", clock(), "view", attributes=attributes)
            for number, attributes in enumerate(
                [
                    {"itemId": encode_id("ExchangeItem", items[2])},
                    {"itemId": encode_id("ExchangeItem", 99)},
                    {"itemId": items[3]},
                    {"itemId": "☃"},
                    {},
                ]
            )
        ]
        recorded = await record(client, *views)
        assert (recorded["recorded"], len(recorded["rejected"])) == (3, 2)
        await exchange(client, name, items[0], "kept")
        await wish(client, name, items[1])
        done = await exchange(client, name, items[3], "cancelled", shipping=SHIPPING)
        taken = done["exchange"]["id"]
        await ask(client, "cancelExchange", name, "member", exchangeId=taken)
    run = await trained(mall)
    assert run.figures["signals"] == {"exchange": 3, "wish": 3, "view": 3}
    assert (run.figures["users"], run.figures["interactions"]) == (3, 9)
    rows = await execute(mall, "SELECT item_id FROM item_neighbours WHERE kind = 'collaborative'")
    assert {row.item_id for row in rows} == set(items[:3])
    clock.advance(days=731)
    assert (await trained(mall)).figures["interactions"] == 0


async def test_who_was_erased_is_not_learnt_from(mall: Mall) -> None:
    """Nor are their traces found in what was learnt before, for items alone are in it."""
    await add_tastes(mall)
    await execute(mall, "UPDATE users SET erased_at = now() WHERE id % 2 = 0")
    run = await trained(mall)
    assert (run.figures["users"], run.figures["interactions"]) == (20, 60)


async def test_what_is_not_active_is_learnt_from_and_not_recommended(mall: Mall) -> None:
    """It speaks for others, and nothing for it."""
    shelf = await add_tastes(mall)
    hidden = shelf[0]
    await execute(mall, "UPDATE exchange_items SET is_active = false WHERE id = :i", i=hidden)
    await trained(mall)
    rows = await execute(mall, "SELECT item_id, neighbour_ids AS ids FROM item_neighbours")
    rows += await execute(mall, "SELECT 0 AS item_id, item_ids AS ids FROM interest_items")
    assert hidden in {row.item_id for row in rows}
    assert hidden not in {item for row in rows for item in row.ids}


async def test_training_twice_gives_the_same(mall: Mall) -> None:
    """From the same mall at the same moment."""
    await add_tastes(mall)
    first, second = await trained(mall), await trained(mall)
    found = await found_by(mall, first.run_id)
    assert len(found) > 20
    assert await found_by(mall, second.run_id) == found


async def test_the_run_before_is_kept_and_older_ones_are_not(mall: Mall) -> None:
    """The newest is current; of those before the last two, the figures are left."""
    await add_tastes(mall)
    runs = [(await trained(mall)).run_id for _ in range(4)]
    assert await run_now(mall) == runs[-1]
    assert await states(mall) == ["dropped", "dropped", "ready", "ready"]
    assert [bool(await found_by(mall, run)) for run in runs] == [False, False, True, True]
    kept = await execute(mall, "SELECT figures -> 'items' FROM recommendation_runs")
    assert kept == [(12,)] * 4


async def test_nothing_of_a_run_counts_before_all_of_it_does(mall: Mall) -> None:
    """While it is written, what was there is read; whoever reads it then goes on reading it."""
    await add_tastes(mall)
    first = (await trained(mall)).run_id
    found = await found_by(mall, first)
    seen: set[int | None] = set()

    async def look() -> None:
        while True:
            seen.add(await run_now(mall))
            assert await found_by(mall, first) == found
            await asyncio.sleep(0)

    looking = asyncio.create_task(look())
    second = (await trained(mall)).run_id
    assert not looking.done()
    looking.cancel()
    assert seen <= {first, second}
    assert first in seen


async def test_one_trains_at_a_time(mall: Mall) -> None:
    """The other is told so, and nothing is left of it."""
    await add_tastes(mall)
    done = await asyncio.gather(*(train(mall.stores, mall.clock, mall.zone) for _ in range(2)))
    assert sorted(each is None for each in done) == [False, True]
    assert await states(mall) == ["ready"]
    assert await train(mall.stores, mall.clock, mall.zone) is not None


async def test_a_training_that_fails_changes_nothing(mall: Mall) -> None:
    """It is said that it did, and the next one clears up."""
    await add_tastes(mall)
    before = await trained(mall)

    def fail(what: str, done: int, total: int) -> None:
        if what == "writing" and done == total:
            raise ValueError("out of paper")

    with pytest.raises(ValueError, match="out of paper"):
        await train(mall.stores, mall.clock, mall.zone, fail)
    assert await states(mall) == ["ready", "failed"]
    assert await run_now(mall) == before.run_id
    assert await found_by(mall, before.run_id + 1) != []
    ((error,),) = await execute(
        mall, "SELECT figures ->> 'error' FROM recommendation_runs WHERE state = 'failed'"
    )
    assert error == "ValueError: out of paper"
    await trained(mall)
    assert await states(mall) == ["ready", "dropped", "ready"]
    assert await found_by(mall, before.run_id + 1) == []


async def test_a_training_that_is_cancelled_lets_go(mall: Mall) -> None:
    """Its thread ends at the next step, and the lock is free at once."""
    await add_tastes(mall)
    has_begun = asyncio.Event()
    loop = asyncio.get_running_loop()

    def tell(what: str, _done: int, _total: int) -> None:
        if what == "inverse":
            loop.call_soon_threadsafe(has_begun.set)

    training = asyncio.create_task(train(mall.stores, mall.clock, mall.zone, tell))
    await has_begun.wait()
    training.cancel()
    with pytest.raises(asyncio.CancelledError):
        await training
    assert await run_now(mall) is None
    await trained(mall)
    assert await states(mall) == ["dropped", "ready"]


async def test_a_run_that_another_took_over_cannot_go_on(mall: Mall) -> None:
    """Neither writing nor becoming ready."""
    run = await trained(mall)
    async with transaction(mall.stores.bulk) as session:
        with pytest.raises(RunLost):
            await hold_run(session, run.run_id)
        with pytest.raises(RunLost):
            await end_run(session, run.run_id, RunState.READY, {}, mall.clock())


async def test_killed_in_the_middle_the_old_run_stays(mall: Mall) -> None:
    """`kill -9` while it writes; nothing of it is ever read, and the next one clears it away."""
    await add_tastes(mall)
    before = await trained(mall)
    found = await found_by(mall, before.run_id)
    async with mall.stores.engine.begin() as connection:
        # It comes as far as what it writes last, and waits there.
        await connection.exec_driver_sql("LOCK TABLE popular_items IN SHARE MODE")
        environment = {
            **os.environ,
            "MALL_DATABASE_URL": str(mall.settings.stores.database_url),
            "MALL_REDIS_URL": str(mall.settings.stores.redis_url),
        }
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "cli.py", "recommendations", "train"),
            cwd=_ROOT,
            env=environment,
            stderr=subprocess.DEVNULL,
        )
        while not await _waits(mall):
            assert process.returncode is None
            await asyncio.sleep(0.05)
        process.send_signal(signal.SIGKILL)
        await process.wait()
    assert await states(mall) == ["ready", "training"]
    assert await run_now(mall) == before.run_id
    assert await found_by(mall, before.run_id + 1) != []
    after = await _train_when_free(mall)
    assert await states(mall) == ["ready", "dropped", "ready"]
    assert await found_by(mall, before.run_id + 1) == []
    assert await found_by(mall, before.run_id) == found == await found_by(mall, after)


async def _waits(mall: Mall) -> bool:
    waiting = (
        "SELECT count(*) FROM pg_locks WHERE NOT granted AND relation = 'popular_items'::regclass"
    )
    return (await execute(mall, waiting))[0][0] > 0


async def _train_when_free(mall: Mall) -> int:
    """The server needs a moment to see that who held the lock is gone."""
    while True:
        done = await train(mall.stores, mall.clock, mall.zone)
        if done is not None:
            return done.run_id
        await asyncio.sleep(0.05)


async def test_the_schedule_asks_for_it_every_night(mall: Mall, clock: MovableClock) -> None:
    """Once; a worker runs it."""
    await add_tastes(mall)
    await look_at_schedule(mall, {_JOB})
    assert await run_due(mall, jobs_named(_JOB)) == 0
    clock.advance(days=1)
    await look_at_schedule(mall, {_JOB})
    assert await run_due(mall, jobs_named(_JOB)) == 1
    assert await states(mall) == ["ready"]


async def test_the_command(mall: Mall) -> None:
    """It says what it learnt from; 1 when somebody else trains."""
    await add_tastes(mall)
    done = await run_command(mall.settings, "recommendations", "train")
    assert done.returncode == 0, done.stderr
    assert "Run 1 is ready: 120 interactions of 40 members, 12 items" in done.stdout
    assert "inverse" in done.stderr
    async with mall.stores.engine.connect() as connection:
        await connection.exec_driver_sql("SELECT pg_advisory_lock(x'747261696e'::bigint)")
        again = await run_command(mall.settings, "recommendations", "train")
        await connection.exec_driver_sql("SELECT pg_advisory_unlock_all()")
    assert (again.returncode, again.stdout) == (1, "")
    assert "Somebody else is training." in again.stderr
    assert await states(mall) == ["ready"]


async def _popular(mall: Mall, audience: str) -> Any:
    sql = "SELECT item_id, members FROM popular_items WHERE audience = :a ORDER BY rank"
    return [tuple(row) for row in await execute(mall, sql, a=audience)]


async def test_popularity_counts_members(mall: Mall, client: Client, clock: MovableClock) -> None:
    """In the window, each once, of active items; where there are three, of peers where five."""
    names = ("tea", "toy", "gone", "once")
    tea, toy, gone, once = [await add_item(mall, name=name, stock=99) for name in names]
    for number in range(6):
        name = f"m{number}"
        profile = {"gender": "female", "birth_year": 1990} if number < 5 else {"gender": "male"}
        await give_points(mall, await add_user(mall, name, **profile), 1_000)
        await exchange(client, name, tea, "tea")
        await exchange(client, name, gone, "gone")
    for number in range(3):
        await exchange(client, "m0", once, f"once-{number}")
        await exchange(client, f"m{number}", toy, "toy")
    await execute(mall, "UPDATE exchange_items SET is_active = false WHERE id = :i", i=gone)
    await trained(mall)
    assert await _popular(mall, "last_7_days") == [(tea, 6), (toy, 3)]
    for audience in ("peers:female:35", "peers:female:any", "peers:any:35"):
        assert await _popular(mall, audience) == [(tea, 5)]
    names = await execute(mall, "SELECT DISTINCT audience FROM popular_items ORDER BY 1")
    assert [name for (name,) in names] == [
        "last_30_days",
        "last_7_days",
        "peers:any:35",
        "peers:female:35",
        "peers:female:any",
    ]
    clock.now += timedelta(days=8)
    await execute(mall, "TRUNCATE popular_items")
    await trained(mall)
    assert await _popular(mall, "last_7_days") == []
    assert await _popular(mall, "last_30_days") == [(tea, 6), (toy, 3)]
    await execute(mall, "UPDATE users SET erased_at = now() WHERE username IN ('m0', 'm5')")
    await execute(mall, "TRUNCATE popular_items")
    await trained(mall)
    assert await _popular(mall, "last_30_days") == [(tea, 4)]
