"""How many points one account can count, over its whole life.

What was ever given (earned, and corrected by operators) is balance + redeemed + expired, so holding
that one sum to MAX_POINTS holds each of them; nothing but giving makes it grow. Hence points that
come back from a cancelled exchange always fit, and so does whatever else moves between them.
"""

from models.base import MAX_POINTS
from services.errors import InvalidInput


class BalanceFull(InvalidInput):
    """The account was given nearly as many points as can be counted: these do not fit."""

    def __init__(self, field: tuple[str, ...] = ("points",)) -> None:
        super().__init__(field, "no balance can hold as many")


def require_room(earned: int, adjusted: int, points: int) -> None:
    """Raise BalanceFull unless an account with these lifetime sums can be given `points` more.

    Earned has a limit of its own: a correction downwards makes room in the sum, not in it.
    """
    if max(earned, earned + adjusted) + points > MAX_POINTS:
        raise BalanceFull
