"""Opening balances: a company moves in with the points that its members had elsewhere.

A line is a member (by external id), the points, and optionally when they end and the member's
name. Members are created as their first token would. A member has one opening balance, ever: the
reference of the grant is the member's number. A line that comes again is a duplicate, wherever
that is, and one that says something else is rejected. Who was erased has no number any more, and
is rejected: the books of their own may hold one already.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from zoneinfo import ZoneInfo

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncSession

from models.users import User
from services.bulk import Writes, insert_rows
from services.calendar import Clock
from services.identifiers import new_id
from services.imports.files import Layout, Line, read_end
from services.imports.run import FileFormat, Settled
from services.points.account import OPENING_BALANCE, Account, Cause, Lot
from services.points.accounts import load_lots, lock_accounts, save_accounts
from services.points.expiry import expiry_of
from services.points.grant import MOST_POINTS_A_GRANT, name_grants
from services.points.ledger import grant
from services.points.room import BalanceFull
from services.users.erased_subjects import erased_among
from services.users.profile import DEFAULT_LOCALE, anonymous_name

SOURCE = OPENING_BALANCE
_LONGEST_SUBJECT, _LONGEST_NAME, _MOST_DIGITS = 255, 100, 16
_BAD_POINTS = f"points must be a whole number from 1 to {MOST_POINTS_A_GRANT}"

_ERASED = "the personal data of this user was erased: nothing is imported for them any more"

_NEW_USER = ("external_id", "username", "locale", "timezone", "created_at")
_USERS = text(
    "SELECT id, external_id FROM users WHERE external_id = ANY(CAST(:subjects AS text[]))"
)
_OTHER = "this user has an opening balance already that says something else"
# A lot whose end was moved no longer says what it was granted with: the log does.
_SETTLED = text(
    """
    SELECT opening.user_id, opening.points, lot.created_at,
           CASE WHEN lot.extended_at IS NULL THEN lot.expires_at ELSE (
               SELECT CAST(log.details ->> 'expires_at' AS timestamptz)
               FROM points_audit_log log
               WHERE log.user_id = opening.user_id AND log.action = 'earn'
                 AND log.details ->> 'lot' = CAST(lot.id AS text)
           ) END AS expires_at
    FROM points_grants opening JOIN points_records lot ON lot.id = opening.points_record_id
    WHERE opening.source = :source AND opening.reference = ANY(CAST(:references AS text[]))
    """
)


@dataclass(frozen=True, slots=True)
class OpeningBalance:
    """One line that can be imported. Without an end the source's own one holds."""

    line: Line
    subject: str
    points: int
    expires_at: datetime | None
    name: str | None


@dataclass(frozen=True, slots=True)
class Opened:
    """What an opening balance that was granted said, and when that was."""

    points: int
    expires_at: datetime | None
    granted_at: datetime

    def was_said_by(self, balance: OpeningBalance, zone: ZoneInfo) -> bool:
        """Whether a line would have granted just this."""
        ends = _end_of(balance, self.granted_at, zone)
        return (balance.points, ends) == (self.points, self.expires_at)


def opening_balances(clock: Clock, zone: ZoneInfo) -> FileFormat[OpeningBalance]:
    """How a file of opening balances is imported."""

    async def check(session: AsyncSession) -> None:
        """Anybody may have one."""

    return FileFormat(
        kind=SOURCE,
        target="",
        action="import_points",
        layout=Layout(needed=("user", "points"), optional=("expires_at", "name")),
        check=check,
        read=read_balance,
        settle=partial(import_balances, clock=clock, zone=zone),
    )


def read_balance(line: Line, now: datetime) -> OpeningBalance | str:
    """The balance that a line says, or what is wrong with it."""
    values = line.values
    subject, name = values["user"], values.get("name") or None
    if not 1 <= len(subject) <= _LONGEST_SUBJECT:
        return f"user needs 1 to {_LONGEST_SUBJECT} characters"
    points = values["points"]
    if not points.isascii() or not points.isdigit() or len(points) > _MOST_DIGITS:
        return _BAD_POINTS
    if not 1 <= int(points) <= MOST_POINTS_A_GRANT:
        return _BAD_POINTS
    if name is not None and len(name) > _LONGEST_NAME:
        return f"name takes at most {_LONGEST_NAME} characters"
    try:
        expires_at = read_end(values, now)
    except ValueError as error:
        return str(error)
    return OpeningBalance(line, subject, int(points), expires_at, name)


async def import_balances(
    session: AsyncSession, balances: Sequence[OpeningBalance], *, clock: Clock, zone: ZoneInfo
) -> Settled:
    """Grant opening balances, each once per member."""
    erased = await erased_among(session, {balance.subject for balance in balances})
    wanted = [each for each in balances if each.subject not in erased]
    numbers = await _create_users(session, wanted, zone, clock())
    accounts = await lock_accounts(session, numbers.values())
    opened = await _opened(session, accounts)
    fresh = {user_id: each for user_id, each in accounts.items() if user_id not in opened}
    now = clock()
    await load_lots(session, fresh, {}, now)
    lots: list[Lot] = []
    rejected = [(each.line, _ERASED) for each in balances if each.subject in erased]
    for balance in wanted:
        user_id = numbers[balance.subject]
        try:
            if user_id not in opened:
                lots.append(_open(fresh[user_id], balance, now, zone))
                opened[user_id] = Opened(balance.points, lots[-1].expires_at, now)
            elif not opened[user_id].was_said_by(balance, zone):
                rejected.append((balance.line, _OTHER))
        except BalanceFull as full:
            rejected.append((balance.line, full.problem))
    await _save(session, fresh, lots, zone)
    return Settled(len(lots), len(balances) - len(lots) - len(rejected), rejected)


async def _create_users(
    session: AsyncSession, balances: Sequence[OpeningBalance], zone: ZoneInfo, now: datetime
) -> dict[str, int]:
    """The number of each member by external id; who is new is called what the first line says."""
    names = {each.subject: each.name for each in reversed(balances)}
    rows = [
        (subject, names[subject] or anonymous_name(subject), DEFAULT_LOCALE, zone.key, now)
        for subject in sorted(names)
    ]
    await insert_rows(session, User, _NEW_USER, rows, suffix="ON CONFLICT DO NOTHING")
    found = await session.execute(_USERS, {"subjects": list(names)})
    return {row.external_id: row.id for row in found}


async def _opened(session: AsyncSession, user_ids: Iterable[int]) -> dict[int, Opened]:
    """What was granted before to those who have an opening balance; they must be locked."""
    asked = {"source": SOURCE, "references": [str(user_id) for user_id in user_ids]}
    return {
        row.user_id: Opened(row.points, row.expires_at, row.created_at)
        for row in await session.execute(_SETTLED, asked)
    }


def _open(account: Account, balance: OpeningBalance, now: datetime, zone: ZoneInfo) -> Lot:
    # Not the external id: a member's personal data may have to be erased, the ledger never is.
    cause = Cause(SOURCE, str(account.user_id), "import")
    return grant(account, new_id(), balance.points, cause, _end_of(balance, now, zone), now)


def _end_of(balance: OpeningBalance, granted_at: datetime, zone: ZoneInfo) -> datetime | None:
    return balance.expires_at or expiry_of(SOURCE, granted_at, zone)


async def _save(
    session: AsyncSession, accounts: dict[int, Account], lots: Sequence[Lot], zone: ZoneInfo
) -> None:
    writes = Writes()
    save_accounts(writes, accounts.values(), zone)
    name_grants(writes, lots)
    await writes.flush(session)
