"""Properties of deciding completed tasks and recorded events: once a period, within the caps."""

from collections import Counter
from copy import deepcopy
from decimal import Decimal
from math import floor
from uuid import uuid4

import hypothesis.strategies as st
from hypothesis import given

from models.tasks import TaskFrequency
from services.errors import LimitReached, NotFound, Refusal, VerificationRequired
from services.points.expiry import Lifetime
from services.tasks import complete, events
from services.tasks.complete import Completed, CompletionRequest, TaskSettlement
from services.tasks.events import EventSettlement
from services.tasks.incoming_events import IncomingEvent
from services.tasks.rules import (
    Progress,
    Task,
    TaskNotCompletable,
    TaskRefusal,
    TaskStatus,
    period_start,
)
from tests.services.points.accounts import NOW
from tests.services.tasks import settlements
from tests.services.tasks.settlements import USERS, ZONE, claims, event_settlement, task

Claims = tuple[TaskSettlement, list[CompletionRequest]]
MOST_A_DAY, MOST_A_WEEK = 1_000, 5_000


def _completed(outcomes: list[Completed | Refusal]) -> list[Completed]:
    return [outcome for outcome in outcomes if isinstance(outcome, Completed)]


@given(claims())
def test_a_task_pays_once_a_period(claimed: Claims) -> None:
    """However often it is claimed; and it pays what it promises, into a lot of its own."""
    settlement, requests = claimed
    done = _completed(complete.decide(settlement, requests))
    assert len({(each.lot.user_id, each.member_task.task.id) for each in done}) == len(done)
    for each in done:
        assert each.lot.points == each.member_task.task.points_reward
        assert each.member_task.status is TaskStatus.COMPLETED
    for user_id in USERS:
        paid = sum(each.lot.points for each in done if each.lot.user_id == user_id)
        assert settlement.accounts[user_id].points == paid


@given(claims())
def test_tasks_never_pay_more_than_the_caps(claimed: Claims) -> None:
    """1,000 points a day and 5,000 a week, what was earned before included."""
    settlement, requests = claimed
    before = deepcopy(settlement.earned)
    done = _completed(complete.decide(settlement, requests))
    for user_id in USERS:
        paid = sum(each.lot.points for each in done if each.lot.user_id == user_id)
        assert not paid or before[user_id].today + paid <= MOST_A_DAY
        assert not paid or before[user_id].this_week + paid <= MOST_A_WEEK


def _expected(settlement: TaskSettlement, request: CompletionRequest) -> object:
    """What must come of a claim, told from the facts as they were before."""
    asked = settlement.tasks.get(request.task_id)
    if asked is None or request.user_id not in settlement.accounts:
        return NotFound
    key = (request.user_id, asked.id, period_start(asked.frequency, NOW, ZONE))
    progress = settlement.progress.get(key) or Progress(*key)
    earned = settlement.earned[request.user_id]
    checks = [
        (not asked.is_active, TaskRefusal.INACTIVE),
        (asked.starts_at is not None and asked.starts_at > NOW, TaskRefusal.NOT_STARTED),
        (asked.ends_at is not None and asked.ends_at <= NOW, TaskRefusal.ENDED),
        (progress.completed_at is not None, TaskRefusal.ALREADY_COMPLETED),
        (
            "event" in asked.config and progress.progress < asked.config.get("target", 1),
            TaskRefusal.REQUIREMENT_UNMET,
        ),
        ("verification" in asked.config and not request.is_verified, VerificationRequired),
        (earned.today + asked.points_reward > MOST_A_DAY, LimitReached),
        (earned.this_week + asked.points_reward > MOST_A_WEEK, LimitReached),
    ]
    return next((outcome for applies, outcome in checks if applies), Completed)


@given(claims())
def test_every_outcome_has_its_reason_and_a_refusal_changes_nothing(claimed: Claims) -> None:
    """Paid when nothing stands against it; else the first thing that does, and nothing moves."""
    settlement, requests = claimed
    for request in requests:
        before = deepcopy(settlement)
        (outcome,) = complete.decide(settlement, [request])
        expected = _expected(before, request)
        if isinstance(expected, TaskRefusal):
            assert isinstance(outcome, TaskNotCompletable)
            assert outcome.reason is expected
        else:
            assert isinstance(outcome, expected)
        assert isinstance(outcome, Completed) or settlement == before


@given(claims(), st.randoms(use_true_random=False))
def test_below_the_caps_the_order_of_claims_does_not_matter(claimed: Claims, random) -> None:
    """The same tasks are paid, whoever claims first."""
    settlement, requests = claimed
    for each in settlement.earned.values():
        each.today = each.this_week = -1_000_000
    other, shuffled = deepcopy(settlement), random.sample(requests, len(requests))
    done = [
        {(each.lot.user_id, each.member_task.task.id) for each in _completed(outcomes)}
        for outcomes in (complete.decide(settlement, requests), complete.decide(other, shuffled))
    ]
    assert done[0] == done[1]


@given(claims())
def test_a_lot_lives_as_long_as_its_task_says(claimed: Claims) -> None:
    """Its own lifetime, else a year."""
    settlement, requests = claimed
    for done in _completed(complete.decide(settlement, requests)):
        lifetime = done.member_task.task.rules.lifetime
        if lifetime == Lifetime("never"):
            assert done.lot.expires_at is None
        else:
            assert (done.lot.expires_at - NOW).days == (365 if lifetime is None else lifetime.value)


_TASKS = [
    task(1, {"event": "view", "target": 2, "claim": "auto"}),
    task(2, {"event": "view", "target": 3}, frequency=TaskFrequency.WEEKLY),
    task(3, {"event": "purchase", "min_amount": 20, "claim": "auto"}, points_reward=7),
    task(4, {"event": "share", "claim": "auto"}, frequency=TaskFrequency.ONCE),
    task(5, {"event": "view", "claim": "auto"}, is_active=False),
]


def _record(known: list[Task], recorded: list[IncomingEvent]) -> EventSettlement:
    settlement = event_settlement(known)
    for event in recorded:
        events.decide(settlement, event, uuid4)
    return settlement


def _progress(settlement: EventSettlement) -> dict[object, tuple[int, bool, int]]:
    return {
        key: (progress.progress, progress.completed_at is not None, progress.points_earned)
        for key, progress in settlement.progress.items()
    }


@given(settlements.events(), st.randoms(use_true_random=False))
def test_the_order_of_events_does_not_matter_below_the_caps(recorded, random) -> None:
    """The same progress and the same points, in whatever order they are decided."""
    one = _record(_TASKS, recorded)
    other = _record(_TASKS, random.sample(recorded, len(recorded)))
    assert _progress(one) == _progress(other)
    assert [a.points for a in one.accounts.values()] == [a.points for a in other.accounts.values()]
    assert one.result == other.result


def _counts(each: Task, event: IncomingEvent) -> bool:
    is_large = event.amount >= each.config.get("min_amount", 0)
    return each.is_active and is_large and event.type == each.config["event"]


@given(settlements.events())
def test_progress_is_the_number_of_events_that_count(recorded: list[IncomingEvent]) -> None:
    """In the period in which they occurred, up to the target; small purchases do not count."""
    settlement = _record(_TASKS, recorded)
    expected: Counter[object] = Counter()
    for each in _TASKS:
        for event in recorded:
            if _counts(each, event):
                key = (
                    event.user_id,
                    each.id,
                    period_start(each.frequency, event.occurred_at, ZONE),
                )
                expected[key] = min(expected[key] + 1, each.config.get("target", 1))
    assert {key: each.progress for key, each in settlement.progress.items()} == expected


@given(settlements.events())
def test_only_automatic_tasks_are_paid_by_events(recorded: list[IncomingEvent]) -> None:
    """At once when the target is reached; a manual one waits for its member."""
    settlement = _record(_TASKS, recorded)
    by_id = {each.id: each for each in _TASKS}
    for (_, task_id, _), progress in settlement.progress.items():
        config = by_id[task_id].config
        reached = progress.progress >= config.get("target", 1)
        assert (progress.completed_at is not None) == (reached and config.get("claim") == "auto")


@given(settlements.events())
def test_purchases_earn_a_point_for_each_whole_unit(recorded: list[IncomingEvent]) -> None:
    """Each purchase rounded down by itself, and a lot of its own that names the event."""
    settlement = _record([], recorded)
    for user_id in USERS:
        mine = [each for each in recorded if each.user_id == user_id and each.type == "purchase"]
        worth = {each.event_id: floor(each.amount) for each in mine if each.amount >= Decimal(1)}
        lots = settlement.accounts[user_id].lots
        assert {lot.source_reference: lot.points for lot in lots} == worth
    earned = sum(account.points for account in settlement.accounts.values())
    assert settlement.result.points_earned == earned


@given(settlements.events())
def test_automatic_tasks_stay_below_the_caps(recorded: list[IncomingEvent]) -> None:
    """Over the cap nothing is paid and nothing is lost: the progress stays, unpaid."""
    dear = [
        task(number, {"event": "view", "claim": "auto"}, points_reward=400) for number in range(4)
    ]
    settlement = _record(dear, recorded)
    for user_id in USERS:
        days = {
            period_start(TaskFrequency.DAILY, each.occurred_at, ZONE)
            for each in recorded
            if (each.user_id, each.type) == (user_id, "view")
        }
        mine = [p for p in settlement.progress.values() if p.user_id == user_id]
        paid = [progress for progress in mine if progress.completed_at is not None]
        assert len(mine) == 4 * len(days)
        assert len(paid) == (2 if days else 0)
        assert all(progress.progress == 1 for progress in mine)
