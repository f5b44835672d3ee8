"""On which days members were seen, for those who ask how many were (`docs/kpis.md`, Active)."""

from zoneinfo import ZoneInfo

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncSession

from services.patient_driver import patient_driver

_LONGEST_FILL_S = 600

# What only the member can do, signed in. Whoever is seen is written down since revision 0028.
_FILL = """
    INSERT INTO member_days (day, user_id)
    SELECT day, user_id FROM check_ins
    UNION SELECT (created_at AT TIME ZONE $1::text)::date, user_id FROM exchanges
    UNION SELECT (opened_at AT TIME ZONE $1::text)::date, user_id FROM push_records
          WHERE opened_at IS NOT NULL
    ON CONFLICT DO NOTHING
"""


async def recover_member_days(session: AsyncSession, zone: ZoneInfo) -> int:
    """Add the days on which members did what shows that they were there; returns how many.

    For the time before days were written down, and for what was lost: reads whole tables.
    """
    await session.execute(text("SELECT 1"))
    driver = await patient_driver(session, _LONGEST_FILL_S)
    status: str = await driver.execute(_FILL, zone.key, timeout=_LONGEST_FILL_S)
    return int(status.rpartition(" ")[2])
