"""Who gets what, and who is refused: the pure middle of settling exchanges.

Rules: `domain.md`, Exchange. Everything read under lock goes in; what has to be written comes out
on the same `Settlement`. No I/O and no chance: fresh ids arrive with the request, coupon codes
with the settlement.
"""

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any
from uuid import UUID
from zoneinfo import ZoneInfo

from models.catalogue import ExchangeItemType, LimitPeriod
from models.exchange import ExchangeStatus
from services.catalogue.items import Item, ItemUnavailable, OutOfStock
from services.errors import NotFound, Refusal, VerificationRequired
from services.exchange.limits import LIMIT_PERIODS, TakenBy, require_within_limit
from services.exchange.rewards import (
    FreshCode,
    ManualDelivery,
    Reward,
    Shipment,
    Shipping,
    coupon_of,
    extended_membership,
    shipment_to,
)
from services.idempotency import KeyOf, Settled, fingerprint, replay
from services.points.account import Account, Cause, Draw, require_not_suspended
from services.points.ledger import redeem

EXCHANGE_SOURCE = "exchange"


@dataclass(frozen=True, slots=True)
class ExchangeRequest:
    """One member asking for one item. The id is fresh; used only if it is granted."""

    user_id: int
    item_id: int
    key: str
    shipping: Shipping | None
    is_verified: bool
    exchange_id: UUID

    def fingerprint(self) -> bytes:
        """A digest of what was asked. A captcha token is no part of it: a retry has another."""
        shipping = self.shipping
        address = shipping and [shipping.recipient, shipping.phone, shipping.address]
        return fingerprint(item=self.item_id, shipping=address)


@dataclass(frozen=True, slots=True)
class Exchange:
    """One purchase."""

    id: UUID
    user_id: int
    item_id: int
    audit_sequence: int
    points: int
    status: ExchangeStatus
    created_at: datetime
    updated_at: datetime


@dataclass(frozen=True, slots=True)
class Placed:
    """The answer to a request that was granted, now or (`replayed`) the first time.

    `exchange`, `reward` and `paid_from` are None in a replay: they are read again. `unlocked` are
    the achievements, by id, that it unlocked.
    """

    exchange_id: UUID
    points_used: int
    remaining_points: int
    replayed: bool
    exchange: Exchange | None = None
    reward: Reward | None = None
    paid_from: tuple[Draw, ...] | None = None
    item: Item | None = None
    unlocked: tuple[int, ...] = ()


@dataclass(slots=True)
class Settlement:
    """What a batch was decided on, and what it decided."""

    now: datetime
    zone: ZoneInfo
    accounts: dict[int, Account]
    items: dict[int, Item]
    taken: dict[TakenBy, dict[LimitPeriod, int]]
    settled: dict[KeyOf, Settled]
    memberships: dict[tuple[int, int], datetime]
    captcha: Callable[[], VerificationRequired]
    codes: Mapping[int, Iterator[FreshCode]]
    """By item: coupon codes that nobody holds, one for each request that may be granted."""
    placed: list[Placed] = field(default_factory=list)
    newly_settled: dict[KeyOf, Settled] = field(default_factory=dict)
    changed_memberships: dict[tuple[int, int], datetime] = field(default_factory=dict)
    sold: Counter[int] = field(default_factory=Counter[int])
    pooled: Mapping[int, int] = field(default_factory=dict[int, int])
    """By item that draws codes: how many there were to draw, of the requests for it at most."""

    def left(self, item: Item) -> int:
        """The item's stock without what was sold here."""
        return item.stock - self.sold[item.id]

    def is_sold_out(self, item: Item) -> bool:
        """Nothing is left; of a pool also when its stock counts codes that have expired."""
        if self.left(item) < 1:
            return True
        drawable = self.pooled.get(item.id) if self.pooled else None
        return drawable is not None and self.sold[item.id] >= drawable


def decide(settlement: Settlement, requests: Sequence[ExchangeRequest]) -> list[Placed | Refusal]:
    """Settle the requests one after another, in order; a refusal changes nothing."""
    outcomes: list[Placed | Refusal] = []
    for request in requests:
        try:
            outcomes.append(_settle(settlement, request))
        except Refusal as refusal:
            outcomes.append(refusal)
    return outcomes


def _settle(settlement: Settlement, request: ExchangeRequest) -> Placed:
    settled = settlement.settled.get((request.user_id, request.key))
    if settled is not None:
        return _replayed(replay(settled, request.key, request.fingerprint()))
    account = settlement.accounts.get(request.user_id)
    if account is None:
        raise NotFound("User", str(request.user_id))
    item = _require_item(settlement, account, request)
    shipment = shipment_to(item, request.shipping)
    _require_left(settlement, request, item)
    return _grant(settlement, account, request, item, shipment)


def _replayed(answer: dict[str, Any]) -> Placed:
    return Placed(
        exchange_id=UUID(answer["exchange_id"]),
        points_used=answer["points_used"],
        remaining_points=answer["remaining_points"],
        replayed=True,
        unlocked=tuple(answer.get("unlocked", ())),
    )


def _require_item(settlement: Settlement, account: Account, request: ExchangeRequest) -> Item:
    require_not_suspended(account, settlement.now)
    item = settlement.items.get(request.item_id)
    if item is None:
        raise NotFound("ExchangeItem", str(request.item_id))
    if not item.is_on_sale(settlement.now):
        raise ItemUnavailable(item)
    if item.config.get("verification") is True and not request.is_verified:
        raise settlement.captcha()
    return item


def _require_left(settlement: Settlement, request: ExchangeRequest, item: Item) -> None:
    if settlement.is_sold_out(item):
        raise OutOfStock(replace(item, stock=0))
    taken = settlement.taken.get((request.user_id, item.id), {})
    require_within_limit(item.per_user_limit, taken, settlement.now, settlement.zone)


def _grant(
    settlement: Settlement,
    account: Account,
    request: ExchangeRequest,
    item: Item,
    shipment: Shipment | None,
) -> Placed:
    cause = Cause(EXCHANGE_SOURCE, str(request.exchange_id), f"user:{account.user_id}")
    entry, draws = redeem(account, item.points, cause, settlement.now)
    reward = shipment or _reward(settlement, request, item)
    status = ExchangeStatus.COMPLETED if shipment is None else ExchangeStatus.PENDING
    placed = Placed(
        exchange_id=request.exchange_id,
        points_used=item.points,
        remaining_points=entry.points_after,
        replayed=False,
        exchange=Exchange(
            id=request.exchange_id,
            user_id=account.user_id,
            item_id=item.id,
            audit_sequence=entry.sequence,
            points=item.points,
            status=status,
            created_at=settlement.now,
            updated_at=settlement.now,
        ),
        reward=reward,
        paid_from=tuple(draws),
        item=item,
    )
    _keep(settlement, request, item, placed)
    return placed


def _reward(settlement: Settlement, request: ExchangeRequest, item: Item) -> Reward:
    now = settlement.now
    if item.type is ExchangeItemType.COUPON:
        code = next(settlement.codes[item.id])
        return coupon_of(item, code, request.user_id, request.exchange_id, now)
    if item.type is ExchangeItemType.VIP:
        key = (request.user_id, item.config["level"])
        membership = extended_membership(item, settlement.memberships.get(key), now)
        settlement.memberships[key] = membership.expires_at
        settlement.changed_memberships[key] = membership.expires_at
        return membership
    return ManualDelivery(str(item.config.get("note", "")))


def _keep(settlement: Settlement, request: ExchangeRequest, item: Item, placed: Placed) -> None:
    """Let the next request of the batch see what this one took."""
    settlement.sold[item.id] += 1
    settlement.accounts[request.user_id].exchanges_made += 1
    taken = settlement.taken.setdefault((request.user_id, item.id), {})
    for period in LIMIT_PERIODS:
        taken[period] = taken.get(period, 0) + 1
    answer = {
        "exchange_id": str(placed.exchange_id),
        "points_used": placed.points_used,
        "remaining_points": placed.remaining_points,
    }
    settled = Settled(request.fingerprint(), answer)
    settlement.settled[request.user_id, request.key] = settled
    settlement.newly_settled[request.user_id, request.key] = settled
    settlement.placed.append(placed)
