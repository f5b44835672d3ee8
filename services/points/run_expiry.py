"""An operator's settling of everybody, for the operators' log: that it began, what it came to."""

from dataclasses import dataclass
from datetime import datetime

from sqlalchemy.ext.asyncio import AsyncSession

from services.bulk import Writes
from services.operators import note_action
from services.points.activate import Activated
from services.points.expire import Expired


@dataclass(frozen=True, slots=True)
class SettledRun:
    """What a run over the whole mall came to; `codes` of coupons left their pools."""

    expired: Expired
    activated: Activated
    codes: int


async def note_run_begins(session: AsyncSession, operator_id: int, now: datetime) -> None:
    """Note that a run begins, before it does: its batches stay, however it ends."""
    writes = Writes()
    note_action(writes, operator_id, "run_expiry", None, {"phase": "begin"}, now)
    await writes.flush(session)


async def note_run_finishes(
    session: AsyncSession, operator_id: int, run: SettledRun, now: datetime
) -> None:
    """Note what a run that got to its end came to."""
    details = {
        "phase": "finish",
        "expired_records": run.expired.records,
        "expired_points": run.expired.points,
        "activated_records": run.activated.records,
        "activated_points": run.activated.points,
        "expired_codes": run.codes,
    }
    writes = Writes()
    note_action(writes, operator_id, "run_expiry", None, details, now)
    await writes.flush(session)
