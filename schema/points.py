"""Balances, lots, expiry and history."""

from collections.abc import Awaitable, Callable
from datetime import date, datetime

import strawberry

from models.points import PointsAction, PointsRecordStatus
from schema.context import Info
from schema.ids import encode_id
from schema.node import Node, PageInfo, page_info
from schema.scalars import Points
from services import messages
from services.errors import Unauthenticated
from services.paging import Page, require_page_size
from services.points import balance as balance_service
from services.points import expiry_summary as summary_service
from services.points.account import Entry, Lot
from services.points.extend import offer_of
from services.points.lots import lots_position

strawberry.enum(PointsRecordStatus)
strawberry.enum(PointsAction)


@strawberry.type
class ExtensionOffer:
    """What moving the end of a lot costs, and when it would end then."""

    fee: Points
    expires_at: datetime


@strawberry.type(description="One grant of points with its own expiry: a lot.")
class PointsRecord(Node):
    """A lot."""

    points: Points = strawberry.field(description="Points left in the lot.")
    original_points: Points = strawberry.field(description="Points first granted.")
    source: str
    source_reference: str | None
    status: PointsRecordStatus
    expires_at: datetime | None
    created_at: datetime
    lot: strawberry.Private[Lot]

    @strawberry.field(
        description="What extending this lot once would cost and give; null where it cannot be"
        " extended."
    )
    def extension_offer(self, info: Info) -> ExtensionOffer | None:
        """Decided on the lot as it was read."""
        offer = offer_of(self.lot, info.context.now(), info.context.mall.zone)
        return offer and ExtensionOffer(fee=offer.fee, expires_at=offer.expires_at)

    @classmethod
    def of(cls, lot: Lot) -> "PointsRecord":
        """The contract's view of a lot."""
        return cls(
            id=encode_id("PointsRecord", lot.id),
            points=lot.points,
            original_points=lot.original_points,
            source=lot.source,
            source_reference=lot.source_reference,
            status=lot.status,
            expires_at=lot.expires_at,
            created_at=lot.created_at,
            lot=lot,
        )


@strawberry.type
class PointsRecordEdge:
    """A lot in a list."""

    cursor: str
    node: PointsRecord


@strawberry.type
class PointsRecordConnection:
    """A page of lots."""

    edges: list[PointsRecordEdge]
    nodes: list[PointsRecord]
    page_info: PageInfo
    count: strawberry.Private[Callable[[], Awaitable[int]]]

    @strawberry.field
    async def total_count(self) -> int:
        """Counted only when it is asked for."""
        return await self.count()

    @classmethod
    def of(cls, page: Page[Lot], count: Callable[[], Awaitable[int]]) -> "PointsRecordConnection":
        """The contract's view of a page of lots."""
        nodes = [PointsRecord.of(lot) for lot in page.rows]
        edges = [
            PointsRecordEdge(cursor=c, node=n) for c, n in zip(page.cursors, nodes, strict=True)
        ]
        return cls(edges=edges, nodes=nodes, page_info=page_info(page), count=count)


@strawberry.type
class Balance:
    """What a member has."""

    available: Points = strawberry.field(
        description="Points that can be spent now: active lots that have not expired."
    )
    pending: Points = strawberry.field(description="Points granted but held back.")
    expiring_soon: Points = strawberry.field(
        description="Available points that expire within 7 days."
    )
    lifetime_earned: Points
    lifetime_redeemed: Points
    user_id: strawberry.Private[int]

    @strawberry.field(description="Lots with points left, soonest expiry first.")
    async def lots(
        self, info: Info, first: int | None = 20, after: str | None = None
    ) -> PointsRecordConnection:
        """Raises BadInput for a bad page size or cursor."""
        loaders, size = info.context.loaders, require_page_size(first)
        position = None if after is None else lots_position(after)

        async def count() -> int:
            return await loaders.lot_count.load(self.user_id) or 0

        page = await loaders.lots.load((self.user_id, size, position))
        return PointsRecordConnection.of(page, count)

    @classmethod
    def of(cls, balance: balance_service.Balance) -> "Balance":
        """The contract's view of a balance."""
        return cls(
            available=balance.available,
            pending=balance.pending,
            expiring_soon=balance.expiring_soon,
            lifetime_earned=balance.lifetime_earned,
            lifetime_redeemed=balance.lifetime_redeemed,
            user_id=balance.user_id,
        )


async def load_balance(info: Info, user_id: int) -> Balance:
    """The user's balance as it is now; raises Unauthenticated when the user is gone."""
    balance = await info.context.loaders.balance.load(user_id)
    if balance is None:
        raise Unauthenticated
    return Balance.of(balance)


@strawberry.type
class ExpiringPoints:
    """Points that end on one day."""

    date: date
    points: Points


@strawberry.type
class ExpirySummary:
    """What a member is about to lose."""

    days: int
    expiring_points: Points = strawberry.field(description="0 when nothing expires within `days`.")
    earliest_expiry: datetime | None
    days_until_expiry: int | None = strawberry.field(
        description="Whole days until the earliest expiry."
    )
    upcoming: list[ExpiringPoints] = strawberry.field(
        description="Every day in the window on which points expire, soonest first."
    )
    warning: str | None = strawberry.field(
        description="Ready to show on the home page; null when nothing expires within 7 days."
    )

    @classmethod
    def of(cls, summary: summary_service.ExpirySummary, locale: str) -> "ExpirySummary":
        """The contract's view of a summary, its warning in the member's language."""
        return cls(
            days=summary.days,
            expiring_points=summary.expiring_points,
            earliest_expiry=summary.earliest_expiry,
            days_until_expiry=summary.days_until_expiry,
            upcoming=[ExpiringPoints(date=d.date, points=d.points) for d in summary.upcoming],
            warning=_warning(summary.next_soon, locale),
        )


def _warning(soon: summary_service.ExpiringPoints | None, locale: str) -> str | None:
    if soon is None:
        return None
    return messages.message(
        locale,
        "{points} points expire on {date}: use them before they are gone.",
        points=soon.points,
        date=soon.date,
    )


@strawberry.type(description="One change of a balance, as the audit log keeps it.")
class PointsChange(Node):
    """A row of the audit log."""

    action: PointsAction
    amount: Points
    points_before: Points
    points_after: Points
    source: str | None
    reference: str | None
    created_at: datetime
    created_by: str

    @classmethod
    def of(cls, entry: Entry) -> "PointsChange":
        """The contract's view of a row of the audit log."""
        return cls(
            id=encode_id("PointsChange", f"{entry.user_id}-{entry.sequence}"),
            action=entry.action,
            amount=entry.amount,
            points_before=entry.points_before,
            points_after=entry.points_after,
            source=entry.source,
            reference=entry.reference,
            created_at=entry.created_at,
            created_by=entry.created_by,
        )


@strawberry.type
class PointsChangeEdge:
    """A change in a list."""

    cursor: str
    node: PointsChange


@strawberry.type
class PointsChangeConnection:
    """A page of changes."""

    edges: list[PointsChangeEdge]
    nodes: list[PointsChange]
    page_info: PageInfo

    @classmethod
    def of(cls, page: Page[Entry]) -> "PointsChangeConnection":
        """The contract's view of a page of changes."""
        nodes = [PointsChange.of(entry) for entry in page.rows]
        edges = [
            PointsChangeEdge(cursor=c, node=n) for c, n in zip(page.cursors, nodes, strict=True)
        ]
        return cls(edges=edges, nodes=nodes, page_info=page_info(page))


@strawberry.type
class RunExpirySuccess:
    """What settling all due lots did."""

    expired_records: int
    expired_points: Points
