"""Which bucket a user falls into, and which variant a bucket has (`domain.md`, Experiments).

Pure, and for ever: another hash would move everybody. The golden vectors of the tests hold it.
"""

import hashlib
from bisect import bisect_right
from collections.abc import Sequence
from fractions import Fraction
from itertools import accumulate

from models.experiments import BUCKETS

ENROLMENT, VARIANT = "enrolment", "variant"
"""What a bucket is for. Each has a hash of its own: who is enrolled says nothing of the variant."""


def bucket_of(salt: str, purpose: str, user_id: int) -> int:
    """The user's bucket, 0 to 9,999: SHA-256 of `salt:purpose:user id`, its first 8 bytes.

    They are read as a big-endian number, modulo 10,000 (2^64 is that much larger: the buckets are
    equal to one part in 10^15). The salt is the experiment's own, so two experiments are
    independent.
    """
    digest = hashlib.sha256(f"{salt}:{purpose}:{user_id}".encode()).digest()
    return int.from_bytes(digest[:8], "big") % BUCKETS


def is_enrolled(salt: str, user_id: int, traffic_buckets: int) -> bool:
    """Whether the user takes part; whoever does with less traffic does with more."""
    return bucket_of(salt, ENROLMENT, user_id) < traffic_buckets


def buckets_of_weights(weights: Sequence[float]) -> list[int]:
    """How many of the 10,000 buckets each variant has, in proportion to its weight.

    Each bound is rounded by itself, so none is more than half a bucket off, and all are given out.
    Exact arithmetic: every process, on every machine, finds the same bounds.
    """
    shares = [Fraction(weight) for weight in weights]
    total = sum(shares)
    bounds = [round(reached / total * BUCKETS) for reached in accumulate(shares)]
    return [end - begin for begin, end in zip([0, *bounds], bounds, strict=False)]


def variant_index(salt: str, user_id: int, weights: Sequence[float]) -> int:
    """The place of the user's variant among those with these weights."""
    bounds = list(accumulate(buckets_of_weights(weights)))
    return bisect_right(bounds, bucket_of(salt, VARIANT, user_id))
