"""What buckets say of durations: never wrong by more than they promise."""

import math

from hypothesis import example, given
from hypothesis import strategies as st

from services.kpis.durations import (
    LARGEST_ERROR,
    LAST_BUCKET,
    SHORTEST_S,
    bucket_of,
    duration_of,
    quantile_s,
)

durations = st.floats(SHORTEST_S, 119)


def test_the_promise_is_kept_below_five_percent() -> None:
    """What the targets are read with."""
    assert 0.04 < LARGEST_ERROR < 0.05


@given(st.lists(durations, min_size=1, max_size=300), st.floats(0.01, 1))
@example([0.0001], 1.0)
def test_a_quantile_is_that_of_the_durations(taken: list[float], share: float) -> None:
    """As sorting all of them says it, but for the width of a bucket."""
    counts: dict[int, int] = {}
    for duration in taken:
        counts[bucket_of(duration)] = counts.get(bucket_of(duration), 0) + 1
    exact = sorted(taken)[math.ceil(len(taken) * share) - 1]
    found = quantile_s(counts, share)
    assert found is not None
    assert abs(found / exact - 1) <= LARGEST_ERROR + 1e-9


@given(durations, durations)
def test_longer_is_never_less(one: float, other: float) -> None:
    """Buckets are in the order of their durations."""
    assert (bucket_of(min(one, other))) <= bucket_of(max(one, other))


def test_what_lies_outside() -> None:
    """Nothing is lost: not what takes no time, nor what takes for ever."""
    assert bucket_of(0) == bucket_of(-1e-9) == 0
    assert bucket_of(1e9) == LAST_BUCKET == bucket_of(120)
    assert duration_of(LAST_BUCKET) > 110


def test_of_nothing_there_is_no_quantile() -> None:
    """Nor of buckets that are empty."""
    assert quantile_s({}, 0.95) is None
    assert quantile_s({3: 0}, 0.95) is None
