"""What key figures should be, and whether they are (`domain.md`, Operating it, KPIs)."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Goal:
    """The number that a figure should reach, or (`is_ceiling`) not exceed."""

    metric: str
    target: float
    is_ceiling: bool = False


@dataclass(frozen=True, slots=True)
class Judged:
    """A figure against its goal; `is_met` is None where there is no figure."""

    metric: str
    target: float
    actual: float | None
    is_met: bool | None


GOALS: Sequence[Goal] = (
    Goal("daily_active_users_change", 0.30),
    Goal("task_completion_rate", 0.60),
    Goal("push_open_rate", 0.15),
    Goal("exchange_rate", 0.20),
    Goal("average_exchange_cycle_days", 30, is_ceiling=True),
    Goal("net_promoter_score", 50),
    Goal("api_latency_p95_ms", 500, is_ceiling=True),
    Goal("availability", 0.999),
    Goal("expiry_rate", 0.15, is_ceiling=True),
)
"""Of each figure that has one, by its name in `services.kpis.report.Report`."""


def judge(actuals: Mapping[str, float | None]) -> list[Judged]:
    """Each goal against what was achieved; one that is just reached is met."""
    return [_judge(goal, actuals[goal.metric]) for goal in GOALS]


def _judge(goal: Goal, actual: float | None) -> Judged:
    is_met = None
    if actual is not None:
        is_met = actual <= goal.target if goal.is_ceiling else actual >= goal.target
    return Judged(goal.metric, goal.target, actual, is_met)
