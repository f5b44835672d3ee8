"""Exchanges as their member sees them: pages, rewards, and the lots that paid."""

from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import RowMapping, select, text, tuple_
from sqlalchemy.ext.asyncio import AsyncSession

from models.exchange import CouponStatus, ExchangeStatus, UserCoupon, UserVip
from models.exchange import Exchange as ExchangeTable
from models.exchange import Shipment as ShipmentTable
from services.bulk import among
from services.exchange.decide import Exchange
from services.exchange.rewards import Coupon, ManualDelivery, Reward, Shipment, VipMembership
from services.paging import Page, decode_cursor, encode_cursor, page_of
from services.points.account import Draw

_ORDER = "exchanges"
_EXCHANGE = (
    ExchangeTable.id,
    ExchangeTable.user_id,
    ExchangeTable.item_id,
    ExchangeTable.audit_sequence,
    ExchangeTable.points,
    ExchangeTable.status,
    ExchangeTable.created_at,
    ExchangeTable.updated_at,
)
_COUPON = (
    UserCoupon.id,
    UserCoupon.user_id,
    UserCoupon.exchange_id,
    UserCoupon.code,
    UserCoupon.status,
    UserCoupon.expires_at,
    UserCoupon.created_at,
)


def _exchange(row: RowMapping) -> Exchange:
    return Exchange(**dict[str, Any](row, status=ExchangeStatus(row["status"])))


def _coupon(row: Any, now: datetime) -> Coupon:
    """A coupon past its end shows as expired, whether or not a job has noted it."""
    is_over = row.status == CouponStatus.ACTIVE and row.expires_at <= now
    return Coupon(
        id=row.id,
        user_id=row.user_id,
        exchange_id=row.exchange_id,
        code=row.code,
        status=CouponStatus.EXPIRED if is_over else CouponStatus(row.status),
        expires_at=row.expires_at,
        created_at=row.created_at,
    )


async def exchanges_page(
    session: AsyncSession,
    user_id: int,
    *,
    size: int,
    after: str | None,
    status: ExchangeStatus | None,
) -> Page[Exchange]:
    """The user's exchanges, newest first. Raises BadInput for a bad cursor."""
    key = tuple_(ExchangeTable.created_at, ExchangeTable.id)
    statement = select(*_EXCHANGE).where(ExchangeTable.user_id == user_id)
    if status is not None:
        statement = statement.where(ExchangeTable.status == status)
    if after is not None:
        statement = statement.where(key < decode_cursor(after, _ORDER, datetime, UUID))
    newest_first = (ExchangeTable.created_at.desc(), ExchangeTable.id.desc())
    rows = await session.execute(statement.order_by(*newest_first).limit(size + 1))
    exchanges = [_exchange(row) for row in rows.mappings()]
    return page_of(exchanges, size, _cursor_of, has_previous=after is not None)


def _cursor_of(exchange: Exchange) -> str:
    return encode_cursor(_ORDER, exchange.created_at, exchange.id)


async def exchanges_by_id(
    session: AsyncSession, exchange_ids: Iterable[UUID]
) -> dict[UUID, Exchange]:
    """Those of `exchange_ids` that exist, whoever made them."""
    rows = await session.execute(select(*_EXCHANGE).where(among(ExchangeTable.id, exchange_ids)))
    return {row["id"]: _exchange(row) for row in rows.mappings()}


async def rewards_by_exchange(
    session: AsyncSession, exchange_ids: Iterable[UUID], now: datetime
) -> dict[UUID, Reward]:
    """What each exchange gave, in one statement."""
    statement = (
        select(
            ExchangeTable.id,
            ExchangeTable.vip_level,
            ExchangeTable.vip_expires_at,
            ExchangeTable.delivery_note,
            ShipmentTable,
            UserCoupon,
        )
        .outerjoin(UserCoupon, UserCoupon.exchange_id == ExchangeTable.id)
        .outerjoin(ShipmentTable, ShipmentTable.exchange_id == ExchangeTable.id)
        .where(among(ExchangeTable.id, exchange_ids))
    )
    return {row.id: _reward(row, now) for row in await session.execute(statement)}


def _reward(row: Any, now: datetime) -> Reward:
    if row.UserCoupon is not None:
        return _coupon(row.UserCoupon, now)
    if row.vip_level is not None:
        return VipMembership(row.vip_level, row.vip_expires_at)
    if (sent := row.Shipment) is not None:
        return Shipment(
            sent.recipient, sent.phone, sent.address, sent.carrier, sent.tracking_number
        )
    return ManualDelivery(row.delivery_note or "")


_DRAWS = text(
    """
    SELECT draw.user_id, draw.sequence, draw.position, draw.points_record_id, draw.points,
           lot.expires_at
    FROM unnest(CAST(:user_ids AS bigint[]), CAST(:sequences AS integer[]))
        AS payment(user_id, sequence)
    JOIN lot_draws draw USING (user_id, sequence)
    JOIN points_records lot ON lot.id = draw.points_record_id
    ORDER BY draw.user_id, draw.sequence, draw.position
    """
)


async def draws_by_payment(
    session: AsyncSession, payments: Sequence[tuple[int, int]]
) -> dict[tuple[int, int], list[Draw]]:
    """The lots that paid, in the order they were drawn, by (user id, number of the change)."""
    parameters = {
        "user_ids": [user_id for user_id, _ in payments],
        "sequences": [sequence for _, sequence in payments],
    }
    draws: dict[tuple[int, int], list[Draw]] = {payment: [] for payment in payments}
    for row in await session.execute(_DRAWS, parameters):
        draws[row.user_id, row.sequence].append(Draw(*row))
    return draws


async def coupons_by_id(
    session: AsyncSession, coupon_ids: Iterable[UUID], now: datetime
) -> dict[UUID, Coupon]:
    """Those of `coupon_ids` that exist, whoever holds them."""
    rows = await session.execute(select(*_COUPON).where(among(UserCoupon.id, coupon_ids)))
    return {row.id: _coupon(row, now) for row in rows}


async def memberships(
    session: AsyncSession, user_ids: Iterable[int], now: datetime
) -> dict[int, list[VipMembership]]:
    """The running memberships of each user, highest level first."""
    asked = list(user_ids)
    statement = (
        select(UserVip)
        .where(among(UserVip.user_id, asked), UserVip.expires_at > now)
        .order_by(UserVip.user_id, UserVip.level.desc())
    )
    held: dict[int, list[VipMembership]] = {user_id: [] for user_id in asked}
    for row in (await session.execute(statement)).scalars():
        held[row.user_id].append(VipMembership(row.level, row.expires_at))
    return held
