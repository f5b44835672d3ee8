"""Points that others grant, take back and correct, and lots that members extend."""

from datetime import datetime
from typing import Annotated

import strawberry

from schema.points import Balance, PointsChange, PointsRecord
from schema.problems import (
    IdempotencyConflict,
    InsufficientPoints,
    InvalidInput,
    InvalidState,
    MemberSuspended,
    NotFound,
)
from schema.scalars import Points


@strawberry.input
class GrantPointsInput:
    """`source` and `reference` together name the grant, so that it can be taken back."""

    user_id: strawberry.ID
    points: Points
    source: str
    reference: str | None = None
    expires_at: datetime | None = None
    available_at: datetime | None = strawberry.field(
        default=None, description="Held back until then; the default end is counted from it."
    )
    idempotency_key: str


@strawberry.type
class GrantPointsSuccess:
    """Points that were granted."""

    points_record: PointsRecord
    balance: Balance
    replayed: bool


GrantPointsResult = Annotated[
    GrantPointsSuccess | NotFound | InvalidInput | IdempotencyConflict,
    strawberry.union("GrantPointsResult"),
]


@strawberry.input(
    description="Takes back (part of) a grant, when the purchase behind it was refunded."
)
class ReverseGrantInput:
    """Without `points`: all that is left of the grant."""

    source: str
    reference: str
    points: Points | None = None
    idempotency_key: str


@strawberry.type
class ReverseGrantSuccess:
    """A grant that was taken back."""

    reversed_points: Points
    owed_points: Points = strawberry.field(
        description="Already spent, so owed: taken from the next grants."
    )
    balance: Balance
    replayed: bool


ReverseGrantResult = Annotated[
    ReverseGrantSuccess | NotFound | InvalidInput | IdempotencyConflict,
    strawberry.union("ReverseGrantResult"),
]


@strawberry.input
class AdjustPointsInput:
    """Above 0 gives, below 0 takes; always with a reason."""

    user_id: strawberry.ID
    points: Points
    reason: str
    idempotency_key: str


@strawberry.type
class AdjustPointsSuccess:
    """A correction that was made."""

    change: PointsChange
    balance: Balance
    replayed: bool


AdjustPointsResult = Annotated[
    AdjustPointsSuccess | NotFound | InvalidInput | InsufficientPoints | IdempotencyConflict,
    strawberry.union("AdjustPointsResult"),
]


@strawberry.input
class ExtendPointsInput:
    """Which lot."""

    points_record_id: strawberry.ID
    idempotency_key: str


@strawberry.type
class ExtendPointsSuccess:
    """A lot whose end was moved."""

    points_record: PointsRecord
    previous_expires_at: datetime
    fee: Points
    balance: Balance
    replayed: bool


ExtendPointsResult = Annotated[
    ExtendPointsSuccess
    | NotFound
    | InvalidState
    | InsufficientPoints
    | IdempotencyConflict
    | MemberSuspended,
    strawberry.union("ExtendPointsResult"),
]
