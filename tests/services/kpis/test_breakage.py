"""Forecasts on cohorts whose fate is known: what will expire is told, and what cannot be is not."""

from datetime import date
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.kpis.breakage import forecast, forecast_cohorts
from services.kpis.cohorts import Movement

LIFE = 12
"""Months after which what is left expires."""


def month(number: int) -> date:
    """The first day of the month of that number, from January 2024 on."""
    return date(2024 + number // 12, 1 + number % 12, 1)


def lives(granted: int, spent: list[float]) -> list[tuple[int, int]]:
    """(redeemed, expired) by age: of what is left each month that share is spent; then it ends."""
    left, months = granted, list[tuple[int, int]]()
    for share in spent:
        redeemed = round(left * share)
        months.append((redeemed, 0))
        left -= redeemed
    return [*months, (0, left)]


def history(count: int, months: int, spent: list[float], seed: int = 0) -> list[Movement]:
    """Cohorts of a few sizes that all live alike, as far as they are known after `months`."""
    random = Random(seed)
    found: list[Movement] = []
    for cohort in range(count):
        granted = random.randrange(50, 150) * 10_000
        for age, (redeemed, expired) in enumerate(lives(granted, spent)):
            if cohort + age < months:
                given = granted if age == 0 else 0
                found.append(Movement(month(cohort), month(cohort + age), given, redeemed, expired))
    return found


@pytest.mark.parametrize("share", [0.0, 0.03, 0.1, 0.5])
def test_those_who_live_as_others_did_end_as_they_did(share: float) -> None:
    """24 months, the last 12 of which hold points: what is expected is what will happen."""
    spent = [share] * LIFE
    cohorts = forecast_cohorts(history(24, 24, spent), month(23))
    will = history(24, 24 + LIFE, spent)
    for cohort in cohorts:
        expires = sum(each.expired for each in will if each.cohort == cohort.month)
        expected = cohort.expired + cohort.expected_to_expire
        assert expected == pytest.approx(expires, rel=1e-4, abs=10)
    known = forecast(cohorts)
    assert known.unforeseen == 0
    assert known.breakage_rate == pytest.approx(
        sum(cohort.expected_to_expire for cohort in cohorts) / known.outstanding
    )


def test_without_a_cohort_that_has_ended_nothing_is_told() -> None:
    """Nine months: nobody knows how much of what is left will be spent in the end."""
    known = forecast(forecast_cohorts(history(9, 9, [0.05] * LIFE), month(8)))
    assert known.expected_to_expire is known.breakage_rate is None
    assert 0.7 * known.outstanding < known.unforeseen < known.outstanding


def test_a_first_cohort_that_has_ended_is_enough() -> None:
    """The thirteenth month shows how it ends."""
    spent = [0.05] * LIFE
    assert forecast(forecast_cohorts(history(12, 12, spent), month(11))).breakage_rate is None
    known = forecast(forecast_cohorts(history(13, 13, spent), month(12)))
    assert known.breakage_rate is not None
    assert 0.5 < known.breakage_rate < 0.8


def test_nothing_is_owed() -> None:
    """No cohorts, or none that hold anything: no forecast either, and no division by zero."""
    assert forecast(forecast_cohorts([], month(0))).breakage_rate is None
    gone = [Movement(month(0), month(0), granted=5, redeemed=3, taken=2)]
    assert forecast(forecast_cohorts(gone, month(3))).breakage_rate is None


@given(
    st.lists(
        st.tuples(st.integers(0, 5), st.integers(0, 8), *(st.integers(0, 1_000) for _ in range(4))),
        max_size=40,
    )
)
def test_no_more_expires_than_there_is(rows: list[tuple[int, int, int, int, int, int]]) -> None:
    """Whatever the history: what expires and what is unforeseen is a part of what is held."""
    held: dict[int, int] = {}
    movements: dict[tuple[int, int], Movement] = {}
    for cohort, age, granted, *asked in sorted(rows):
        if (cohort, age) in movements:
            continue
        left = held.get(cohort, 0) + granted
        taken = list[int]()
        for points in asked:
            taken.append(min(points, left))
            left -= taken[-1]
        held[cohort] = left
        movements[cohort, age] = Movement(month(cohort), month(cohort + age), granted, *taken)
    for cohort in forecast_cohorts(movements.values(), month(13)):
        assert cohort.outstanding >= 0
        assert cohort.expected_to_expire >= -1e-9
        assert cohort.unforeseen >= -1e-9
        both = cohort.expected_to_expire + cohort.unforeseen
        assert both <= cohort.outstanding + 1e-6
