"""Noticing the first task of a member whom somebody invited.

The transaction that completes it asks for the job that rewards both sides (`services.sharing`).
Who waits for a first task is read together with what tasks have paid (`progress.py`), and written
with the rest: it costs no statement.
"""

from collections.abc import Iterable
from datetime import datetime

from models.sharing import Invite
from services.bulk import Writes
from services.outbox import enqueue
from services.tasks.rules import Earned

REWARD_JOB = "reward_invite"


def ask_for_rewards(writes: Writes, earned: Iterable[Earned], now: datetime) -> None:
    """Note the first tasks among those just completed, and have both sides rewarded."""
    completed = [each for each in earned if each.completed]
    invite_ids = [each.awaited_by for each in completed if each.awaited_by is not None]
    writes.update(Invite, ("id", "first_task_at"), [(each, now) for each in invite_ids])
    enqueue(writes, REWARD_JOB, [{"invite_id": str(each)} for each in invite_ids], now)
