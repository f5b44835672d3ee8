"""Whether an operation may begin: what it counts against, by who asks and what for."""

import sys
from functools import lru_cache
from typing import Final

from graphql import OperationType

from resolvers.attempts import Asked
from resolvers.operation_requests import ANYBODYS_BODY_BYTES
from schema.context import Context, Viewer
from services.limits.fields import LIMITS_BY_FIELD, VALUE
from services.limits.limiter import Limiter
from services.limits.networks import network_of
from services.limits.rates import Take, take_of
from services.users.claims import Role

_MEMBERS_BODY_BYTES: Final = 256 * 1024
_STAFFS_BODY_BYTES: Final = sys.maxsize
"""As much as anybody at all may send (`MALL_MAX_BODY_BYTES`)."""
_STAFF: Final = frozenset({Role.OPERATOR, Role.SERVICE})


class Permits:
    """Lets operations begin as often as the limits allow."""

    def __init__(self, limiter: Limiter) -> None:
        """Counts with that limiter."""
        self._limiter = limiter

    async def permit(self, context: Context, asked: Asked) -> None:
        """Count an operation; raises LimitExceeded, and then it counted against nothing."""
        viewer = context.viewer
        mutations = asked.root_fields if asked.kind is OperationType.MUTATION else ()
        moves = _moves(mutations)
        if viewer is None:
            takes = [Take(network_of(context.remote_address), _of_nobody(asked.cost))]
        elif viewer.roles & _STAFF:
            takes = [Take(_holder(viewer), _of_staff(asked.cost))]
        else:
            takes = [Take(_holder(viewer), _of_member(mutations, asked.cost))]
            if moves:
                takes.append(take_of("address_value", network_of(context.remote_address), moves))
        await self._limiter.take(takes, moves_value=moves > 0)

    async def pay(self, context: Context, cost: int) -> None:
        """Take what is no operation's own of what the asker's may cost; raises LimitExceeded."""
        viewer = context.viewer
        if viewer is None:
            take = take_of("anonymous_cost", network_of(context.remote_address), cost)
        else:
            limit = "staff_cost" if viewer.roles & _STAFF else "cost"
            take = take_of(limit, _holder(viewer), cost)
        await self._limiter.take([take], moves_value=False)


def body_limit_bytes(context: Context) -> int:
    """How long a request may be: what staff imports and reports is long, what others ask is not."""
    viewer = context.viewer
    if viewer is None:
        return ANYBODYS_BODY_BYTES
    return _STAFFS_BODY_BYTES if viewer.roles & _STAFF else _MEMBERS_BODY_BYTES


def _holder(viewer: Viewer) -> str:
    return f"user:{viewer.user_id}"


def _of_nobody(cost: int) -> tuple[tuple[str, int], ...]:
    return (("anonymous_operations", 1), ("anonymous_cost", cost))


def _of_staff(cost: int) -> tuple[tuple[str, int], ...]:
    return (("staff_operations", 1), ("staff_cost", cost))


@lru_cache(maxsize=4096)
def _of_member(mutations: tuple[str, ...], cost: int) -> tuple[tuple[str, int], ...]:
    """The limits that they count against by name, and how often: under aliases too.

    What moves value has a stricter limit than what is asked for otherwise, and counts there only.
    """
    limits = [limit for field in mutations for limit in LIMITS_BY_FIELD.get(field, ())]
    if "value" not in limits:
        limits.append("operations")
    return (*((limit, limits.count(limit)) for limit in dict.fromkeys(limits)), ("cost", cost))


@lru_cache(maxsize=1024)
def _moves(mutations: tuple[str, ...]) -> int:
    """How many of them move value."""
    return sum(field in VALUE for field in mutations)
