"""How many of the points that members hold will expire unspent: a life table over cohorts.

What happened to points of an age in all cohorts that have been through it is what is expected of
those that have not (as actuaries do with lives; `docs/kpis.md`, Liability and breakage). Pure.
"""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date

from services.kpis.cohorts import Movement

MOST_UNFORESEEN = 0.01
"""Of what is outstanding, what may lie beyond all experience for the forecast to be told."""


@dataclass(frozen=True, slots=True)
class Cohort:
    """The points of a month, at the end of the last month that is kept.

    Of the outstanding ones `expected_to_expire` will, as experience has it; what becomes of the
    `unforeseen` nobody has seen yet: no cohort was ever that old.
    """

    month: date
    granted: int
    redeemed: int
    expired: int
    taken: int
    outstanding: int
    expected_to_expire: float
    unforeseen: float


@dataclass(frozen=True, slots=True)
class Forecast:
    """What is expected of all cohorts together; None where too much of it is unforeseen."""

    outstanding: int
    expected_to_expire: float | None
    unforeseen: float

    @property
    def breakage_rate(self) -> float | None:
        """The share of the outstanding points that will expire."""
        if self.expected_to_expire is None or not self.outstanding:
            return None
        return self.expected_to_expire / self.outstanding


@dataclass(slots=True)
class _Age:
    """What all cohorts had at one age, and what became of it in that month."""

    at_risk: int = 0
    expired: int = 0
    gone: int = 0


def forecast_cohorts(movements: Iterable[Movement], last_month: date) -> list[Cohort]:
    """Every cohort and what is expected of it at the end of `last_month`."""
    by_cohort = defaultdict[date, list[Movement]](list)
    for movement in movements:
        by_cohort[movement.cohort].append(movement)
    ages = [Movement(cohort, last_month).age for cohort in by_cohort]
    outlook = _outlook(_experience(by_cohort, last_month), max(ages, default=0))
    return [
        _cohort(cohort, moved, outlook[Movement(cohort, last_month).age + 1])
        for cohort, moved in sorted(by_cohort.items())
    ]


def forecast(cohorts: Sequence[Cohort]) -> Forecast:
    """All cohorts together."""
    outstanding = sum(cohort.outstanding for cohort in cohorts)
    unforeseen = sum(cohort.unforeseen for cohort in cohorts)
    is_known = outstanding > 0 and unforeseen / outstanding <= MOST_UNFORESEEN
    expected = sum(cohort.expected_to_expire for cohort in cohorts)
    return Forecast(outstanding, expected if is_known else None, unforeseen)


def _experience(
    by_cohort: Mapping[date, Sequence[Movement]], last_month: date
) -> Mapping[int, _Age]:
    """By age, what all cohorts that were that old had, and what they lost."""
    ages = defaultdict[int, _Age](_Age)
    for cohort, moved in by_cohort.items():
        held, at_age = 0, {movement.age: movement for movement in moved}
        for age in range(Movement(cohort, last_month).age + 1):
            movement = at_age.get(age, Movement(cohort, last_month))
            held += movement.granted
            ages[age].at_risk += held
            ages[age].expired += movement.expired
            ages[age].gone += movement.redeemed + movement.taken
            held -= movement.expired + movement.redeemed + movement.taken
    return ages


def _outlook(ages: Mapping[int, _Age], oldest: int) -> list[tuple[float, float]]:
    """By age, the shares of what is held when it begins that expire one day, and that may.

    Backwards from the age that nobody has been through.
    """
    expires, unforeseen = 0.0, 1.0
    outlook = [(expires, unforeseen)]
    for age in range(oldest, -1, -1):
        seen = ages.get(age, _Age())
        if seen.at_risk <= 0:
            expires, unforeseen = 0.0, 1.0
        else:
            stays = (seen.at_risk - seen.expired - seen.gone) / seen.at_risk
            expires = seen.expired / seen.at_risk + stays * expires
            unforeseen = stays * unforeseen
        outlook.append((expires, unforeseen))
    return outlook[::-1]


def _cohort(month: date, moved: Sequence[Movement], outlook: tuple[float, float]) -> Cohort:
    granted, redeemed, expired, taken = (
        sum(getattr(each, name) for each in moved)
        for name in ("granted", "redeemed", "expired", "taken")
    )
    outstanding = granted - redeemed - expired - taken
    expires, unforeseen = outlook
    return Cohort(
        *(month, granted, redeemed, expired, taken, outstanding),
        expected_to_expire=outstanding * expires,
        unforeseen=outstanding * unforeseen,
    )
