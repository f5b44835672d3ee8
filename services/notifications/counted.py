"""How many pushes members have got, or will get, by their own days: what the daily cap counts."""

from collections import Counter, defaultdict
from collections.abc import Iterable
from datetime import UTC, date, datetime

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncSession

# A member's day begins up to 14 hours before UTC's and ends 12 hours after it; quiet hours hold a
# push for a day, and for another when the clock skips the only time that is not quiet.
_READ_COUNTED = text(
    """
    SELECT user_id, counted_on, count(*) AS pushes FROM push_records
    WHERE user_id = ANY(CAST(:user_ids AS bigint[])) AND status IN ('queued', 'sent')
      AND counted_on BETWEEN CAST(:today AS date) - 1 AND CAST(:today AS date) + 3
    GROUP BY user_id, counted_on
    """
)


async def read_counted(
    session: AsyncSession, user_ids: Iterable[int], now: datetime
) -> dict[int, Counter[date]]:
    """By member and day, from yesterday on; exact while the members' preferences are locked."""
    # Not the database's own idea of today, which depends on how its sessions are set.
    parameters = {"user_ids": sorted(user_ids), "today": now.astimezone(UTC).date()}
    counted: dict[int, Counter[date]] = defaultdict(Counter)
    for row in await session.execute(_READ_COUNTED, parameters):
        counted[row.user_id][row.counted_on] = row.pushes
    return counted
