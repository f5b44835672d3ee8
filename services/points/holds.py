"""Points that are held until an operator lets them count, or takes them for good."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID
from zoneinfo import ZoneInfo

from sqlalchemy import select, text
from sqlalchemy.ext.asyncio import AsyncSession

from models.points import HoldReason, PointsRecord, PointsRecordStatus
from services.achievements.unlock import unlock_reached
from services.bulk import Writes
from services.calendar import Clock
from services.errors import InvalidState, NotFound
from services.idempotency import find_keys, fingerprint, require_key, store_settled
from services.identifiers import new_id
from services.monitoring.alerts import AlertKind, Sighting, of_members, raise_alerts
from services.monitoring.facts import MOST_NAMED
from services.operators import note_actions
from services.paging import Page, decode_cursor, encode_cursor, page_of
from services.points.account import Account, Lot
from services.points.accounts import load_lots, load_lots_by_id, lock_accounts, save_accounts
from services.points.activate import activate
from services.points.adjust import LONGEST_REASON
from services.points.grant import require_text
from services.points.lots import LOT_COLUMNS, lot_of
from services.reasons import keep_reasons, reason_details

OPERATION = "decide_hold"
_ORDER = "held_points"
_IS_HELD = text("points_records.status = 'pending' AND points_records.hold_reason IS NOT NULL")
_OWNER = text("SELECT user_id FROM points_records WHERE id = :lot_id")
_KINDS = {
    HoldReason.GAINS: AlertKind.ABNORMAL_GAINS,
    HoldReason.INVITES: AlertKind.MANY_INVITES,
    HoldReason.SHARED_DEVICE: AlertKind.MANY_ACCOUNTS_ON_A_DEVICE,
}


@dataclass(frozen=True, slots=True)
class Decision:
    """An operator letting what is held count (`releases`), or taking it."""

    operator_id: int
    releases: bool
    reason: str
    key: str


@dataclass(frozen=True, slots=True)
class HoldDecision(Decision):
    """A decision on one held lot."""

    lot_id: UUID

    def fingerprint(self) -> bytes:
        """A digest of what was asked."""
        return fingerprint(lot=str(self.lot_id), releases=self.releases, reason=self.reason)


@dataclass(frozen=True, slots=True)
class Decided:
    """The lot as it stands now, and whether the same was decided before (`replayed`)."""

    user_id: int
    replayed: bool


def hold_decision(
    operator_id: int, lot_id: UUID, reason: str, key: str, *, releases: bool
) -> HoldDecision:
    """A decision; raises InvalidInput for a missing reason or a bad key."""
    require_key(key)
    require_text(reason, ("reason",), LONGEST_REASON)
    return HoldDecision(operator_id, releases, reason.strip(), key, lot_id)


async def decide_hold(
    session: AsyncSession, decision: HoldDecision, *, clock: Clock, zone: ZoneInfo
) -> Decided:
    """Settle one decision; the operator and the reason are noted.

    Raises NotFound for a lot that is none, InvalidState for one that is not held, BalanceFull for
    one that its account has no room for, IdempotencyConflict.
    """
    user_id = (await session.execute(_OWNER, {"lot_id": decision.lot_id})).scalar()
    if user_id is None:
        raise NotFound("PointsRecord", str(decision.lot_id))
    accounts = await lock_accounts(session, [decision.operator_id, user_id])
    now = clock()
    keys = await find_keys(session, OPERATION, [(decision.operator_id, decision.key)])
    await load_lots(session, accounts, {}, now)
    lot = (await load_lots_by_id(session, accounts, [decision.lot_id]))[decision.lot_id]
    writes = Writes()

    def act() -> dict[str, Any]:
        points = settle(accounts[user_id], lot, decision, now)
        note_decided(writes, decision, [(lot, points)], now)
        return {"points": points}

    _, replayed = keys.once(decision.operator_id, decision.key, decision.fingerprint(), act)
    await unlock_reached(session, writes, accounts.values(), now, zone)
    save_accounts(writes, accounts.values(), zone)
    store_settled(writes, OPERATION, keys.new, now)
    await writes.flush(session)
    return Decided(user_id, replayed)


def settle(account: Account, lot: Lot, decision: Decision, now: datetime) -> int:
    """Let a held lot count, or take what is left of it; returns how many points that are. Pure.

    Raises InvalidState for a lot that is not held, BalanceFull; then nothing has changed.
    """
    if not lot.is_held:
        raise InvalidState(lot.status.name)
    points = lot.points
    if decision.releases:
        activate(account, lot, now, f"operator:{decision.operator_id}")
    else:
        reject(account, lot)
    return points


def reject(account: Account, lot: Lot) -> None:
    """Take all that is left of a lot that never reached the balance: no row of the log."""
    lot.rejected_points += lot.points
    lot.points = 0
    lot.status = PointsRecordStatus.REVERSED
    account.changed_lots[lot.id] = lot


def note_decided(
    writes: Writes, decision: Decision, decided: Sequence[tuple[Lot, int]], now: datetime
) -> None:
    """Note of each lot how many points were decided on, and why: the reason once a member."""
    reason_ids = {user_id: new_id() for user_id in {lot.user_id for lot, _ in decided}}
    keep_reasons(writes, reason_ids, decision.reason, now)
    noted = [
        (("PointsRecord", lot.id), {"points": points, **reason_details(reason_ids[lot.user_id])})
        for lot, points in decided
    ]
    action = "release_points" if decision.releases else "reject_points"
    note_actions(writes, decision.operator_id, action, noted, now)


async def held_page(
    session: AsyncSession, *, size: int, after: str | None, user_id: int | None = None
) -> Page[Lot]:
    """Lots that are held, newest first: everybody's, or that user's.

    Raises BadInput for a bad cursor.
    """
    statement = select(*LOT_COLUMNS).where(_IS_HELD)
    if user_id is not None:
        statement = statement.where(PointsRecord.user_id == user_id)
    if after is not None:
        (before,) = decode_cursor(after, _ORDER, UUID)
        statement = statement.where(PointsRecord.id < before)
    # The ids are made by the time (UUIDv7): the order of the ids is that of the grants.
    rows = await session.execute(statement.order_by(PointsRecord.id.desc()).limit(size + 1))
    lots = [lot_of(row) for row in rows.mappings()]
    return page_of(lots, size, _cursor_of, has_previous=after is not None)


def _cursor_of(lot: Lot) -> str:
    return encode_cursor(_ORDER, lot.id)


async def alert_of_holds(
    session: AsyncSession, holds: Iterable[Mapping[str, Any]], now: datetime
) -> None:
    """Let operators know of points that were held: `holds` as `HOLD_JOB`'s payloads have them."""
    by_reason: dict[HoldReason, list[Mapping[str, Any]]] = {}
    for hold in holds:
        by_reason.setdefault(HoldReason(hold["reason"]), []).append(hold)
    sightings = [_sighting(reason, each) for reason, each in by_reason.items()]
    await raise_alerts(session, sightings, now)


def _sighting(reason: HoldReason, holds: Sequence[Mapping[str, Any]]) -> Sighting:
    users = sorted({hold["user_id"] for hold in holds})
    points = sum(hold["points"] for hold in holds)
    facts = {"user_ids": users[:MOST_NAMED], "held_points": points}
    return of_members(_KINDS[reason], facts, occurrences=len(holds))
