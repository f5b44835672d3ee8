"""What operators did: written in the transaction that does it, never changed."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any, Literal, get_args
from uuid import UUID

from sqlalchemy import Select, select
from sqlalchemy.ext.asyncio import AsyncSession

from models.operators import OperatorAction
from services.bulk import Writes
from services.identifiers import new_id
from services.input_rules import is_same_json
from services.paging import Page, decode_cursor, encode_cursor, page_of
from services.reasons import with_reasons

Action = Literal[
    "acknowledge_alert",
    "adjust_points",
    "adjust_stock",
    "broadcast_push",
    "erase_user",
    "import_codes",
    "import_points",
    "lift_suspension",
    "redeem_coupon",
    "reject_points",
    "release_points",
    "run_expiry",
    "save_achievement",
    "save_experiment",
    "save_item",
    "save_task",
    "set_experiment_status",
    "suspend_user",
    "update_exchange",
]
"""Everything that is noted, verb first; a name, once used, stays in the log for ever."""
ACTIONS: frozenset[str] = frozenset(get_args(Action))

Target = tuple[str, object]
"""(kind, key), as in a global id."""

_ORDER = "operator_actions"
_COLUMNS = ("id", "operator_id", "action", "kind", "key", "details", "created_at")


@dataclass(frozen=True, slots=True)
class NotedAction:
    """One thing an operator did; `operator_id` is None for a command, `kind` for the whole mall."""

    id: UUID
    operator_id: int | None
    action: str
    kind: str | None
    key: str | None
    details: dict[str, Any]
    created_at: datetime


def note_action(
    writes: Writes,
    operator_id: int | None,
    action: Action,
    target: Target | None,
    details: Mapping[str, Any],
    now: datetime,
) -> None:
    """Add one operator's action to what is written.

    `operator_id` is None for a command, whose caller is no user of the mall, and `target` for what
    is done to the mall as a whole. `details` are JSON: what changed from what to what, and the
    id of the reason where one was given (`services.reasons`). Raises LookupError for a name that
    is not one of `ACTIONS`.
    """
    note_actions(writes, operator_id, action, [(target, details)], now)


def note_actions(
    writes: Writes,
    operator_id: int | None,
    action: Action,
    noted: Iterable[tuple[Target | None, Mapping[str, Any]]],
    now: datetime,
) -> None:
    """The same action on many targets, each with its details: one action each, in one statement."""
    if action not in ACTIONS:
        raise LookupError(f"{action!r} is no action: name it in services.operators")
    rows = list[tuple[Any, ...]]()
    for target, details in noted:
        kind, key = (None, None) if target is None else (target[0], str(target[1]))
        rows.append((new_id(), operator_id, action, kind, key, details, now))
    writes.insert(OperatorAction, _COLUMNS, rows)


def changes(before: Mapping[str, Any] | None, after: Mapping[str, Any]) -> dict[str, Any]:
    """Details of a change: what was different before, and what it became; all of what is new."""
    if before is None:
        return {"before": None, "after": dict(after)}
    changed = [name for name in after if not is_same_json(before[name], after[name])]
    return {
        "before": {name: before[name] for name in changed},
        "after": {name: after[name] for name in changed},
    }


async def actions_page(
    session: AsyncSession,
    *,
    size: int,
    after: str | None,
    operator_id: int | None = None,
    target: Target | None = None,
) -> Page[NotedAction]:
    """What was done, newest first: by anybody or that operator, to anything or that target.

    Raises BadInput for a bad cursor.
    """
    table = OperatorAction
    statement = _actions()
    if operator_id is not None:
        statement = statement.where(table.operator_id == operator_id)
    if target is not None:
        statement = statement.where(table.kind == target[0], table.key == str(target[1]))
    if after is not None:
        (before,) = decode_cursor(after, _ORDER, UUID)
        statement = statement.where(table.id < before)
    # The ids are made by the time (UUIDv7): the order of the ids is that of the actions.
    rows = await _read(session, statement.order_by(table.id.desc()).limit(size + 1))
    return page_of(rows, size, _cursor_of, has_previous=after is not None)


def _cursor_of(action: NotedAction) -> str:
    return encode_cursor(_ORDER, action.id)


async def find_action(session: AsyncSession, action_id: UUID) -> NotedAction | None:
    """One action by its id."""
    found = await _read(session, _actions().where(OperatorAction.id == action_id))
    return found[0] if found else None


def _actions() -> Select[*tuple[Any, ...]]:
    return select(*(getattr(OperatorAction, name) for name in _COLUMNS))


async def _read(session: AsyncSession, statement: Select[*tuple[Any, ...]]) -> list[NotedAction]:
    """The rows, with the text of their reasons as far as it is still there."""
    noted = [NotedAction(*row) for row in await session.execute(statement)]
    shown = await with_reasons(session, [each.details for each in noted])
    return [replace(each, details=said) for each, said in zip(noted, shown, strict=True)]
