"""Training on what the mall knows: read, learnt in a thread, written, swapped in, cleared up.

What, and why so: `docs/recommendations.md` and `docs/decisions/0026-recommendations.md`.
"""

import asyncio
import resource
import sys
import threading
from collections.abc import Callable
from dataclasses import dataclass
from time import perf_counter
from typing import Any, TypeVar
from zoneinfo import ZoneInfo

import structlog
from threadpoolctl import threadpool_limits

from models.recommendations import RunState
from models.stores import Stores
from services.calendar import Clock
from services.errors import said
from services.recommendations.audiences import WINDOWS
from services.recommendations.interactions import Interactions, Signal
from services.recommendations.keep import keep_learnt
from services.recommendations.model import Learnt, Parameters, algorithm_for, learn
from services.recommendations.popularity import keep_peers, keep_popular
from services.recommendations.progress import Tell, tell_nobody
from services.recommendations.read import Gathered, Shelf, read_interactions, read_shelf
from services.recommendations.runs import (
    begin_run,
    clear_piece,
    end_run,
    hold_run,
    old_runs,
    training_lock,
)
from services.transaction import reading, transaction

TRAINING_JOB = "train_recommendations"
BLAS_THREADS = 2
"""Processors that a training may take of a machine that has other things to do."""
_MIB = 1024 * 1024 if sys.platform == "darwin" else 1024

ResultT = TypeVar("ResultT")
_log = structlog.get_logger(__name__)


class TrainingEnded(Exception):
    """Whoever waited for the training no longer does."""


@dataclass(frozen=True, slots=True)
class Trained:
    """A run that is ready, and its figures."""

    run_id: int
    figures: dict[str, Any]


async def train(
    stores: Stores,
    clock: Clock,
    zone: ZoneInfo,
    tell: Tell = tell_nobody,
    parameters: Parameters | None = None,
) -> Trained | None:
    """Train a new run and swap it in; None when somebody else trains.

    Raises RunLost when it was cut off from the database for so long that another began.
    """
    async with training_lock(stores) as is_ours:
        if not is_ours:
            return None
        async with transaction(stores.bulk) as session:
            run_id = await begin_run(session, clock())
        await _clear_up(stores)
        try:
            figures = await _run(stores, run_id, clock, zone, tell, parameters or Parameters())
        except Exception as error:
            await _fail(stores, run_id, error, clock)
            raise
        await _clear_up(stores)
        _log.info("recommendations_trained", run=run_id, **figures)
        return Trained(run_id, figures)


async def _run(
    stores: Stores,
    run_id: int,
    clock: Clock,
    zone: ZoneInfo,
    tell: Tell,
    parameters: Parameters,
) -> dict[str, Any]:
    started_at_s = perf_counter()
    shelf, gathered = await _read(stores, clock, tell)
    interactions = await in_thread(lambda _: gathered.interactions(), tell)
    learnt = await in_thread(lambda heed: _learn(interactions, shelf, parameters, heed), tell)
    await keep_learnt(stores, run_id, shelf.item_ids, learnt, tell)
    await _count(stores, run_id, clock, zone)
    figures = {
        "algorithm": algorithm_for(interactions, parameters),
        "interactions": int(interactions.matrix.nnz),
        "signals": {str(signal): gathered.counts.get(signal, 0) for signal in Signal},
        "users": len(interactions.user_ids),
        "items": len(shelf.item_ids),
        "seconds": round(perf_counter() - started_at_s, 3),
        "peak_mib": round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / _MIB),
    }
    async with transaction(stores.bulk) as session:
        await end_run(session, run_id, RunState.READY, figures, clock())
    return figures


async def _read(stores: Stores, clock: Clock, tell: Tell) -> tuple[Shelf, Gathered]:
    async with reading(stores.read) as session:
        shelf = await read_shelf(session)
    gathered = Gathered(shelf, clock())
    for number, signal in enumerate(Signal):
        tell("reading", number, len(Signal))
        async with transaction(stores.bulk) as session:
            await read_interactions(session, signal, gathered)
    tell("reading", len(Signal), len(Signal))
    return shelf, gathered


def _learn(interactions: Interactions, shelf: Shelf, parameters: Parameters, tell: Tell) -> Learnt:
    with threadpool_limits(limits=BLAS_THREADS):
        return learn(interactions, shelf.catalogue, parameters, tell)


async def in_thread(work: Callable[[Tell], ResultT], tell: Tell) -> ResultT:
    """Do something long beside the loop.

    Cancelled, it ends at the next step that it tells of: nothing else can stop a thread, and a
    process does not end before its threads do.
    """
    has_ended = threading.Event()

    def heed(what: str, done: int, total: int) -> None:
        if has_ended.is_set():
            raise TrainingEnded
        tell(what, done, total)

    try:
        return await asyncio.to_thread(work, heed)
    finally:
        has_ended.set()


async def _count(stores: Stores, run_id: int, clock: Clock, zone: ZoneInfo) -> None:
    for window in WINDOWS:
        async with transaction(stores.bulk) as session:
            await hold_run(session, run_id)
            await keep_popular(session, run_id, window, clock())
    async with transaction(stores.bulk) as session:
        await hold_run(session, run_id)
        await keep_peers(session, run_id, clock(), zone)


async def _clear_up(stores: Stores) -> None:
    """Delete what nobody has to keep, piece by piece."""
    async with reading(stores.read) as session:
        runs = await old_runs(session)
    for run_id in runs:
        is_left = True
        while is_left:
            async with transaction(stores.bulk) as session:
                is_left = await clear_piece(session, run_id)


async def _fail(stores: Stores, run_id: int, error: Exception, clock: Clock) -> None:
    """Say that it failed, where that can be said; else the next training does."""
    try:
        async with transaction(stores.bulk) as session:
            await end_run(session, run_id, RunState.FAILED, {"error": said(error)}, clock())
    except Exception as away:  # noqa: BLE001 — the first error is the one to raise
        _log.warning("training_failure_not_noted", run=run_id, error=said(away))
