"""Creating and changing tasks (`domain.md`, Tasks and check-in)."""

from dataclasses import dataclass
from datetime import datetime
from typing import Any
from zoneinfo import ZoneInfo

from sqlalchemy import insert, select, update
from sqlalchemy.ext.asyncio import AsyncSession

from models.tasks import Task as TaskTable
from models.tasks import TaskFrequency
from services.bulk import Writes
from services.calendar import Clock
from services.errors import InvalidInput, NotFound
from services.input_rules import (
    require_between,
    require_flag,
    require_known,
    require_object,
    require_text,
    require_window,
)
from services.operators import changes, note_action
from services.tasks.browse import member_tasks
from services.tasks.incoming_events import LARGEST_AMOUNT, LONGEST_TYPE
from services.tasks.rules import (
    KEYS,
    MOST_POINTS_A_DAY,
    MemberTask,
    RuleInvalid,
    TaskRules,
    parse_rules,
)

LONGEST_NAME, LONGEST_DESCRIPTION = 200, 5_000
HIGHEST_TARGET = 2**31 - 1
"""The largest number that GraphQL's Int, and the column of progress, can hold."""

_DECIDED = (
    "name",
    "description",
    "points_reward",
    "frequency",
    "is_active",
    "starts_at",
    "ends_at",
    "config",
)


@dataclass(frozen=True, slots=True)
class TaskTerms:
    """All that an operator decides of a task; `config` None leaves what is there, or none."""

    name: str
    description: str | None
    points_reward: int
    frequency: TaskFrequency
    is_active: bool
    starts_at: datetime | None
    ends_at: datetime | None
    config: Any


async def save_task(
    session: AsyncSession,
    operator_id: int,
    terms: TaskTerms,
    *,
    task_id: int | None = None,
    clock: Clock,
    zone: ZoneInfo,
) -> MemberTask:
    """Create a task, or make the one of that id what the terms say; as the operator now sees it.

    Raises InvalidInput, naming the field, for terms that break a rule, and NotFound.
    """
    require_valid_terms(terms)
    before = None if task_id is None else await _lock(session, task_id)
    values = _values(terms, before)
    now = clock()
    saved_id = await _write(session, task_id, values, now)
    writes = Writes()
    note_action(writes, operator_id, "save_task", ("Task", saved_id), changes(before, values), now)
    await writes.flush(session)
    (seen,) = await member_tasks(session, operator_id, now, zone, task_id=saved_id)
    return seen


def require_valid_terms(terms: TaskTerms) -> None:
    """Raise InvalidInput, naming the field, for the first rule broken outside of `config`.

    And for a key of a `config` that no rule reads: a task whose `min_amount` is misspelt would
    count every purchase. One that is kept may have such keys, from days when they were taken.
    """
    require_text(("name",), terms.name, LONGEST_NAME)
    if terms.description is not None:
        require_text(("description",), terms.description, LONGEST_DESCRIPTION, shortest=0)
    # More than a day may bring could never be paid.
    require_between(("pointsReward",), terms.points_reward, 1, MOST_POINTS_A_DAY)
    require_window(("endsAt",), terms.starts_at, terms.ends_at)
    if terms.config is not None:
        require_known(("config",), require_object(("config",), terms.config), KEYS)


def valid_config(config: Any) -> dict[str, Any]:
    """A task's `config` as it is stored; raises InvalidInput, naming the field.

    What can be read is a little more than what may be written: rules of later days must not make
    earlier tasks unreadable.
    """
    read = require_object(("config",), config)
    try:
        rules = parse_rules(read)
    except RuleInvalid as error:
        raise InvalidInput(("config", error.key), error.problem) from error
    _require_sensible(read, rules)
    return read


def _require_sensible(config: dict[str, Any], rules: TaskRules) -> None:
    require_between(("config", "target"), rules.target, 1, HIGHEST_TARGET)
    if rules.event is not None:
        require_text(("config", "event"), rules.event, LONGEST_TYPE)
    if rules.min_amount is not None and not 0 <= rules.min_amount <= LARGEST_AMOUNT:
        raise InvalidInput(("config", "min_amount"), f"0 to {LARGEST_AMOUNT}, as amounts are")
    if "verification" in config:
        require_flag(("config", "verification"), config["verification"])
    if rules.claim == "auto" and rules.event is None:
        raise InvalidInput(("config", "event"), "what grants itself needs an event to count")


async def _lock(session: AsyncSession, task_id: int) -> dict[str, Any]:
    columns = [TaskTable.__table__.c[name] for name in _DECIDED]
    statement = select(*columns).where(TaskTable.id == task_id).with_for_update(key_share=True)
    row = (await session.execute(statement)).mappings().one_or_none()
    if row is None:
        raise NotFound("Task", str(task_id))
    return dict(row)


def _values(terms: TaskTerms, before: dict[str, Any] | None) -> dict[str, Any]:
    config = terms.config
    if config is None:
        config = before["config"] if before else {}
    values = {name: getattr(terms, name) for name in _DECIDED}
    return values | {"name": terms.name.strip(), "config": valid_config(config)}


async def _write(
    session: AsyncSession, task_id: int | None, values: dict[str, Any], now: datetime
) -> int:
    statement: Any = insert(TaskTable).values(values | {"created_at": now, "updated_at": now})
    if task_id is not None:
        changed = values | {"updated_at": now}
        statement = update(TaskTable).where(TaskTable.id == task_id).values(changed)
    return (await session.execute(statement.returning(TaskTable.id))).scalar_one()
