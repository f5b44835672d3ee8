"""Grants that were taken back while their points were spent, for an exchange that is cancelled."""

from collections.abc import Iterable
from datetime import datetime
from uuid import UUID

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncSession

from models.points import PointsGrant
from services.bulk import Writes
from services.points.account import Account, Lot, is_over
from services.points.returns import Grant, Payment

_LAPSED = ("source", "reference", "lapsed_points")
_TAKEN_BACK = text(
    """
    SELECT granted.source, reference, points_record_id, granted.points, reversed_points,
           lapsed_points,
           lot.withheld_points + coalesce(
               (SELECT sum(draw.points)
                FROM lot_draws draw JOIN points_audit_log log USING (user_id, sequence)
                WHERE draw.points_record_id = lot.id AND log.action = 'reverse'
                  AND (log.source, log.reference) = (granted.source, granted.reference)),
               0)::bigint AS own_points
    FROM points_grants granted JOIN points_records lot ON lot.id = granted.points_record_id
    WHERE lot.id = ANY(CAST(:lot_ids AS uuid[])) AND reversed_points > lapsed_points
    """
)


async def load_owed_grants(
    session: AsyncSession, accounts: Iterable[Account], lots: Iterable[Lot], now: datetime
) -> dict[UUID, Grant]:
    """By lot, the grants that may be why a locked account owes points; none of other lots' grants.

    `lots` are those that paid for what is cancelled. Most have not ended and most members owe
    nothing: then nothing is read.
    """
    indebted = {account.user_id for account in accounts if account.owed_points}
    ended = {lot.id: lot for lot in lots if lot.user_id in indebted and is_over(lot, now)}
    if not ended:
        return {}
    rows = await session.execute(_TAKEN_BACK, {"lot_ids": list(ended)})
    return {
        row.points_record_id: Grant(
            source=row.source,
            reference=row.reference,
            lot=ended[row.points_record_id],
            points=row.points,
            reversed_points=row.reversed_points,
            lapsed_points=row.lapsed_points,
            own_points=row.own_points,
        )
        for row in rows
    }


def save_lapsed(writes: Writes, payments: Iterable[Payment]) -> None:
    """Write how much of the payments' grants had expired, as cancelling has shown by now."""
    grants = {lot_id: grant for payment in payments for lot_id, grant in payment.grants.items()}
    rows = [(grant.source, grant.reference, grant.lapsed_points) for grant in grants.values()]
    writes.update(PointsGrant, _LAPSED, rows, keys=2)
