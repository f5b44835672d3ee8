"""Moving exchanges on: shipped, completed, cancelled (`domain.md`, Exchange, States).

Set-based like every movement: the users are locked, then everything else is read, then decided
on by `services.exchange.states`, then written at once.
"""

from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from typing import Any
from uuid import UUID
from zoneinfo import ZoneInfo

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncSession

from models.catalogue import ExchangeItem
from models.exchange import CouponStatus, ExchangeStatus, UserCoupon, UserVip
from models.exchange import Exchange as ExchangeTable
from models.exchange import Shipment as ShipmentTable
from services.bulk import Writes
from services.calendar import Clock, local_day
from services.catalogue.items import Item, lock_items
from services.catalogue.restock import note_restock
from services.errors import Refusal
from services.exchange.decide import Exchange
from services.exchange.history import draws_by_payment
from services.exchange.states import Membership, Standing, Step, Stepped, take_step
from services.operators import note_action
from services.points.account import Account
from services.points.accounts import load_lots, load_lots_by_id, lock_accounts, save_accounts
from services.points.owed_grants import load_owed_grants, save_lapsed
from services.points.returns import Payment

_OWNERS = text("SELECT id, user_id FROM exchanges WHERE id = ANY(CAST(:ids AS uuid[]))")
_READ = text(
    """
    SELECT exchange.id, exchange.user_id, exchange.item_id, exchange.audit_sequence,
           exchange.points, exchange.status, exchange.created_at, exchange.updated_at,
           coupon.id AS coupon_id, coupon.status AS coupon_status,
           coupon.expires_at AS coupon_expires_at, exchange.vip_level,
           EXISTS (SELECT FROM coupon_codes WHERE exchange_id = exchange.id) AS from_pool
    FROM exchanges exchange LEFT JOIN user_coupons coupon ON coupon.exchange_id = exchange.id
    WHERE exchange.id = ANY(CAST(:ids AS uuid[]))
    """
)
_MEMBERSHIPS = text(
    """
    SELECT user_id, id, vip_level, vip_days, vip_expires_at, audit_sequence
    FROM exchanges
    JOIN unnest(CAST(:user_ids AS bigint[]), CAST(:levels AS smallint[]))
        AS held(user_id, vip_level) USING (user_id, vip_level)
    WHERE status <> 'cancelled'
    ORDER BY user_id, audit_sequence
    """
)
_UNCOUNT = text(
    """
    UPDATE item_daily_exchanges counted SET exchanges = counted.exchanges - gone.exchanges
    FROM unnest(CAST(:days AS date[]), CAST(:item_ids AS bigint[]), CAST(:counts AS integer[]))
        AS gone(day, item_id, exchanges)
    WHERE counted.day = gone.day AND counted.item_id = gone.item_id
    """
)
# A membership of which nothing is left has no row; `ledger verify` holds it to its exchanges.
_DROP_MEMBERSHIPS = text(
    """
    DELETE FROM user_vip held
    USING unnest(CAST(:user_ids AS bigint[]), CAST(:levels AS smallint[])) AS gone(user_id, level)
    WHERE held.user_id = gone.user_id AND held.level = gone.level
    """
)
_STEPPED = (
    "id",
    "status",
    "updated_at",
    "cancelled_at",
    "cancel_reason",
    "refunded_points",
    "lapsed_points",
)
Memberships = Mapping[tuple[int, int], Sequence[Membership]]
"""By (user id, level) that a cancellation shortens: what each exchange added, in their order."""


async def step_exchanges(
    session: AsyncSession, steps: Sequence[Step], *, clock: Clock, zone: ZoneInfo
) -> list[Stepped | Refusal]:
    """Move exchanges on, each whole or refused, in one transaction; one outcome a step, in order.

    Cancelling puts points back into the lots that paid, stock back (a code of a pool stays
    issued), revokes the coupon and shortens the membership. What operators do is noted.
    """
    ids = sorted({step.exchange_id for step in steps})
    owners = {row.id: row.user_id for row in await session.execute(_OWNERS, {"ids": ids})}
    accounts = await lock_accounts(session, owners.values())
    now = clock()
    rows = (await session.execute(_READ, {"ids": ids})).all()
    cancelled = {step.exchange_id for step in steps if step.status is ExchangeStatus.CANCELLED}
    memberships = await _memberships(session, (row for row in rows if row.id in cancelled))
    standings = await _read(session, rows, accounts, memberships, now)
    items = await lock_items(session, _items_to_restock(standings, cancelled))
    outcomes: list[Stepped | Refusal] = []
    for step in steps:
        try:
            outcomes.append(take_step(standings.get(step.exchange_id), step, now))
        except Refusal as refusal:
            outcomes.append(refusal)
    moved = [standing for standing in standings.values() if standing.steps]
    await _save(session, moved, items, memberships, now, zone)
    return outcomes


def _items_to_restock(standings: Mapping[UUID, Standing], cancelled: Collection[UUID]) -> set[int]:
    return {
        standing.exchange.item_id
        for exchange_id, standing in standings.items()
        if exchange_id in cancelled and not standing.from_pool
    }


async def _memberships(session: AsyncSession, to_cancel: Iterable[Any]) -> Memberships:
    held = {(row.user_id, row.vip_level) for row in to_cancel if row.vip_level is not None}
    found: dict[tuple[int, int], list[Membership]] = {}
    if not held:  # a member may have years of memberships: read only for who loses days of one
        return found
    user_ids, levels = zip(*sorted(held), strict=True)
    for row in await session.execute(_MEMBERSHIPS, {"user_ids": user_ids, "levels": levels}):
        membership = Membership(
            row.id, row.vip_level, row.vip_days, row.vip_expires_at, row.audit_sequence
        )
        found.setdefault((row.user_id, row.vip_level), []).append(membership)
    return found


async def _read(
    session: AsyncSession,
    rows: Sequence[Any],
    accounts: Mapping[int, Account],
    memberships: Memberships,
    now: datetime,
) -> dict[UUID, Standing]:
    await load_lots(session, accounts, {}, now)
    draws = await draws_by_payment(session, [(row.user_id, row.audit_sequence) for row in rows])
    drawn = {draw.points_record_id for paid in draws.values() for draw in paid}
    lots = await load_lots_by_id(session, accounts, drawn)
    grants = await load_owed_grants(session, accounts.values(), lots.values(), now)
    standings: dict[UUID, Standing] = {}
    for row in rows:
        paid = draws[row.user_id, row.audit_sequence]
        standing = Standing(
            exchange=_exchange(row),
            account=accounts[row.user_id],
            payment=Payment(
                [(lots[draw.points_record_id], draw.points) for draw in paid],
                row.created_at,
                grants,
            ),
            coupon=_coupon(row),
            from_pool=row.from_pool,
        )
        _add_membership(standing, memberships.get((row.user_id, row.vip_level), ()))
        standings[row.id] = standing
    return standings


def _exchange(row: Any) -> Exchange:
    return Exchange(
        id=row.id,
        user_id=row.user_id,
        item_id=row.item_id,
        audit_sequence=row.audit_sequence,
        points=row.points,
        status=ExchangeStatus(row.status),
        created_at=row.created_at,
        updated_at=row.updated_at,
    )


def _coupon(row: Any) -> tuple[UUID, CouponStatus, datetime] | None:
    if row.coupon_id is None:
        return None
    return (row.coupon_id, CouponStatus(row.coupon_status), row.coupon_expires_at)


def _add_membership(standing: Standing, of_level: Sequence[Membership]) -> None:
    for number, membership in enumerate(of_level):
        if membership.exchange_id == standing.exchange.id:
            standing.membership = membership
            standing.later_memberships = of_level[number + 1 :]


async def _save(
    session: AsyncSession,
    moved: Sequence[Standing],
    items: Mapping[int, Item],
    memberships: Memberships,
    now: datetime,
    zone: ZoneInfo,
) -> None:
    if not moved:
        return
    writes = Writes()
    accounts = {standing.account.user_id: standing.account for standing in moved}
    save_accounts(writes, accounts.values(), zone)
    save_lapsed(writes, (standing.payment for standing in moved))
    writes.update(ExchangeTable, _STEPPED, [_stepped_row(standing) for standing in moved])
    _save_shipments(writes, moved)
    cancelled = [standing for standing in moved if standing.refund is not None]
    back = Counter(c.exchange.item_id for c in cancelled if not c.from_pool)
    restocked = [replace(items[key], stock=items[key].stock + back[key]) for key in sorted(back)]
    writes.update(ExchangeItem, ("id", "stock"), [(item.id, item.stock) for item in restocked])
    await note_restock(session, writes, [(items[item.id], item) for item in restocked], now)
    coupons = [(c.coupon[0], c.coupon[1]) for c in cancelled if c.coupon is not None]
    writes.update(UserCoupon, ("id", "status"), coupons)
    _note_operators(writes, moved, now)
    await writes.flush(session)
    await _save_memberships(session, cancelled, memberships)
    await _uncount(session, cancelled, zone)


def _stepped_row(standing: Standing) -> tuple[Any, ...]:
    exchange, refund, last = standing.exchange, standing.refund, standing.steps[-1]
    return (
        exchange.id,
        exchange.status,
        exchange.updated_at,
        exchange.updated_at if refund else None,
        last.reason if refund else None,
        refund.points if refund else None,
        refund.lapsed if refund else None,
    )


def _save_shipments(writes: Writes, moved: Iterable[Standing]) -> None:
    rows = [
        (standing.exchange.id, step.carrier, step.tracking_number)
        for standing in moved
        for step in standing.steps
        if step.status is ExchangeStatus.SHIPPED
    ]
    writes.update(ShipmentTable, ("exchange_id", "carrier", "tracking_number"), rows)


async def _uncount(session: AsyncSession, cancelled: Iterable[Standing], zone: ZoneInfo) -> None:
    """An item was exchanged less often, then, on the day when it was."""
    gone = Counter((local_day(c.exchange.created_at, zone), c.exchange.item_id) for c in cancelled)
    if gone:
        days, item_ids = zip(*sorted(gone), strict=True)
        counts = [gone[key] for key in sorted(gone)]
        parameters = {"days": days, "item_ids": item_ids, "counts": counts}
        await session.execute(_UNCOUNT, parameters)


def _note_operators(writes: Writes, moved: Iterable[Standing], now: datetime) -> None:
    for standing in moved:
        for step, left in zip(standing.steps, standing.left, strict=True):
            if step.by_operator:
                target = ("Exchange", step.exchange_id)
                details = _noted(step, left)
                note_action(writes, step.actor_id, "update_exchange", target, details, now)


def _noted(step: Step, left: ExchangeStatus) -> dict[str, Any]:
    """No reason and no tracking number: members may ask to be forgotten, this never is."""
    after: dict[str, Any] = {"status": step.status}
    if step.status is ExchangeStatus.SHIPPED:
        after["carrier"] = step.carrier
    return {"before": {"status": left}, "after": after}


async def _save_memberships(
    session: AsyncSession, cancelled: Iterable[Standing], memberships: Memberships
) -> None:
    """Write the new ends of what is left of each membership, or that nothing is."""
    touched = {
        (standing.exchange.user_id, standing.membership.level): standing
        for standing in cancelled
        if standing.membership is not None
    }
    if not touched:
        return
    gone = {standing.exchange.id for standing in cancelled}
    kept = {
        key: [each for each in memberships[key] if each.exchange_id not in gone] for key in touched
    }
    writes = Writes()
    ends = [(each.exchange_id, each.expires_at) for key in touched for each in memberships[key]]
    writes.update(ExchangeTable, ("id", "vip_expires_at"), ends)
    writes.announcement.profiles = True
    held = [(*key, max(e.expires_at for e in left)) for key, left in kept.items() if left]
    writes.update(UserVip, ("user_id", "level", "expires_at"), held, keys=2)
    await writes.flush(session)
    lost = [key for key, left in kept.items() if not left]
    if lost:
        users, levels = zip(*lost, strict=True)
        await session.execute(_DROP_MEMBERSHIPS, {"user_ids": users, "levels": levels})
