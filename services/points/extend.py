"""Moving the end of a lot, once in its life, for a fee from the lot itself.

Rules: `domain.md`, Points, Extension.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from uuid import UUID
from zoneinfo import ZoneInfo

from sqlalchemy.ext.asyncio import AsyncSession

from models.points import PointsAction, PointsRecordStatus
from services.bulk import Writes
from services.calendar import Clock, add_span
from services.errors import BadInput, InvalidState, NotFound, Refusal
from services.group_commit import settle_each
from services.idempotency import KeyInvalid, find_keys, fingerprint, require_key, store_settled
from services.points.account import Account, Cause, Lot, require_not_suspended
from services.points.accounts import load_lots, load_lots_by_id, lock_accounts, save_accounts
from services.points.extension_terms import EXTENSION_DAYS, EXTENSION_WINDOW_DAYS, fee_of
from services.points.ledger import InsufficientPoints, about_lot, draw, expire_due, record

OPERATION = "extend"


@dataclass(frozen=True, slots=True)
class ExtensionRequest:
    """A member who wants more time for a lot."""

    user_id: int
    lot_id: UUID
    key: str


@dataclass(frozen=True, slots=True)
class Extended:
    """A lot whose end was moved, now or (`replayed`) the first time."""

    lot_id: UUID
    previous_expires_at: datetime
    fee: int
    replayed: bool


@dataclass(frozen=True, slots=True)
class Offer:
    """What extending a lot would cost, and when it would end then."""

    fee: int
    expires_at: datetime


def extension_request(user_id: int, lot_id: UUID, key: str) -> ExtensionRequest:
    """A request; raises BadInput for a key that is no good: the contract has no Problem for it."""
    try:
        require_key(key)
    except KeyInvalid as error:
        raise BadInput(f"idempotencyKey: {error.problem}") from error
    return ExtensionRequest(user_id, lot_id, key)


def offer_of(lot: Lot, now: datetime, zone: ZoneInfo) -> Offer | None:
    """What can be offered for a lot now; None where it cannot be extended."""
    try:
        return _require_offer(lot, now, zone)
    except (InvalidState, InsufficientPoints):
        return None


def _require_offer(lot: Lot, now: datetime, zone: ZoneInfo) -> Offer:
    if lot.status is not PointsRecordStatus.ACTIVE:
        raise InvalidState(lot.status.name)
    if lot.expires_at is None or lot.expires_at > now + timedelta(days=EXTENSION_WINDOW_DAYS):
        raise InvalidState("NOT_DUE")
    if lot.expires_at <= now:
        raise InvalidState(PointsRecordStatus.EXPIRED.name)
    if lot.extended_at is not None:
        raise InvalidState("EXTENDED")
    fee = fee_of(lot.points)
    if fee >= lot.points:  # the fee would take the lot itself
        raise InsufficientPoints(fee + 1, lot.points)
    return Offer(fee, add_span(lot.expires_at, EXTENSION_DAYS, "days", zone))


def extend(account: Account, lot: Lot, now: datetime, zone: ZoneInfo) -> int:
    """Move the end of a lot of the account; returns the fee.

    Raises InvalidState for a lot that cannot be extended (any more, or yet), InsufficientPoints
    for one that the fee would use up, MemberSuspended.
    """
    require_not_suspended(account, now)
    offer = _require_offer(lot, now, zone)
    expire_due(account, now)
    account.lifetime_redeemed += offer.fee
    lot.expires_at, lot.extended_at = offer.expires_at, now
    cause = about_lot(Cause("extension", str(lot.id), f"user:{account.user_id}"), lot)
    entry = record(account, PointsAction.EXTEND, -offer.fee, cause, now)
    draw(account, entry, [(lot, offer.fee)])
    return offer.fee


async def extend_lots(
    session: AsyncSession, requests: Sequence[ExtensionRequest], *, clock: Clock, zone: ZoneInfo
) -> list[Extended | Refusal]:
    """Settle a batch of extensions in one transaction; one outcome per request, in order."""
    accounts = await lock_accounts(session, (request.user_id for request in requests))
    now = clock()
    keys = await find_keys(session, OPERATION, ((r.user_id, r.key) for r in requests))
    await load_lots(session, accounts, {}, now)
    lots = await load_lots_by_id(session, accounts, (request.lot_id for request in requests))

    def settle(request: ExtensionRequest) -> Extended:
        def act() -> dict[str, object]:
            account, lot = accounts.get(request.user_id), lots.get(request.lot_id)
            if account is None or lot is None or lot.user_id != account.user_id:
                raise NotFound("PointsRecord", str(request.lot_id))
            previous = lot.expires_at
            fee = extend(account, lot, now, zone)
            return {"fee": fee, "previous_expires_at": previous and previous.isoformat()}

        asked = fingerprint(lot=str(request.lot_id))
        answer, replayed = keys.once(request.user_id, request.key, asked, act)
        previous = datetime.fromisoformat(answer["previous_expires_at"])
        return Extended(request.lot_id, previous, answer["fee"], replayed)

    outcomes = settle_each(requests, settle)
    writes = Writes()
    save_accounts(writes, accounts.values(), zone)
    store_settled(writes, OPERATION, keys.new, now)
    await writes.flush(session)
    return outcomes
