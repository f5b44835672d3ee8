"""Taking back a grant whose purchase was refunded (`domain.md`, Points, Reversal)."""

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID
from zoneinfo import ZoneInfo

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncSession

from models.base import MAX_POINTS
from models.points import PointsGrant
from services.bulk import Writes
from services.calendar import Clock
from services.errors import InvalidInput, NotFound, Refusal
from services.group_commit import settle_each
from services.idempotency import Keys, find_keys, fingerprint, require_key, store_settled
from services.identifiers import new_id
from services.points.account import Account, Cause
from services.points.accounts import load_lots, load_lots_by_id, lock_accounts, save_accounts
from services.points.grant import (
    LONGEST_REFERENCE,
    LONGEST_SOURCE,
    ReferenceOf,
    require_text,
)
from services.points.returns import Grant, reverse

OPERATION = "reverse"
_REVERSED = ("source", "reference", "reversed_points", "lapsed_points")
_GRANTS = text(
    """
    SELECT source, reference, user_id, points_record_id, points, reversed_points, lapsed_points
    FROM unnest(CAST(:sources AS text[]), CAST(:references AS text[])) AS asked(source, reference)
    JOIN points_grants USING (source, reference)
    """
)

# Paid for exchanges that were cancelled, less what was put back: what had ended by then.
_LAPSED_PAYMENTS = text(
    """
    SELECT draw.points_record_id, sum(draw.points)::bigint AS points
    FROM lot_draws draw
    JOIN points_audit_log log USING (user_id, sequence)
    LEFT JOIN exchanges exchange
        ON exchange.user_id = draw.user_id AND exchange.audit_sequence = draw.sequence
    WHERE draw.points_record_id = ANY(CAST(:lot_ids AS uuid[]))
      AND (exchange.status = 'cancelled' OR log.action = 'refund')
    GROUP BY draw.points_record_id
    """
)


@dataclass(frozen=True, slots=True)
class ReversalRequest:
    """Another system taking back a grant: `points` of it, or (None) all that is left.

    `reversal_id` is fresh; used only if something is taken back.
    """

    actor_id: int
    source: str
    reference: str
    points: int | None
    key: str
    reversal_id: UUID


@dataclass(frozen=True, slots=True)
class Reversed:
    """What was taken back, now or (`replayed`) the first time, and what is owed for it."""

    user_id: int
    reversed_points: int
    owed_points: int
    replayed: bool


def reversal_request(
    actor_id: int, source: str, reference: str, points: int | None, key: str
) -> ReversalRequest:
    """A request; raises InvalidInput for a key or a number that is no good."""
    require_key(key)
    require_text(source, ("source",), LONGEST_SOURCE)
    require_text(reference, ("reference",), LONGEST_REFERENCE)
    if points is not None and points < 1:
        raise InvalidInput(("points",), "at least 1")
    return ReversalRequest(actor_id, source, reference, points, key, new_id())


async def reverse_grants(
    session: AsyncSession, requests: Sequence[ReversalRequest], *, clock: Clock, zone: ZoneInfo
) -> list[Reversed | Refusal]:
    """Settle a batch of reversals in one transaction; one outcome per request, in order."""
    references = {(request.source, request.reference) for request in requests}
    owners = [row.user_id for row in await _rows(session, references)]
    accounts = await lock_accounts(session, [*owners, *(r.actor_id for r in requests)])
    now = clock()
    keys = await find_keys(session, OPERATION, ((r.actor_id, r.key) for r in requests))
    grants = await _grants(session, requests, accounts, now)
    batch = _Batch(now, accounts, keys, grants)
    outcomes = settle_each(requests, batch.settle)
    writes = Writes()
    save_accounts(writes, accounts.values(), zone)
    writes.update(PointsGrant, _REVERSED, [_row(grant) for grant in grants.values()], keys=2)
    store_settled(writes, OPERATION, keys.new, now)
    await writes.flush(session)
    return outcomes


async def _rows(session: AsyncSession, references: Iterable[ReferenceOf]) -> Sequence[Any]:
    asked = list(references)
    parameters = {"sources": [s for s, _ in asked], "references": [r for _, r in asked]}
    return (await session.execute(_GRANTS, parameters)).all()


async def _grants(
    session: AsyncSession,
    requests: Sequence[ReversalRequest],
    accounts: dict[int, Account],
    now: datetime,
) -> dict[ReferenceOf, Grant]:
    """The grants as they are under their users' locks, with lots enough to pay what is asked."""
    asked = _asked(requests)
    # One that was granted meanwhile has a user who is not locked: it is not there yet.
    rows = [row for row in await _rows(session, asked) if row.user_id in accounts]
    needed = Counter[int]()
    for row in rows:
        left = row.points - row.reversed_points
        needed[row.user_id] += min(left, asked[row.source, row.reference])
    await load_lots(session, accounts, needed, now)
    lots = await load_lots_by_id(session, accounts, (row.points_record_id for row in rows))
    found = await session.execute(_LAPSED_PAYMENTS, {"lot_ids": list(lots)})
    lapsed = {row.points_record_id: row.points for row in found}
    return {
        (row.source, row.reference): Grant(
            source=row.source,
            reference=row.reference,
            lot=lots[row.points_record_id],
            points=row.points,
            reversed_points=row.reversed_points,
            lapsed_points=row.lapsed_points,
            lapsed_payments=lapsed.get(row.points_record_id, 0),
        )
        for row in rows
    }


def _asked(requests: Iterable[ReversalRequest]) -> Counter[ReferenceOf]:
    """At most how many points all requests together take of each grant: any number, for "all"."""
    asked = Counter[ReferenceOf]()
    for request in requests:
        points = MAX_POINTS if request.points is None else request.points
        asked[request.source, request.reference] += points
    return asked


def _row(grant: Grant) -> tuple[Any, ...]:
    return (grant.source, grant.reference, grant.reversed_points, grant.lapsed_points)


class _Batch:
    """What a batch of reversals is decided on."""

    def __init__(
        self,
        now: datetime,
        accounts: dict[int, Account],
        keys: Keys,
        grants: dict[ReferenceOf, Grant],
    ) -> None:
        self.now, self.accounts, self.keys, self.grants = now, accounts, keys, grants

    def settle(self, request: ReversalRequest) -> Reversed:
        def act() -> dict[str, Any]:
            return self._reverse(request)

        asked = fingerprint(
            source=request.source, reference=request.reference, points=request.points
        )
        answer, replayed = self.keys.once(request.actor_id, request.key, asked, act)
        return Reversed(answer["user_id"], answer["reversed"], answer["owed"], replayed)

    def _reverse(self, request: ReversalRequest) -> dict[str, Any]:
        grant = self.grants.get((request.source, request.reference))
        if grant is None:
            raise NotFound("PointsGrant", f"{request.source}:{request.reference}")
        left = grant.points - grant.reversed_points
        points = left if request.points is None else request.points
        if not 1 <= points <= left:
            raise InvalidInput(("points",), f"{left} of the grant are left")
        account = self.accounts[grant.lot.user_id]
        cause = Cause(request.source, request.reference, f"service:{request.actor_id}")
        done = reverse(account, grant, request.reversal_id, points, cause, self.now)
        return {"user_id": account.user_id, "reversed": done.taken_points, "owed": done.owed_points}
