"""Deciding on many held lots at once: a member who was farmed by a script has hundreds.

As on one lot (`services.points.holds`), on all of them or on none.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from operator import attrgetter
from typing import Any
from uuid import UUID
from zoneinfo import ZoneInfo

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncSession

from services.achievements.unlock import unlock_reached
from services.bulk import Writes
from services.calendar import Clock
from services.errors import InvalidInput, InvalidState, NotFound
from services.idempotency import find_keys, fingerprint, require_key, store_settled
from services.points.account import Account, Lot
from services.points.accounts import load_lots, load_lots_by_id, lock_accounts, save_accounts
from services.points.adjust import LONGEST_REASON
from services.points.grant import require_text
from services.points.holds import OPERATION, Decision, note_decided, settle
from services.points.room import BalanceFull

MOST_LOTS_NAMED = 100
LOTS_AT_ONCE = 1_000
"""Of one member: what a transaction can settle while others wait for that member."""

_NAMED = ("pointsRecordIds",)
_OWNERS = text(
    "SELECT id, user_id FROM points_records WHERE id = ANY(CAST(:lot_ids AS uuid[])) ORDER BY id"
)
# Not by id: in that order the index of all that is held would be walked, whosever it is.
_HELD_OF = text(
    """
    SELECT id FROM points_records
    WHERE user_id = :user_id AND status = 'pending' AND hold_reason IS NOT NULL
    ORDER BY created_at, id LIMIT :limit
    """
)


class TooManyLots(InvalidInput):
    """More lots than one call may name."""


class NoOneNamed(InvalidInput):
    """Neither lots nor a member, or both; or a list of no lots."""


@dataclass(frozen=True, slots=True)
class ManyHolds(Decision):
    """A decision on the lots that are named, or on all that the member has who is."""

    lot_ids: tuple[UUID, ...]
    user_id: int | None

    def fingerprint(self) -> bytes:
        """A digest of what was asked, in whatever order and however often lots were named."""
        lots = sorted({str(lot_id) for lot_id in self.lot_ids})
        return fingerprint(lots=lots, user=self.user_id, releases=self.releases, reason=self.reason)

    def place_of(self, lot: Lot) -> tuple[str, ...]:
        """Where in the input that lot was asked for."""
        return (*_NAMED, str(self.lot_ids.index(lot.id))) if self.lot_ids else ("userId",)


@dataclass(frozen=True, slots=True)
class DecidedHolds:
    """On how many lots was decided, and points; `has_more`: the member had more that are held.

    Now or (`replayed`) the first time.
    """

    lots: int
    points: int
    has_more: bool
    replayed: bool


def many_holds(
    operator_id: int,
    lot_ids: list[UUID] | None,
    user_id: int | None,
    reason: str,
    key: str,
    *,
    releases: bool,
) -> ManyHolds:
    """A decision on lots, at most 100, or (`lot_ids` is None) on all that a member has.

    Raises InvalidInput for a bad key or reason, for neither or both, and for a list of no lots,
    which is a mistake of who asks and never the same as no list.
    """
    require_key(key)
    require_text(reason, ("reason",), LONGEST_REASON)
    if (lot_ids is None) == (user_id is None) or lot_ids == []:
        raise NoOneNamed(_NAMED, "either lots or a member have to be named")
    if lot_ids is not None and len(lot_ids) > MOST_LOTS_NAMED:
        raise TooManyLots(_NAMED, f"at most {MOST_LOTS_NAMED} a call")
    return ManyHolds(operator_id, releases, reason.strip(), key, tuple(lot_ids or ()), user_id)


async def decide_holds(
    session: AsyncSession, asked: ManyHolds, *, clock: Clock, zone: ZoneInfo
) -> DecidedHolds:
    """Settle a decision on many lots in one transaction; each is noted.

    Of a member the oldest 1,000 that are held. Raises NotFound for a lot or a member that is none,
    InvalidState that names all lots that are not held, BalanceFull where an account has no room
    for all of them, IdempotencyConflict; then nothing has changed.
    """
    owners = await _owners(session, asked)
    accounts = await lock_accounts(session, [asked.operator_id, *owners])
    if asked.user_id is not None and asked.user_id not in accounts:
        raise NotFound("User", str(asked.user_id))
    now = clock()
    keys = await find_keys(session, OPERATION, [(asked.operator_id, asked.key)])
    await load_lots(session, accounts, {}, now)
    lots, has_more = await _lots(session, asked, accounts)
    writes = Writes()

    def act() -> dict[str, Any]:
        decided = settle_all(accounts, lots, asked, now)
        note_decided(writes, asked, decided, now)
        points = sum(points for _, points in decided)
        return {"lots": len(decided), "points": points, "has_more": has_more}

    answer, replayed = keys.once(asked.operator_id, asked.key, asked.fingerprint(), act)
    await unlock_reached(session, writes, accounts.values(), now, zone)
    save_accounts(writes, accounts.values(), zone)
    store_settled(writes, OPERATION, keys.new, now)
    await writes.flush(session)
    return DecidedHolds(answer["lots"], answer["points"], answer["has_more"], replayed)


def settle_all(
    accounts: Mapping[int, Account], lots: Sequence[Lot], asked: ManyHolds, now: datetime
) -> list[tuple[Lot, int]]:
    """Decide on each lot as on one, in their order; with how many points each was. Pure.

    Raises InvalidState that names all lots that are not held, BalanceFull.
    """
    gone = [lot for lot in lots if not lot.is_held]
    if gone:
        raise InvalidState(gone[0].status.name, [("PointsRecord", lot.id) for lot in gone])
    return [(lot, _settle(accounts[lot.user_id], lot, asked, now)) for lot in lots]


def _settle(account: Account, lot: Lot, asked: ManyHolds, now: datetime) -> int:
    try:
        return settle(account, lot, asked, now)
    except BalanceFull as full:
        raise BalanceFull(asked.place_of(lot)) from full


async def _owners(session: AsyncSession, asked: ManyHolds) -> set[int]:
    if asked.user_id is not None:
        return {asked.user_id}
    rows = await session.execute(_OWNERS, {"lot_ids": sorted(set(asked.lot_ids))})
    owners = {row.id: row.user_id for row in rows}
    for lot_id in asked.lot_ids:
        if lot_id not in owners:
            raise NotFound("PointsRecord", str(lot_id))
    return set(owners.values())


async def _lots(
    session: AsyncSession, asked: ManyHolds, accounts: Mapping[int, Account]
) -> tuple[list[Lot], bool]:
    """What is decided on, oldest first, and whether the member has more that is held."""
    lot_ids: Sequence[UUID] = asked.lot_ids
    if asked.user_id is not None:
        parameters = {"user_id": asked.user_id, "limit": LOTS_AT_ONCE + 1}
        lot_ids = (await session.execute(_HELD_OF, parameters)).scalars().all()
    found = await load_lots_by_id(session, accounts, lot_ids[:LOTS_AT_ONCE])
    in_order = sorted(found.values(), key=attrgetter("created_at", "id"))
    return in_order, len(lot_ids) > LOTS_AT_ONCE
