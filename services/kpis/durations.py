"""How long requests take, in few numbers: buckets that widen with the duration, and what they say.

A bucket is a tenth wider than the one before, and stands for its geometric middle: what is read out
of the counts is wrong by 4.9 % at most (`LARGEST_ERROR`), however many requests they are of.
"""

import math
from collections.abc import Mapping
from typing import Final

GROWTH: Final = 1.1
SHORTEST_S: Final = 0.0001
"""What is shorter is counted as this; the last bucket holds all that takes 2 minutes or more."""
LAST_BUCKET: Final = math.ceil(math.log(120 / SHORTEST_S, GROWTH))
LARGEST_ERROR: Final = math.sqrt(GROWTH) - 1
_BUCKETS_PER_E: Final = 1 / math.log(GROWTH)


def bucket_of(duration_s: float) -> int:
    """The bucket of a duration in seconds; 0 holds the shortest."""
    if duration_s <= SHORTEST_S:
        return 0
    return min(LAST_BUCKET, math.ceil(math.log(duration_s / SHORTEST_S) * _BUCKETS_PER_E))


def duration_of(bucket: int) -> float:
    """Seconds that a bucket stands for: those of its geometric middle."""
    return SHORTEST_S if bucket == 0 else SHORTEST_S * GROWTH ** (bucket - 0.5)


def quantile_s(counts: Mapping[int, int], share: float) -> float | None:
    """Seconds within which `share` of the requests ended, by bucket; None when there were none.

    The nearest rank: of 20 requests, 95 % is the 19th.
    """
    rank = math.ceil(sum(counts.values()) * share)
    for bucket in sorted(counts):
        rank -= counts[bucket]
        if counts[bucket] and rank <= 0:
            return duration_of(bucket)
    return None
