"""Rates that key figures and alerts have in common, so that both mean the same by them.

Definitions: `docs/kpis.md`; targets and thresholds: `domain.md`, Operating it.
"""

RATE_DAYS = 30
"""Days over which the exchange rate is taken, and over which alerts take the expiry rate."""


def share(part: int, whole: int) -> float | None:
    """`part` of `whole`, 0 to 1 if it is one; None where there is nothing to divide by."""
    return part / whole if whole > 0 else None


def exchange_rate(exchanging_members: int, active_members: int) -> float | None:
    """The share of active members who exchanged; None when nobody was active.

    Both are counted once each over the same days: members with an exchange that was placed then and
    is not cancelled, and members who were seen then (`member_days`) or have such an exchange.
    """
    return share(exchanging_members, active_members)


def expiry_rate(expired_points: int, redeemed_points: int) -> float | None:
    """The share of the points that left balances which left them unspent; None when none left.

    `expired_points` are the `expire` rows of the audit log, `redeemed_points` its `redeem` and
    `extend` rows less its `refund` rows, of the same days; both positive. Where more was refunded
    than spent, nothing was spent.
    """
    return share(expired_points, expired_points + max(0, redeemed_points))
