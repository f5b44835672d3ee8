"""Points that are held until an operator decides, as operators see them."""

from datetime import datetime
from typing import Annotated

import strawberry

from models.points import HoldReason
from schema.context import Info
from schema.node import PageInfo, page_info
from schema.points import Balance, PointsRecord
from schema.problems import IdempotencyConflict, InvalidInput, InvalidState, NotFound
from schema.scalars import Points
from schema.users import User
from services.paging import Page
from services.points.account import Lot

strawberry.enum(
    HoldReason,
    name="HoldReason",
    description="Why points are held: gained too fast, by too many invites in an hour, or by a"
    " member whose device many members use.",
)


@strawberry.type(description="Points of a member that count only when an operator releases them.")
class HeldPoints:
    """A lot that is held."""

    points_record: PointsRecord
    points: Points
    reason: HoldReason
    held_at: datetime
    user_id: strawberry.Private[int]

    @strawberry.field(description="Whose they are.")
    async def user(self, info: Info) -> User | None:
        """Batched over all of the page."""
        user = await info.context.loaders.user.load(self.user_id)
        return user and User.of(user)

    @classmethod
    def of(cls, lot: Lot) -> "HeldPoints":
        """The contract's view of a lot that is held."""
        assert lot.hold_reason is not None  # noqa: S101 - else it is not held
        return cls(
            points_record=PointsRecord.of(lot),
            points=lot.points,
            reason=HoldReason(lot.hold_reason),
            held_at=lot.created_at,
            user_id=lot.user_id,
        )


@strawberry.type
class HeldPointsEdge:
    """Held points in a list."""

    cursor: str
    node: HeldPoints


@strawberry.type
class HeldPointsConnection:
    """A page of held points."""

    edges: list[HeldPointsEdge]
    nodes: list[HeldPoints]
    page_info: PageInfo

    @classmethod
    def of(cls, page: Page[Lot]) -> "HeldPointsConnection":
        """The contract's view of a page of lots that are held."""
        nodes = [HeldPoints.of(lot) for lot in page.rows]
        edges = [HeldPointsEdge(cursor=c, node=n) for c, n in zip(page.cursors, nodes, strict=True)]
        return cls(edges=edges, nodes=nodes, page_info=page_info(page))


@strawberry.input
class DecideHeldPointsInput:
    """Which points, and why: 1 to 500 characters."""

    points_record_id: strawberry.ID
    reason: str
    idempotency_key: str


@strawberry.input
class DecideManyHeldPointsInput:
    """Which points, and why: 1 to 500 characters."""

    points_record_ids: list[strawberry.ID] | None = strawberry.field(
        default=None, description="1 to 100 lots. Either these or a member."
    )
    user_id: strawberry.ID | None = strawberry.field(
        default=None, description="All that this member has that are held, seen or not."
    )
    reason: str
    idempotency_key: str


@strawberry.type
class DecideManyHeldPointsSuccess:
    """What was decided on, in one step."""

    decided_records: int
    decided_points: Points
    has_more: bool = strawberry.field(
        description="Whether the member had even more that were held: then 1,000 were decided on,"
        " the oldest. Ask again, under another key."
    )
    replayed: bool


@strawberry.type
class DecideHeldPointsSuccess:
    """The points as they stand now."""

    points_record: PointsRecord
    balance: Balance
    replayed: bool


DecideHeldPointsResult = Annotated[
    DecideHeldPointsSuccess | NotFound | InvalidInput | InvalidState | IdempotencyConflict,
    strawberry.union("DecideHeldPointsResult"),
]

DecideManyHeldPointsResult = Annotated[
    DecideManyHeldPointsSuccess | NotFound | InvalidInput | InvalidState | IdempotencyConflict,
    strawberry.union("DecideManyHeldPointsResult"),
]
