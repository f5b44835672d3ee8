"""One-click exchange: read locked, decide, write in bulk (`domain.md`, Exchange)."""

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import fields, replace
from datetime import datetime
from operator import attrgetter
from typing import Any
from zoneinfo import ZoneInfo

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncSession

from models.catalogue import ExchangeItem, ExchangeItemType, ItemDailyExchanges
from models.exchange import Exchange as ExchangeTable
from models.exchange import Shipment as ShipmentTable
from models.exchange import UserCoupon, UserVip
from services.achievements.unlock import UnlockedBy, tell_unlocked, unlock_reached
from services.bulk import Writes
from services.calendar import Clock, local_day
from services.catalogue.items import Item, lock_items
from services.errors import Refusal, VerificationRequired
from services.exchange.code_pool import draw_codes, save_drawn_codes
from services.exchange.decide import (
    ExchangeRequest,
    Placed,
    Settlement,
    decide,
)
from services.exchange.read_requests import read_requests
from services.exchange.rewards import (
    Coupon,
    FreshCode,
    ManualDelivery,
    Shipment,
    Shipping,
    VipMembership,
    generated_codes,
)
from services.idempotency import require_key, store_settled
from services.identifiers import new_id
from services.outbox import enqueue
from services.points.account import Account
from services.points.accounts import load_lots, lock_accounts, save_accounts

OPERATION = "exchange"
CONFIRMATION_JOB = "exchange_confirmation"

_EXCHANGE = (
    "id",
    "user_id",
    "item_id",
    "audit_sequence",
    "points",
    "status",
    "vip_level",
    "vip_days",
    "vip_expires_at",
    "delivery_note",
    "created_at",
    "updated_at",
)
_COUPON = tuple(field.name for field in fields(Coupon))
_MEMBERSHIP = ("user_id", "level", "expires_at")
_REPLACE_MEMBERSHIP = "ON CONFLICT (user_id, level) DO UPDATE SET expires_at = excluded.expires_at"
_SHIPMENT = ("exchange_id", "recipient", "phone", "address")
_coupon_row = attrgetter(*_COUPON)
_MEMBERSHIPS = text(
    "SELECT user_id, level, expires_at FROM user_vip WHERE user_id = ANY(CAST(:users AS bigint[]))"
)
_COUNT_DAILY = (
    "ON CONFLICT (day, item_id)"
    " DO UPDATE SET exchanges = item_daily_exchanges.exchanges + excluded.exchanges"
)


def exchange_request(
    user_id: int, item_id: int, key: str, shipping: Shipping | None, *, is_verified: bool
) -> ExchangeRequest:
    """A request with a fresh id for its exchange.

    Raises InvalidInput for a key that is no good.
    """
    require_key(key)
    return ExchangeRequest(
        user_id=user_id,
        item_id=item_id,
        key=key,
        shipping=shipping,
        is_verified=is_verified,
        exchange_id=new_id(),
    )


async def place_exchanges(
    session: AsyncSession,
    requests: Sequence[ExchangeRequest],
    *,
    clock: Clock,
    zone: ZoneInfo,
    captcha: Callable[[], VerificationRequired],
) -> list[Placed | Refusal]:
    """Settle a batch of exchanges: each one whole or refused, in one transaction.

    Draws lots, takes stock, records the exchange, issues the reward and asks for the confirmation
    to be sent. Returns one outcome per request, in order.
    """
    accounts = await lock_accounts(session, (request.user_id for request in requests))
    now = clock()
    known = await read_requests(session, OPERATION, requests, now, zone)
    await load_lots(session, accounts, _needed(requests, known.prices), now)
    items = await lock_items(session, known.prices)
    if any(item.points > known.prices[item.id] for item in items.values()):
        # A price rose between the two reads: more lots may be needed than were loaded.
        prices = {item.id: item.points for item in items.values()}
        await load_lots(session, accounts, _needed(requests, prices), now)
    memberships = await _memberships(session, accounts, items)
    drawn = await draw_codes(session, items, requests, now)
    settlement = Settlement(
        now,
        zone,
        accounts,
        items,
        known.taken,
        known.settled,
        memberships,
        captcha,
        _codes(items, drawn),
        pooled={item_id: len(codes) for item_id, codes in drawn.items()},
    )
    outcomes = decide(settlement, requests)
    if settlement.placed:
        writes = Writes()
        unlocked = await unlock_reached(session, writes, accounts.values(), now, zone)
        if unlocked:
            _tell_unlocked(settlement, requests, outcomes, unlocked)
        await _save(session, writes, settlement)
    return outcomes


def _tell_unlocked(
    settlement: Settlement,
    requests: Sequence[ExchangeRequest],
    outcomes: list[Placed | Refusal],
    unlocked: UnlockedBy,
) -> None:
    """In the answers that are kept as well, and in those that this batch gave a second time."""
    for place in tell_unlocked(requests, outcomes, unlocked):
        user_id, key = requests[place].user_id, requests[place].key
        settlement.newly_settled[user_id, key].answer["unlocked"] = list(unlocked[user_id])
    for place, (request, outcome) in enumerate(zip(requests, outcomes, strict=True)):
        settled = settlement.newly_settled.get((request.user_id, request.key))
        if settled is not None and isinstance(outcome, Placed):
            outcomes[place] = replace(outcome, unlocked=tuple(settled.answer.get("unlocked", ())))


def _needed(requests: Sequence[ExchangeRequest], prices: Mapping[int, int]) -> Counter[int]:
    needed: Counter[int] = Counter()
    for request in requests:
        needed[request.user_id] += prices.get(request.item_id, 0)
    return needed


async def _memberships(
    session: AsyncSession, accounts: Mapping[int, Account], items: Mapping[int, Item]
) -> dict[tuple[int, int], datetime]:
    if not any(item.type is ExchangeItemType.VIP for item in items.values()):
        return {}
    rows = await session.execute(_MEMBERSHIPS, {"users": list(accounts)})
    return {(row.user_id, row.level): row.expires_at for row in rows}


def _codes(
    items: Mapping[int, Item], drawn: Mapping[int, Sequence[FreshCode]]
) -> dict[int, Iterator[FreshCode]]:
    return {
        item.id: iter(drawn[item.id]) if item.id in drawn else generated_codes(item)
        for item in items.values()
        if item.type is ExchangeItemType.COUPON
    }


async def _save(session: AsyncSession, writes: Writes, settlement: Settlement) -> None:
    save_accounts(writes, settlement.accounts.values(), settlement.zone)
    save_exchanges(writes, settlement.placed, settlement.changed_memberships)
    save_drawn_codes(writes, settlement)
    _save_items(writes, settlement)
    store_settled(writes, OPERATION, settlement.newly_settled, settlement.now)
    confirmations = [{"exchange_id": str(placed.exchange_id)} for placed in settlement.placed]
    enqueue(writes, CONFIRMATION_JOB, confirmations, settlement.now)
    await writes.flush(session)


def save_exchanges(
    writes: Writes,
    placed: Sequence[Placed],
    memberships: Mapping[tuple[int, int], datetime],
) -> None:
    """Add exchanges that were granted, and their rewards, to what is written.

    `memberships` are those that changed, as they end now.
    """
    exchanges = [_exchange_row(entry) for entry in placed]
    shipments = [
        (entry.exchange_id, entry.reward.recipient, entry.reward.phone, entry.reward.address)
        for entry in placed
        if isinstance(entry.reward, Shipment)
    ]
    coupons = [_coupon_row(entry.reward) for entry in placed if isinstance(entry.reward, Coupon)]
    ends = [(*key, expires_at) for key, expires_at in memberships.items()]
    writes.insert(ExchangeTable, _EXCHANGE, exchanges)
    writes.insert(ShipmentTable, _SHIPMENT, shipments)
    writes.insert(UserCoupon, _COUPON, coupons)
    writes.insert(UserVip, _MEMBERSHIP, ends, suffix=_REPLACE_MEMBERSHIP)
    writes.announcement.profiles |= bool(ends)
    for entry in placed:
        if entry.item is not None:
            writes.announcement.exchanged[entry.item.type] += entry.points_used


def _exchange_row(placed: Placed) -> tuple[Any, ...]:
    exchange, item, reward = placed.exchange, placed.item, placed.reward
    membership = reward if isinstance(reward, VipMembership) else None
    assert exchange is not None and item is not None  # noqa: S101, PT018 — no replay is written
    return (
        exchange.id,
        exchange.user_id,
        exchange.item_id,
        exchange.audit_sequence,
        exchange.points,
        exchange.status,
        membership.level if membership else None,
        item.config["days"] if membership else None,
        membership.expires_at if membership else None,
        reward.note if isinstance(reward, ManualDelivery) else None,
        exchange.created_at,
        exchange.updated_at,
    )


def _save_items(writes: Writes, settlement: Settlement) -> None:
    sold = sorted(settlement.sold)
    stocks = [(item_id, settlement.left(settlement.items[item_id])) for item_id in sold]
    day = local_day(settlement.now, settlement.zone)
    counts = [(day, item_id, settlement.sold[item_id]) for item_id in sold]
    writes.update(ExchangeItem, ("id", "stock"), stocks)
    writes.insert(ItemDailyExchanges, ("day", "item_id", "exchanges"), counts, suffix=_COUNT_DAILY)
