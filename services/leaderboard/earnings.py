"""What members earn by day: the truth behind every board (`domain.md`, Leaderboard).

Written with the movement that earns it, in its round trip, so that a board can be computed at any
time, of any past day too. A movement that ranks nobody writes nothing here.
"""

from collections.abc import Iterable, Sequence
from datetime import date, datetime, timedelta
from zoneinfo import ZoneInfo

from sqlalchemy.ext.asyncio import AsyncSession

from models.leaderboard import DailyEarnings
from services.announcements import Announcement
from services.bulk import Writes, in_pieces
from services.calendar import local_day
from services.outbox import enqueue
from services.points.account import OPENING_BALANCE, Account, ranked_changes

REFRESH_JOB = "refresh_ranks"
"""Does again, after a crash, what the process that settled does right after its commit."""
REFRESH_AFTER = timedelta(seconds=5)
USERS_A_REFRESH = 1_000

RANKED_CHANGES = f"""
    SELECT user_id, created_at, amount AS points FROM points_audit_log
    WHERE action = 'earn' AND source IS DISTINCT FROM '{OPENING_BALANCE}'
    UNION ALL
    SELECT user_id, created_at, withheld_points - points FROM points_reversals
    WHERE source <> '{OPENING_BALANCE}' AND points > withheld_points
"""
"""The same by the books (`services.points.account.ranked_changes`), as a query."""

_COLUMNS = ("user_id", "day", "points", "last_at")
_ADD = (
    "ON CONFLICT (user_id, day) DO UPDATE SET points = daily_earnings.points + excluded.points,"
    " last_at = greatest(daily_earnings.last_at, excluded.last_at)"
)


def save_earnings(writes: Writes, accounts: Iterable[Account], zone: ZoneInfo) -> None:
    """Add what counts on boards to the days of the mall on which it was earned or taken back.

    Asks for the members' ranks to be refreshed, by announcement and by a job.
    """
    days: dict[tuple[int, date], tuple[int, datetime]] = {}
    for account in accounts:
        for at, change in ranked_changes(account):
            key = (account.user_id, local_day(at, zone))
            points, last_at = days.get(key, (0, at))
            days[key] = (points + change, max(last_at, at))
    if not days:
        return
    rows = [(*key, *earned) for key, earned in sorted(days.items())]
    writes.insert(DailyEarnings, _COLUMNS, rows, suffix=_ADD)
    user_ids = sorted({user_id for user_id, _ in days})
    ask_for_refresh(writes, user_ids, max(last_at for _, last_at in days.values()))


def ask_for_refresh(writes: Writes, user_ids: Sequence[int], now: datetime) -> None:
    """Let the boards show those users as they are from the commit on."""
    writes.announcement.ranked.update(user_ids)
    enqueue(writes, REFRESH_JOB, _payloads(user_ids), now, due_at=now + REFRESH_AFTER)


async def leave_boards(session: AsyncSession, user_id: int, now: datetime) -> None:
    """Let a user who was just erased disappear from all boards, and be shown by name nowhere."""
    writes = Writes()
    writes.announcement.add(Announcement({user_id}, {user_id}, profiles=True))
    enqueue(writes, REFRESH_JOB, _payloads([user_id]), now, due_at=now + REFRESH_AFTER)
    await writes.flush(session)


def _payloads(user_ids: Sequence[int]) -> list[dict[str, list[int]]]:
    return [{"user_ids": list(some)} for some in in_pieces(user_ids, USERS_A_REFRESH)]
