"""Who may ask for a root field: decided on every one, checked before its resolver runs.

Rules: `domain.md`, People and access.
"""

from collections.abc import Callable
from enum import Enum
from inspect import isasyncgen
from typing import Any

import strawberry
from strawberry.extensions import FieldExtension

from schema.context import Viewer
from schema.problems import problem_of
from services.errors import Forbidden, Refusal, Unauthenticated
from services.users.claims import Role


class Audience(Enum):
    """Who may ask. Operators may ask for everything."""

    ANYONE = frozenset[Role]()
    MEMBER = frozenset({Role.MEMBER})
    SERVICE = frozenset({Role.SERVICE})
    OPERATOR = frozenset({Role.OPERATOR})


def require(viewer: Viewer | None, audience: Audience) -> None:
    """Raise Unauthenticated or Forbidden unless the viewer belongs to the audience."""
    if audience is Audience.ANYONE:
        return
    if viewer is None:
        raise Unauthenticated
    if not viewer.roles & (audience.value | {Role.OPERATOR}):
        raise Forbidden


class For(FieldExtension):
    """Lets only the audience in, and turns a mutation's refusal into its Problem."""

    def __init__(self, audience: Audience, *, changes: bool = False) -> None:
        """`changes`: the field is a mutation, after which nothing loaded before is true."""
        self.audience = audience
        self.changes = changes

    async def resolve_async(
        self, next_: Callable[..., Any], source: Any, info: strawberry.Info, **kwargs: Any
    ) -> Any:
        """Check, then resolve."""
        context = info.context
        require(context.viewer, self.audience)
        if not self.changes:
            resolved = next_(source, info, **kwargs)
            return resolved if isasyncgen(resolved) else await resolved
        context.forget_loaded()  # mutations of one request run one after another
        try:
            return await next_(source, info, **kwargs)
        except Refusal as refusal:
            return problem_of(refusal, context.locale)


def field_for(audience: Audience, **options: Any) -> Any:
    """A query field for an audience."""
    return strawberry.field(extensions=[For(audience)], **options)


def subscription_for(audience: Audience, **options: Any) -> Any:
    """A subscription for an audience: decided once, when it begins."""
    return strawberry.subscription(extensions=[For(audience)], **options)


def mutation_for(audience: Audience, **options: Any) -> Any:
    """A mutation for an audience."""
    return strawberry.mutation(extensions=[For(audience, changes=True)], **options)
