"""The line that nudges a member to spend: the built-in experiment (`domain.md`, Experiments).

A says what the points are worth, B that they will expire. Both say only what is true.
"""

from dataclasses import dataclass
from datetime import datetime
from zoneinfo import ZoneInfo

from sqlalchemy.ext.asyncio import AsyncSession

from models.experiments import ExperimentStatus
from services.errors import Unauthenticated
from services.exchange.quick_options import QuickOption, quick_options
from services.experiments.assign import Assignment
from services.experiments.definitions import PROMPT_VARIANTS
from services.points.balance import Balance, balances
from services.points.expiry_summary import ExpiringPoints, expiry_summary

WORTH, EXPIRY = PROMPT_VARIANTS
SOON_DAYS = 30
"""What expires later than that presses nobody."""
_OPTIONS = 3


@dataclass(frozen=True, slots=True)
class Worth:
    """What the points are worth: the name of an item that the member could take now, if any."""

    available: int
    item: str | None


@dataclass(frozen=True, slots=True)
class Expiry:
    """What of the points expires first, if any does within `days`."""

    days: int
    first: ExpiringPoints | None


def prompt_variant(assignment: Assignment | None) -> str:
    """The variant whose line is shown.

    To whoever takes no part A, the wording of before: to everybody while the experiment is stopped,
    whatever its variants are. Stopping takes back.
    """
    if assignment is None or assignment.variant is None:
        return WORTH
    return assignment.variant.key


def is_crossing(assignment: Assignment | None) -> bool:
    """Whether the member leaves the comparison by what they are shown: A, as it is stopped.

    Those who were given A leave as well. Else one side would lose its most active
    members, and the other keep them.
    """
    if assignment is None or assignment.given is None:
        return False
    is_stopped = assignment.experiment.status is ExperimentStatus.STOPPED
    return is_stopped and not assignment.given.has_crossed_over


async def prompt_facts(
    session: AsyncSession, variant: str, user_id: int, now: datetime, zone: ZoneInfo
) -> Worth | Expiry:
    """What that variant's line tells of the member.

    Raises Unauthenticated when the member is gone.
    """
    if variant == EXPIRY:
        summary = await expiry_summary(session, user_id, SOON_DAYS, now, zone)
        return Expiry(SOON_DAYS, next(iter(summary.upcoming), None))
    balance = (await balances(session, [user_id], now)).get(user_id)
    if balance is None:
        raise Unauthenticated
    return worth(balance, await quick_options(session, balance, _OPTIONS, now, zone))


def worth(balance: Balance, options: list[QuickOption]) -> Worth:
    """The best item of the member's quick options that they can take. Pure."""
    takeable = (option.item.name for option in options if option.can_exchange)
    return Worth(balance.available, next(takeable, None))
