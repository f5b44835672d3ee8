"""When gains are held, against a plain count of what dripped in."""

from datetime import UTC, datetime, timedelta
from fractions import Fraction

from hypothesis import given
from hypothesis import strategies as st

from services.points.velocity import HOUR_S, VelocityRules, gains_after

_BEGIN = datetime(2026, 11, 20, 4, 0, tzinfo=UTC)
_gains = st.lists(st.tuples(st.integers(0, 2 * HOUR_S), st.integers(1, 1_500)), max_size=40)


@given(st.integers(1, 1_000), _gains)
def test_gains_are_counted_to_the_point(most: int, gains: list[tuple[int, int]]) -> None:
    """An hour's points at once, then so many an hour; what is held is not counted."""
    rules, full_at, now = VelocityRules(gains_an_hour=most), None, _BEGIN
    left, interval_us = Fraction(most), HOUR_S * 1_000_000 // most
    for pause_s, points in gains:
        now += timedelta(seconds=pause_s)
        left = min(Fraction(most), left + Fraction(pause_s * 1_000_000, interval_us))
        after = gains_after(rules, full_at, points, now)
        assert (after is not None) == (points <= left)
        if after is not None:
            full_at, left = after, left - points
