"""Tasks, claims and events for property tests, and what they are decided on."""

from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any
from uuid import uuid4
from zoneinfo import ZoneInfo

import hypothesis.strategies as st

from models.tasks import TaskFrequency
from services.errors import VerificationRequired
from services.points.account import Account
from services.tasks.complete import CompletionRequest, TaskSettlement
from services.tasks.events import EventSettlement
from services.tasks.incoming_events import IncomingEvent, RecordedEvents
from services.tasks.rules import Earned, Progress, Task, parse_rules, period_start
from tests.services.points.accounts import NOW

ZONE = ZoneInfo("Asia/Shanghai")
USERS = (1, 2)

_CONFIGS = st.sampled_from(
    [
        {},
        {},
        {"verification": True},
        {"event": "view"},
        {"event": "view", "target": 3},
        {"event": "view", "target": 2, "claim": "auto"},
        {"event": "purchase", "min_amount": 20, "claim": "auto"},
        {"expiry": {"type": "days", "value": 3}},
        {"expiry": {"type": "never"}},
    ]
)
_WINDOWS = st.sampled_from([(None, None)] * 4 + [(-100, 100), (1, 2), (-2, 0), (0, 1)])


def _hours(hours: int | None) -> datetime | None:
    return None if hours is None else NOW + timedelta(hours=hours)


def task(task_id: int, config: dict[str, Any] | None = None, **columns: Any) -> Task:
    """A daily task of 10 points unless said otherwise."""
    values: dict[str, Any] = {
        "name": "task",
        "description": None,
        "points_reward": 10,
        "frequency": TaskFrequency.DAILY,
        "is_active": True,
        "starts_at": None,
        "ends_at": None,
        **columns,
    }
    config = config or {}
    return Task(id=task_id, config=config, rules=parse_rules(config), **values)


@st.composite
def tasks(draw: st.DrawFn, task_id: int) -> Task:
    """Any task; most can be completed now."""
    begins, ends = draw(_WINDOWS)
    return task(
        task_id,
        draw(_CONFIGS),
        points_reward=draw(st.sampled_from([1, 10, 300, 600, 1_000, 1_001])),
        frequency=draw(st.sampled_from(TaskFrequency)),
        is_active=draw(st.integers(0, 9)) > 0,
        starts_at=_hours(begins),
        ends_at=_hours(ends),
    )


def captcha() -> VerificationRequired:
    """The refusal of a mall without any provider."""
    return VerificationRequired("turnstile", None)


@st.composite
def claims(draw: st.DrawFn) -> tuple[TaskSettlement, list[CompletionRequest]]:
    """Two members, five tasks, what they have done of them, and up to ten claims."""
    known = {task_id: draw(tasks(task_id)) for task_id in range(1, 6)}
    progress = {}
    for user_id in USERS:
        for each in known.values():
            key = (user_id, each.id, period_start(each.frequency, NOW, ZONE))
            if draw(st.booleans()):
                progress[key] = Progress(*key, progress=draw(st.integers(0, 3)))
    earned = {}
    for user_id in USERS:
        today = draw(st.sampled_from([0, 0, 100, 999, 1_000]))
        week = draw(st.sampled_from([0, 3_500, 4_400, 4_990]))
        earned[user_id] = Earned(today, max(week, today))
    settlement = TaskSettlement(
        now=NOW,
        zone=ZONE,
        accounts={user_id: Account(user_id) for user_id in USERS},
        tasks=known,
        progress=progress,
        earned=earned,
        captcha=captcha,
    )
    asked = st.tuples(st.sampled_from([1, 2, 1, 2, 99]), st.integers(1, 6), st.booleans())
    requests = [
        CompletionRequest(user_id, task_id, is_verified, uuid4())
        for user_id, task_id, is_verified in draw(st.lists(asked, max_size=10))
    ]
    return settlement, requests


@st.composite
def events(draw: st.DrawFn) -> list[IncomingEvent]:
    """Up to 25 events of two users within three days; views, purchases and others."""
    happened = st.tuples(
        st.sampled_from(USERS),
        st.sampled_from(["view", "purchase", "share"]),
        st.sampled_from(["0", "0.99", "1", "19.99", "20", "20.5", "300"]),
        st.integers(-72, 0),
    )
    return [
        IncomingEvent(f"event-{n}", user, kind, Decimal(amount), NOW + timedelta(hours=hours), {})
        for n, (user, kind, amount, hours) in enumerate(draw(st.lists(happened, max_size=25)))
    ]


def event_settlement(known: list[Task]) -> EventSettlement:
    """Two members who have done nothing yet, before these tasks."""
    return EventSettlement(
        now=NOW,
        zone=ZONE,
        accounts={user_id: Account(user_id) for user_id in USERS},
        tasks=known,
        progress={},
        earned={user_id: Earned() for user_id in USERS},
        result=RecordedEvents(),
    )
