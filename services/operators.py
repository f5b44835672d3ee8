"""What operators did: written in the transaction that does it, never changed."""

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from models.operators import OperatorAction
from services.bulk import Writes
from services.identifiers import new_id

_COLUMNS = ("id", "operator_id", "action", "kind", "key", "details", "created_at")


def note_action(
    writes: Writes,
    operator_id: int | None,
    action: str,
    target: tuple[str, object],
    details: Mapping[str, Any],
    now: datetime,
) -> None:
    """Add one operator's action to what is written.

    `operator_id` is None for a command, whose caller is no user of the mall. `target` is
    (kind, key), as in a global id; `details` are JSON: what changed from what to what, and the
    reason where one was given.
    """
    kind, key = target
    row = (new_id(), operator_id, action, kind, str(key), details, now)
    writes.insert(OperatorAction, _COLUMNS, [row])


def changes(before: Mapping[str, Any] | None, after: Mapping[str, Any]) -> dict[str, Any]:
    """Details of a change: what was different before, and what it became; all of what is new."""
    if before is None:
        return {"before": None, "after": dict(after)}
    changed = [name for name in after if after[name] != before[name]]
    return {
        "before": {name: before[name] for name in changed},
        "after": {name: after[name] for name in changed},
    }
