"""Corrections by an operator, always with a reason (`domain.md`, Points, Adjustment)."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID
from zoneinfo import ZoneInfo

from sqlalchemy.ext.asyncio import AsyncSession

from models.points import PointsAction
from services.bulk import Writes
from services.calendar import Clock
from services.errors import InvalidInput, Refusal
from services.group_commit import settle_each
from services.idempotency import find_keys, fingerprint, require_key, store_settled
from services.identifiers import new_id
from services.operators import note_action
from services.points.account import Account, Cause, Entry, require_present
from services.points.accounts import load_lots, lock_accounts, save_accounts
from services.points.expiry import expiry_of
from services.points.grant import MOST_POINTS_A_GRANT, require_text
from services.points.ledger import (
    InsufficientPoints,
    about_lot,
    draw,
    expire_due,
    first_lots,
    open_lot,
    record,
    spendable,
)
from services.points.room import require_room
from services.reasons import keep_reason, reason_details

OPERATION = "adjust"
ADJUSTMENT_SOURCE = "adjustment"
LONGEST_REASON = 500


@dataclass(frozen=True, slots=True)
class AdjustmentRequest:
    """An operator giving (above 0) or taking points. `lot_id` is fresh, for points given."""

    operator_id: int
    user_id: int
    points: int
    reason: str
    key: str
    lot_id: UUID


@dataclass(frozen=True, slots=True)
class Adjusted:
    """Which change of the user's balance it was, now or (`replayed`) the first time."""

    user_id: int
    sequence: int
    replayed: bool


def adjustment_request(
    operator_id: int, user_id: int, points: int, reason: str, key: str
) -> AdjustmentRequest:
    """A request; raises InvalidInput for 0 points, a missing reason or a bad key."""
    require_key(key)
    if points == 0:
        raise InvalidInput(("points",), "more or less than 0")
    if abs(points) > MOST_POINTS_A_GRANT:
        raise InvalidInput(("points",), f"at most {MOST_POINTS_A_GRANT} at once")
    require_text(reason, ("reason",), LONGEST_REASON)
    return AdjustmentRequest(operator_id, user_id, points, reason.strip(), key, new_id())


def adjust(
    account: Account,
    lot_id: UUID,
    points: int,
    cause: Cause,
    expires_at: datetime | None,
    now: datetime,
) -> Entry:
    """Give points as a new lot, or draw them from the lots that expire first.

    Raises InsufficientPoints when more are taken than there are, BalanceFull when no balance
    could hold what is given; then nothing has changed.
    """
    if -points > spendable(account, now):
        raise InsufficientPoints(-points, spendable(account, now))
    if points > 0:
        require_room(account.lifetime_earned, account.lifetime_adjusted, points)
    expire_due(account, now)
    account.lifetime_adjusted += points
    if points < 0:
        shares = first_lots(account.lots, -points)
        entry = record(account, PointsAction.ADJUST, points, cause, now)
        draw(account, entry, shares)
        return entry
    lot = open_lot(account, lot_id, points, cause, expires_at, now)
    return record(account, PointsAction.ADJUST, points, about_lot(cause, lot), now)


async def adjust_points(
    session: AsyncSession, requests: Sequence[AdjustmentRequest], *, clock: Clock, zone: ZoneInfo
) -> list[Adjusted | Refusal]:
    """Settle a batch of corrections in one transaction; one outcome per request, in order."""
    users = [user_id for r in requests for user_id in (r.operator_id, r.user_id)]
    accounts = await lock_accounts(session, users)
    now = clock()
    keys = await find_keys(session, OPERATION, ((r.operator_id, r.key) for r in requests))
    needed = Counter[int]()
    for request in requests:
        needed[request.user_id] += max(0, -request.points)
    await load_lots(session, accounts, needed, now)
    writes = Writes()

    def settle(request: AdjustmentRequest) -> Adjusted:
        def act() -> dict[str, Any]:
            account = require_present(accounts.get(request.user_id), request.user_id)
            who, reason_id = f"operator:{request.operator_id}", new_id()
            why = reason_details(reason_id)
            cause = Cause(ADJUSTMENT_SOURCE, None, who, why)
            expires_at = expiry_of(ADJUSTMENT_SOURCE, now, zone)
            entry = adjust(account, request.lot_id, request.points, cause, expires_at, now)
            keep_reason(writes, reason_id, request.user_id, request.reason, now)
            details = {**_moved(request, entry), **why}
            target = ("User", request.user_id)
            note_action(writes, request.operator_id, "adjust_points", target, details, now)
            return {"sequence": entry.sequence}

        asked = fingerprint(user=request.user_id, points=request.points, reason=request.reason)
        answer, replayed = keys.once(request.operator_id, request.key, asked, act)
        return Adjusted(request.user_id, answer["sequence"], replayed)

    outcomes = settle_each(requests, settle)
    save_accounts(writes, accounts.values(), zone)
    store_settled(writes, OPERATION, keys.new, now)
    await writes.flush(session)
    return outcomes


def _moved(request: AdjustmentRequest, entry: Entry) -> dict[str, Any]:
    return {
        "points": request.points,
        "before": {"points": entry.points_before},
        "after": {"points": entry.points_after},
    }
