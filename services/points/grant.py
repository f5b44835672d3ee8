"""Points that another system grants, at once or held back (`domain.md`, Points)."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID
from zoneinfo import ZoneInfo

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncSession

from models.points import PointsGrant
from services.bulk import Writes
from services.calendar import Clock
from services.errors import InvalidInput, Refusal
from services.group_commit import settle_each
from services.idempotency import Keys, find_keys, fingerprint, require_key, store_settled
from services.identifiers import new_id
from services.points.account import Account, Cause, Lot, require_present
from services.points.accounts import load_lots, lock_accounts, save_accounts
from services.points.expiry import expiry_of
from services.points.ledger import grant, open_lot
from services.points.room import require_room

OPERATION = "grant"
LONGEST_SOURCE, LONGEST_REFERENCE = 64, 200
MOST_POINTS_A_GRANT = 10**12
"""Far below what a balance can hold, so that no grant by itself fills one up."""
OWN_SOURCES = frozenset(
    {
        "task",
        "check_in",
        "purchase",
        "opening_balance",
        "exchange",
        "expiry",
        "extension",
        "reversal",
        "adjustment",
    }
)
"""What the mall itself writes as a source: nobody else may."""

ReferenceOf = tuple[str, str]
"""(source, reference): what names a grant when it is taken back."""

_GRANT = ("source", "reference", "user_id", "points_record_id", "points")
# A reference names one grant, whoever is granted: two calls for it must not miss each other.
_LOCK_REFERENCES = text(
    """
    SELECT pg_advisory_xact_lock(hashtextextended(reference, 0))
    FROM (SELECT DISTINCT unnest(CAST(:references AS text[])) AS reference ORDER BY 1) ordered
    """
)
_USED_REFERENCES = text(
    """
    SELECT source, reference
    FROM unnest(CAST(:sources AS text[]), CAST(:references AS text[])) AS asked(source, reference)
    JOIN points_grants USING (source, reference)
    """
)


@dataclass(frozen=True, slots=True)
class GrantRequest:
    """Another system granting points. `lot_id` is fresh; used only if they are granted."""

    actor_id: int
    user_id: int
    points: int
    source: str
    reference: str | None
    expires_at: datetime | None
    available_at: datetime | None
    key: str
    lot_id: UUID

    def fingerprint(self) -> bytes:
        """A digest of what was asked."""
        return fingerprint(
            user=self.user_id,
            points=self.points,
            source=self.source,
            reference=self.reference,
            expires_at=self.expires_at and self.expires_at.isoformat(),
            available_at=self.available_at and self.available_at.isoformat(),
        )


@dataclass(frozen=True, slots=True)
class Granted:
    """The lot that was granted, now or (`replayed`) the first time."""

    lot_id: UUID
    replayed: bool


def grant_request(
    actor_id: int,
    user_id: int,
    points: int,
    source: str,
    key: str,
    *,
    reference: str | None = None,
    expires_at: datetime | None = None,
    available_at: datetime | None = None,
) -> GrantRequest:
    """A request; raises InvalidInput for what no state of the mall would allow."""
    require_key(key)
    if not 1 <= points <= MOST_POINTS_A_GRANT:
        raise InvalidInput(("points",), f"1 to {MOST_POINTS_A_GRANT}")
    require_text(source, ("source",), LONGEST_SOURCE)
    if source in OWN_SOURCES:
        raise InvalidInput(("source",), "the mall itself grants by this name")
    if reference is not None:
        require_text(reference, ("reference",), LONGEST_REFERENCE)
    return GrantRequest(
        actor_id, user_id, points, source, reference, expires_at, available_at, key, new_id()
    )


def require_text(value: str, field: tuple[str, ...], longest: int) -> None:
    """Raise InvalidInput unless there is something in it, not too long, that can be stored."""
    if not value.strip() or len(value) > longest or "\x00" in value:
        raise InvalidInput(field, f"1 to {longest} characters")


async def grant_points(
    session: AsyncSession, requests: Sequence[GrantRequest], *, clock: Clock, zone: ZoneInfo
) -> list[Granted | Refusal]:
    """Settle a batch of grants in one transaction; one outcome per request, in order."""
    references = [(r.source, r.reference) for r in requests if r.reference is not None]
    await session.execute(_LOCK_REFERENCES, {"references": [f"{s}:{r}" for s, r in references]})
    users = [user_id for r in requests for user_id in (r.actor_id, r.user_id)]
    accounts = await lock_accounts(session, users)
    now = clock()
    keys = await find_keys(session, OPERATION, ((r.actor_id, r.key) for r in requests))
    used = await _used(session, references)
    await load_lots(session, accounts, {}, now)
    batch = _Batch(now, zone, accounts, keys, used)
    outcomes = settle_each(requests, batch.settle)
    writes = Writes()
    save_accounts(writes, accounts.values(), zone)
    name_grants(writes, batch.named)
    store_settled(writes, OPERATION, keys.new, now)
    await writes.flush(session)
    return outcomes


async def _used(session: AsyncSession, references: Iterable[ReferenceOf]) -> set[ReferenceOf]:
    asked = list(references)
    parameters = {"sources": [s for s, _ in asked], "references": [r for _, r in asked]}
    return {
        (row.source, row.reference) for row in await session.execute(_USED_REFERENCES, parameters)
    }


def name_grants(writes: Writes, lots: Iterable[Lot]) -> None:
    """Let lots just granted be taken back by their source and reference, which must be unique."""
    rows = [
        (lot.source, lot.source_reference, lot.user_id, lot.id, lot.original_points) for lot in lots
    ]
    writes.insert(PointsGrant, _GRANT, rows)


class _Batch:
    """What a batch of grants is decided on."""

    def __init__(
        self,
        now: datetime,
        zone: ZoneInfo,
        accounts: dict[int, Account],
        keys: Keys,
        used: set[ReferenceOf],
    ) -> None:
        self.now, self.zone, self.accounts, self.keys, self.used = now, zone, accounts, keys, used
        self.named: list[Lot] = []

    def settle(self, request: GrantRequest) -> Granted:
        def act() -> dict[str, Any]:
            return {"lot_id": str(self._grant(request).id)}

        answer, replayed = self.keys.once(request.actor_id, request.key, request.fingerprint(), act)
        return Granted(UUID(answer["lot_id"]), replayed)

    def _grant(self, request: GrantRequest) -> Lot:
        account = require_present(self.accounts.get(request.user_id), request.user_id)
        reference = request.reference and (request.source, request.reference)
        if reference and reference in self.used:
            raise InvalidInput(("reference",), "a grant has this reference already")
        lot = grant_to(account, request, self.now, self.zone)
        if reference:
            self.used.add(reference)
            self.named.append(lot)
        return lot


def grant_to(account: Account, request: GrantRequest, now: datetime, zone: ZoneInfo) -> Lot:
    """Grant to an account under lock.

    An end that nobody gave is counted from when the points can be spent. Raises InvalidInput for an
    end that lies before the start, BalanceFull for more than fits.
    """
    starts_at = now if request.available_at is None else max(now, request.available_at)
    expires_at = request.expires_at or expiry_of(request.source, starts_at, zone)
    if expires_at is not None and expires_at <= starts_at:
        raise InvalidInput(("expiresAt",), "it lies before the points can be spent")
    require_room(account.lifetime_earned, account.lifetime_adjusted, request.points)
    cause = Cause(request.source, request.reference, f"service:{request.actor_id}")
    if starts_at == now:
        return grant(account, request.lot_id, request.points, cause, expires_at, now)
    lot_id, points = request.lot_id, request.points
    return open_lot(account, lot_id, points, cause, expires_at, now, held_until=starts_at)
