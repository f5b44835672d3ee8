"""What an operator's settling of everybody came to, for the operators' log."""

from datetime import datetime

from sqlalchemy.ext.asyncio import AsyncSession

from services.bulk import Writes
from services.operators import note_action
from services.points.activate import Activated
from services.points.expire import Expired


async def note_run(
    session: AsyncSession,
    operator_id: int,
    expired: Expired,
    activated: Activated,
    codes: int,
    now: datetime,
) -> None:
    """Note one run over the whole mall; `codes` is how many of coupons left their pools."""
    details = {
        "expired_records": expired.records,
        "expired_points": expired.points,
        "activated_records": activated.records,
        "activated_points": activated.points,
        "expired_codes": codes,
    }
    writes = Writes()
    note_action(writes, operator_id, "run_expiry", None, details, now)
    await writes.flush(session)
