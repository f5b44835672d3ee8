"""Asking, within a transaction, for a job after its commit.

A row here is a promise: it exists exactly when the transaction that wrote it does.
"""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from models.outbox import OutboxMessage
from services.bulk import Writes


def enqueue(writes: Writes, job: str, payloads: Sequence[Mapping[str, Any]], now: datetime) -> None:
    """Add one outbox row per payload for the job of that name."""
    rows = [(job, payload, now) for payload in payloads]
    writes.insert(OutboxMessage, ("job", "payload", "created_at"), rows)
