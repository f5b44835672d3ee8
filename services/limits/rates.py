"""The named limits: how often, or how much, in how long. All may be set (`MALL_RATE_LIMITS`)."""

from collections.abc import Mapping
from typing import Final, NamedTuple

from settings import LimitSettings, SettingsError

_US = 1_000_000


class Rate(NamedTuple):
    """So many tokens, which drip in evenly over that time; all of them at once at first."""

    tokens: int
    period_s: int

    @property
    def interval_us(self) -> int:
        """How long one token takes to drip in."""
        return max(1, self.period_s * _US // self.tokens)

    @property
    def size_us(self) -> int:
        """How long a whole bucket takes."""
        return self.interval_us * self.tokens


class Take(NamedTuple):
    """So many tokens of each of these limits, of those that a holder has."""

    holder: str
    amounts: tuple[tuple[str, int], ...]
    """Limits and tokens, each limit once."""


def take_of(limit: str, holder: str, tokens: int = 1) -> Take:
    """So many tokens of one limit."""
    return Take(holder, ((limit, tokens),))


RATES: Final[Mapping[str, Rate]] = {
    # Of one member
    "operations": Rate(600, 60),
    "cost": Rate(120_000, 60),
    "value": Rate(120, 60),
    "exchanges": Rate(60, 60),
    "invites": Rate(30, 3_600),
    "shares": Rate(120, 3_600),
    "devices": Rate(60, 3_600),
    # Of one member, or one address of those who do not say who they are
    "connections": Rate(240, 60),
    # Of one address: many members share one, behind the gateway of a mobile network
    "anonymous_operations": Rate(1_200, 60),
    "anonymous_cost": Rate(240_000, 60),
    "address_value": Rate(6_000, 60),
    "sign_ups": Rate(600, 3_600),
    "share_pages": Rate(600, 60),
    "dev_tokens": Rate(600, 60),
    # Of one operator, or one system that calls in
    "staff_operations": Rate(12_000, 60),
    "staff_cost": Rate(2_400_000, 60),
}
"""What a person at a screen, or a thousand behind one address, does not reach."""

COSTS: Final = frozenset({"cost", "anonymous_cost", "staff_cost"})
"""Whose tokens are not operations, but what they cost."""


def rates_of(settings: LimitSettings) -> dict[str, Rate]:
    """The limits that hold; those that are off are missing.

    Raises SettingsError for a name that is none.
    """
    set_apart = settings.overrides
    if unknown := sorted(set_apart.keys() - RATES.keys()):
        raise SettingsError(f"MALL_RATE_LIMITS names no limit of the mall: {', '.join(unknown)}")
    rates = {
        name: set_apart.get(name, (rate.tokens, rate.period_s)) for name, rate in RATES.items()
    }
    factor = settings.rate_limit_factor
    return {
        name: Rate(max(1, int(tokens * factor)), period_s)
        for name, (tokens, period_s) in rates.items()
        if tokens
    }
