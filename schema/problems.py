"""Expected refusals: one type for each, and the table that says which error becomes which."""

from collections.abc import Callable, Mapping
from datetime import datetime
from enum import Enum
from typing import Any

import strawberry

from models.catalogue import LimitPeriod
from schema.broken_rules import broken_rule
from schema.catalogue import ExchangeItem
from schema.ids import encode_id
from schema.profile_texts import what_is_wrong
from schema.scalars import Points
from schema.sharing_texts import why_no_more_links, why_not_accepted
from schema.task_refusals import why_refused
from services import errors, idempotency
from services.catalogue import adjust_stock, items
from services.exchange import rewards
from services.kpis import satisfaction
from services.messages import message
from services.points import ledger
from services.sharing import create, invite
from services.tasks import events, rules
from services.tasks.rules import TaskRefusal
from services.users import update_profile

strawberry.enum(TaskRefusal)


@strawberry.enum
class ProblemCode(Enum):
    """Why a request was refused."""

    NOT_FOUND = "NOT_FOUND"
    INVALID_INPUT = "INVALID_INPUT"
    INSUFFICIENT_POINTS = "INSUFFICIENT_POINTS"
    OUT_OF_STOCK = "OUT_OF_STOCK"
    ITEM_UNAVAILABLE = "ITEM_UNAVAILABLE"
    LIMIT_REACHED = "LIMIT_REACHED"
    TASK_NOT_COMPLETABLE = "TASK_NOT_COMPLETABLE"
    IDEMPOTENCY_CONFLICT = "IDEMPOTENCY_CONFLICT"
    INVALID_STATE = "INVALID_STATE"
    VERIFICATION_REQUIRED = "VERIFICATION_REQUIRED"
    MEMBER_SUSPENDED = "MEMBER_SUSPENDED"


@strawberry.interface(
    description="Why a request was refused although it was well formed. Nothing has changed"
    " when one is returned."
)
class Problem:
    """What all refusals share."""

    code: ProblemCode
    message: str = strawberry.field(description="Written for the member, in the member's language.")


@strawberry.type
class NotFound(Problem):
    """An id that names nothing, or nothing of this user's."""

    id: strawberry.ID

    @classmethod
    def of(cls, error: errors.NotFound, locale: str) -> "NotFound":
        """The contract's view of the error."""
        return cls(
            code=ProblemCode.NOT_FOUND,
            message=message(locale, "This does not exist."),
            id=encode_id(error.kind, error.key),
        )


@strawberry.type
class InvalidInput(Problem):
    """A value that breaks a rule."""

    field: list[str] = strawberry.field(description="Path into the input.")

    @classmethod
    def of(cls, error: errors.InvalidInput, locale: str) -> "InvalidInput":
        """The contract's view of the error."""
        text = _what_is_invalid(error, locale)
        return cls(code=ProblemCode.INVALID_INPUT, message=text, field=list(error.field))


def _what_is_invalid(error: errors.InvalidInput, locale: str) -> str:
    match error:
        case rewards.ShippingNeeded():
            return message(locale, "The recipient, phone and address are needed.")
        case rewards.TextTooLong():
            return message(
                locale, "This takes at most {longest} characters.", longest=error.longest
            )
        case idempotency.KeyInvalid():
            return message(
                locale, "The key needs 1 to {longest} characters.", longest=idempotency.LONGEST_KEY
            )
        case events.TooManyEvents():
            return message(
                locale, "At most {most} events fit one call.", most=events.MOST_EVENTS_A_CALL
            )
        case update_profile.ProfileInvalid():
            return what_is_wrong(error, locale)
        case _:
            return broken_rule(error, locale)


@strawberry.type
class InsufficientPoints(Problem):
    """The member cannot pay for it."""

    required: Points
    available: Points

    @classmethod
    def of(cls, error: ledger.InsufficientPoints, locale: str) -> "InsufficientPoints":
        """The contract's view of the error."""
        return cls(
            code=ProblemCode.INSUFFICIENT_POINTS,
            message=message(
                locale,
                "You need {required} points and have {available}.",
                required=error.required,
                available=error.available,
            ),
            required=error.required,
            available=error.available,
        )


@strawberry.type
class OutOfStock(Problem):
    """The last unit is gone."""

    item: ExchangeItem

    @classmethod
    def of(cls, error: items.OutOfStock, locale: str) -> "OutOfStock":
        """The contract's view of the error."""
        text = message(locale, "This item is sold out.")
        if isinstance(error, adjust_stock.NotEnoughStock):
            text = message(locale, "Only {stock} of this are left.", stock=error.item.stock)
        return cls(code=ProblemCode.OUT_OF_STOCK, message=text, item=ExchangeItem.of(error.item))


@strawberry.type
class ItemUnavailable(Problem):
    """The item is not on sale now."""

    item: ExchangeItem

    @classmethod
    def of(cls, error: items.ItemUnavailable, locale: str) -> "ItemUnavailable":
        """The contract's view of the error."""
        return cls(
            code=ProblemCode.ITEM_UNAVAILABLE,
            message=message(locale, "This item cannot be exchanged right now."),
            item=ExchangeItem.of(error.item),
        )


@strawberry.type
class LimitReached(Problem):
    """As often, or as much, as the period allows."""

    limit: int
    period: LimitPeriod
    available_again_at: datetime | None

    @classmethod
    def of(cls, error: errors.LimitReached, locale: str) -> "LimitReached":
        """The contract's view of the error."""
        if isinstance(error, rules.TaskCapReached):
            text = message(locale, "You have earned as many points from tasks as you can for now.")
        elif isinstance(error, create.ShareCapReached):
            text = why_no_more_links(error, locale)
        elif isinstance(error, satisfaction.AnswerCapReached):
            text = message(locale, "You have told us often enough today. Thank you!")
        else:
            text = message(locale, "You have reached the limit for this item.")
        return cls(
            code=ProblemCode.LIMIT_REACHED,
            message=text,
            limit=error.limit,
            period=error.period,
            available_again_at=error.available_again_at,
        )


@strawberry.type
class TaskNotCompletable(Problem):
    """The task cannot be completed by this member now."""

    reason: TaskRefusal
    available_again_at: datetime | None

    @classmethod
    def of(cls, error: rules.TaskNotCompletable, locale: str) -> "TaskNotCompletable":
        """The contract's view of the error."""
        return cls(
            code=ProblemCode.TASK_NOT_COMPLETABLE,
            message=why_refused(error, locale),
            reason=error.reason,
            available_again_at=error.available_again_at,
        )


@strawberry.type(
    description="The key was used before with different input, or its first use is still in flight."
)
class IdempotencyConflict(Problem):
    """The key belongs to another request."""

    idempotency_key: str

    @classmethod
    def of(cls, error: errors.IdempotencyConflict, locale: str) -> "IdempotencyConflict":
        """The contract's view of the error."""
        text = message(locale, "This key was used before for something else.")
        return cls(code=ProblemCode.IDEMPOTENCY_CONFLICT, message=text, idempotency_key=error.key)


@strawberry.type
class InvalidState(Problem):
    """It stands where this cannot be done (any more)."""

    state: str
    target_ids: list[strawberry.ID] = strawberry.field(
        description="All that stand where it cannot be done, if it was to be done to several."
    )

    @classmethod
    def of(cls, error: errors.InvalidState, locale: str) -> "InvalidState":
        """The contract's view of the error."""
        text = message(locale, "This cannot be done in its present state.")
        if isinstance(error, invite.InviteNotAcceptable):
            text = why_not_accepted(error, locale)
        targets = [encode_id(*target) for target in error.targets]
        code = ProblemCode.INVALID_STATE
        return cls(code=code, message=text, state=error.state, target_ids=targets)


@strawberry.type
class VerificationRequired(Problem):
    """A captcha has to be solved first."""

    provider: str
    site_key: str | None

    @classmethod
    def of(cls, error: errors.VerificationRequired, locale: str) -> "VerificationRequired":
        """The contract's view of the error."""
        return cls(
            code=ProblemCode.VERIFICATION_REQUIRED,
            message=message(locale, "Please prove that you are human first."),
            provider=error.provider,
            site_key=error.site_key,
        )


@strawberry.type
class MemberSuspended(Problem):
    """The member may not earn or spend until then."""

    until: datetime | None

    @classmethod
    def of(cls, error: errors.MemberSuspended, locale: str) -> "MemberSuspended":
        """The contract's view of the error."""
        text = message(locale, "Your account is suspended.")
        return cls(code=ProblemCode.MEMBER_SUSPENDED, message=text, until=error.until)


PROBLEMS: Mapping[type[errors.Refusal], Callable[[Any, str], Problem]] = {
    errors.NotFound: NotFound.of,
    errors.InvalidInput: InvalidInput.of,
    errors.InvalidState: InvalidState.of,
    errors.LimitReached: LimitReached.of,
    errors.IdempotencyConflict: IdempotencyConflict.of,
    errors.VerificationRequired: VerificationRequired.of,
    errors.MemberSuspended: MemberSuspended.of,
    ledger.InsufficientPoints: InsufficientPoints.of,
    items.OutOfStock: OutOfStock.of,
    items.ItemUnavailable: ItemUnavailable.of,
    rules.TaskNotCompletable: TaskNotCompletable.of,
}
"""Which type of the contract tells a member of which error."""


def problem_of(refusal: errors.Refusal, locale: str) -> Problem:
    """The contract's view of a refusal, its message in the member's language."""
    kinds = (kind for kind in type(refusal).__mro__ if kind in PROBLEMS)
    return PROBLEMS[next(kinds)](refusal, locale)
