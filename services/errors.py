"""The tree of errors that the mall raises on purpose. Each carries the facts of its refusal.

Errors that belong to one operation stand beside it; here is the trunk and what several share.
"""

from collections.abc import Sequence
from datetime import datetime

from models.catalogue import LimitPeriod


def said(error: BaseException) -> str:
    """What an error says, with its type: some have no other text."""
    return f"{type(error).__name__}: {error}"


class MallError(Exception):
    """Anything the mall refuses knowingly."""


class BadInput(MallError):
    """The request itself is malformed; `message` is for the developer who sent it."""

    def __init__(self, message: str) -> None:
        super().__init__(message)
        self.message = message


class Unauthenticated(MallError):
    """No token, or one that is not valid."""


class Forbidden(MallError):
    """A valid token whose roles do not allow this."""


class ServiceUnavailable(MallError):
    """Something the request needs is away for now; asking again later helps."""


class Refusal(MallError):
    """Well formed but refused, and nothing has changed: a `Problem` of the contract."""


class NotFound(Refusal):
    """What an id names does not exist, or is not for this user to see."""

    def __init__(self, kind: str, key: str) -> None:
        super().__init__(f"{kind} {key}")
        self.kind = kind
        self.key = key


class InvalidInput(Refusal):
    """A value breaks a rule that the schema cannot express."""

    def __init__(self, field: tuple[str, ...], problem: str) -> None:
        super().__init__(problem)
        self.field = field
        self.problem = problem


class InvalidState(Refusal):
    """What it is done to does not stand where this can be done. `state` says where it stands.

    `targets`: (kind, key) of all that stand so, where it is done to several at once.
    """

    def __init__(self, state: str, targets: Sequence[tuple[str, object]] = ()) -> None:
        super().__init__(state)
        self.state = state
        self.targets = targets


class LimitReached(Refusal):
    """As often, or as much, as the period allows."""

    def __init__(
        self, limit: int, period: LimitPeriod, available_again_at: datetime | None
    ) -> None:
        super().__init__(f"{limit} per {period}")
        self.limit = limit
        self.period = period
        self.available_again_at = available_again_at


class IdempotencyConflict(Refusal):
    """The key was used before, for something else."""

    def __init__(self, key: str) -> None:
        super().__init__(key)
        self.key = key


class VerificationRequired(Refusal):
    """A person has to prove to be one first."""

    def __init__(self, provider: str, site_key: str | None) -> None:
        super().__init__(provider)
        self.provider = provider
        self.site_key = site_key


class MemberSuspended(Refusal):
    """The member may not earn or spend until then."""

    def __init__(self, until: datetime) -> None:
        super().__init__(until.isoformat())
        self.until = until
