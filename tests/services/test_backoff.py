"""Pauses between attempts."""

from hypothesis import given
from hypothesis import strategies as st

from services.backoff import pause_s

FIRST_S, LONGEST_S = 5.0, 3_600.0


def pause(attempts: int, chance: float) -> float:
    """The pause after so many failures."""
    return pause_s(attempts, chance, first_s=FIRST_S, longest_s=LONGEST_S)


@given(st.integers(1, 10_000), st.floats(0, 1, exclude_max=True))
def test_pauses_grow_within_their_bounds(attempts: int, chance: float) -> None:
    """At least half of the full pause, never more than the longest, for ever."""
    full_s = min(LONGEST_S, FIRST_S * 2 ** min(attempts - 1, 20))
    assert full_s / 2 <= pause(attempts, chance) <= full_s
    assert pause(attempts, chance) <= pause(attempts + 1, chance)
