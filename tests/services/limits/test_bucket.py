"""The arithmetic of a bucket against the picture of one: tokens that drip into it."""

from fractions import Fraction
from typing import NamedTuple

from hypothesis import given
from hypothesis import strategies as st

from services.limits.bucket import take
from services.limits.rates import Rate

rates = st.builds(Rate, st.integers(1, 1_000), st.integers(1, 100_000))
steps = st.lists(st.tuples(st.integers(0, 10**8), st.integers(1, 20)), max_size=60)


class _Pail(NamedTuple):
    """Tokens as they are, at an instant."""

    tokens: Fraction
    at_us: int

    def later(self, rate: Rate, at_us: int) -> "_Pail":
        dripped = Fraction(at_us - self.at_us, rate.interval_us)
        return _Pail(min(Fraction(rate.tokens), self.tokens + dripped), at_us)


@given(rates, steps)
def test_a_bucket_gives_what_dripped_into_it(rate: Rate, steps: list[tuple[int, int]]) -> None:
    """To the token and the microsecond; and who waits as long as told gets theirs."""
    pail, full_at_us, now_us = _Pail(Fraction(rate.tokens), 0), None, 0
    for pause_us, wanted in steps:
        now_us += pause_us
        pail = pail.later(rate, now_us)
        tokens = min(wanted, rate.tokens)
        takes_us = wanted * rate.interval_us
        after_us, wait_us = take(full_at_us, now_us, takes_us, rate.size_us)
        if tokens <= pail.tokens:
            assert wait_us == 0
            full_at_us, pail = after_us, _Pail(pail.tokens - tokens, now_us)
            missing = (rate.tokens - pail.tokens) * rate.interval_us
            assert after_us - now_us == missing
            continue
        assert pail.later(rate, now_us + wait_us).tokens == tokens
        assert take(full_at_us, now_us + wait_us, takes_us, rate.size_us)[1] == 0
        assert take(full_at_us, now_us + wait_us - 1, takes_us, rate.size_us)[1] == 1


@given(rates, st.integers(0, 10**15), st.integers(0, 10**15))
def test_a_clock_that_was_set_back_costs_a_bucket_at_most(
    rate: Rate, full_at_us: int, now_us: int
) -> None:
    """Whatever was left behind, a token is there after a token's time in an empty bucket."""
    _, wait_us = take(full_at_us, now_us, rate.interval_us, rate.size_us)
    assert wait_us <= rate.interval_us
