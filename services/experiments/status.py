"""Starting and stopping experiments (`docs/decisions/0025`)."""

from dataclasses import replace
from datetime import datetime

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncSession

from models.experiments import ExperimentStatus
from services.bulk import Writes
from services.calendar import Clock
from services.errors import InvalidState, NotFound
from services.experiments.definitions import Experiment, hold_experiment
from services.operators import note_action

_NEXT = {
    ExperimentStatus.DRAFT: ExperimentStatus.RUNNING,
    ExperimentStatus.RUNNING: ExperimentStatus.STOPPED,
    ExperimentStatus.STOPPED: ExperimentStatus.RUNNING,
}
"""Where each can go. Never back to a draft: users have seen it."""

_WRITE = text(
    """
    UPDATE experiments
    SET status = :status, started_at = :started_at, stopped_at = :stopped_at, updated_at = :now
    WHERE id = :id
    """
)


async def set_experiment_status(
    session: AsyncSession, operator_id: int, key: str, status: ExperimentStatus, *, clock: Clock
) -> Experiment:
    """Start, stop or resume the experiment of that key; where it stands so already, nothing.

    Raises NotFound, and InvalidState for a step that there is not.
    """
    before = await hold_experiment(session, key)
    if before is None:
        raise NotFound("Experiment", key)
    if before.status is status:
        return before
    now = clock()
    after = stepped(before, status, now)
    written = {name: getattr(after, name) for name in ("id", "status", "started_at", "stopped_at")}
    await session.execute(_WRITE, written | {"now": now})
    writes = Writes()
    details = {"from": before.status, "to": after.status}
    target = ("Experiment", after.id)
    note_action(writes, operator_id, "set_experiment_status", target, details, now)
    await writes.flush(session)
    return after


def stepped(before: Experiment, status: ExperimentStatus, now: datetime) -> Experiment:
    """The experiment after that step, at `now`; raises InvalidState. Pure."""
    if _NEXT[before.status] is not status:
        raise InvalidState(before.status.name)
    if status is ExperimentStatus.STOPPED:
        return replace(before, status=status, stopped_at=now)
    return replace(before, status=status, started_at=before.started_at or now, stopped_at=None)
