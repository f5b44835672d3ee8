"""Opening balances: a company moves in with the points that its members had elsewhere.

A line is a member (by external id), the points, and optionally when they end and the member's
name. Members are created as their first token would. A member has one opening balance, ever: the
reference of the grant is the member's number, so a line that comes again is a duplicate. Who was
erased has no number any more, and is rejected: the books of their own may hold one already.
"""

from collections.abc import Sequence
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
from services.imports.rejected import Rejected
from services.imports.run import FileFormat, Settled
from services.points.account import Account, Cause, Lot
from services.points.accounts import load_lots, lock_accounts, save_accounts
from services.points.expiry import expiry_of
from services.points.grant import MOST_POINTS_A_GRANT, name_grants
from services.points.ledger import grant
from services.points.room import BalanceFull
from services.users.erased_subjects import erased_among
from services.users.profile import DEFAULT_LOCALE, anonymous_name

SOURCE = "opening_balance"
_LONGEST_SUBJECT, _LONGEST_NAME, _MOST_DIGITS = 255, 100, 16
_BAD_POINTS = f"points must be a whole number from 1 to {MOST_POINTS_A_GRANT}"

_ERASED = "the personal data of this user was erased: nothing is imported for them any more"

_NEW_USER = ("external_id", "username", "locale", "timezone", "created_at")
_USERS = text(
    "SELECT id, external_id FROM users WHERE external_id = ANY(CAST(:subjects AS text[]))"
)
_SETTLED = text(
    """
    SELECT user_id FROM points_grants
    WHERE source = :source AND reference = ANY(CAST(:references AS text[]))
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
    rejected: list[Rejected] = []
    wanted: dict[str, OpeningBalance] = {}
    erased = await erased_among(session, {balance.subject for balance in balances})
    rejected += [(each.line, _ERASED) for each in balances if each.subject in erased]
    balances = [each for each in balances if each.subject not in erased]
    for balance in balances:
        first = wanted.setdefault(balance.subject, balance)
        if not _is_same(first, balance):
            rejected.append((balance.line, "another opening balance of this user stands above"))
    await _create_users(session, wanted, zone, clock())
    imported, too_many = await _grant(session, wanted, clock, zone)
    granted_once = [each for each in balances if _is_same(wanted[each.subject], each)]
    duplicates = len(granted_once) - imported - len(too_many)
    return Settled(imported, duplicates, [*rejected, *too_many])


def _is_same(one: OpeningBalance, other: OpeningBalance) -> bool:
    return (one.points, one.expires_at) == (other.points, other.expires_at)


async def _create_users(
    session: AsyncSession, wanted: dict[str, OpeningBalance], zone: ZoneInfo, now: datetime
) -> None:
    rows = [
        (subject, wanted[subject].name or anonymous_name(subject), DEFAULT_LOCALE, zone.key, now)
        for subject in sorted(wanted)
    ]
    await insert_rows(session, User, _NEW_USER, rows, suffix="ON CONFLICT DO NOTHING")


async def _grant(
    session: AsyncSession, wanted: dict[str, OpeningBalance], clock: Clock, zone: ZoneInfo
) -> tuple[int, list[Rejected]]:
    """How many were granted, and the lines of those whose balance could not hold it."""
    rows = await session.execute(_USERS, {"subjects": list(wanted)})
    by_user = {row.id: wanted[row.external_id] for row in rows}
    accounts = await lock_accounts(session, by_user)
    settled = {"source": SOURCE, "references": [str(user_id) for user_id in by_user]}
    for user_id in (await session.execute(_SETTLED, settled)).scalars():
        del accounts[user_id]
    now = clock()
    await load_lots(session, accounts, {}, now)
    lots: list[Lot] = []
    too_many: list[Rejected] = []
    for user_id, account in accounts.items():
        balance = by_user[user_id]
        try:
            lots.append(_open(account, balance, now, zone))
        except BalanceFull as full:
            too_many.append((balance.line, full.problem))
    writes = Writes()
    save_accounts(writes, accounts.values())
    name_grants(writes, lots)
    await writes.flush(session)
    return len(lots), too_many


def _open(account: Account, balance: OpeningBalance, now: datetime, zone: ZoneInfo) -> Lot:
    # Not the external id: a member's personal data may have to be erased, the ledger never is.
    cause = Cause(SOURCE, str(account.user_id), "import")
    expires_at = balance.expires_at or expiry_of(SOURCE, now, zone)
    return grant(account, new_id(), balance.points, cause, expires_at, now)
