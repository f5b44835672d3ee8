"""Following the name that members have at their identity provider (`domain.md`, Leaderboard).

Whoever is renamed there comes with a token that says so. Of two tokens the one issued later is
right, so an older one, which is valid for as long as it says, does not bring the old name back.
"""

from collections.abc import Sequence
from datetime import UTC, datetime

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncSession

from services.announcements import Announcement, announce
from services.users.claims import Claims

# Locked in the order of ids, as movements lock them. Whoever waited for a lock is looked at again
# by PostgreSQL, with what the other transaction committed: so the WHERE below, once, keeps an older
# token from bringing its name back, and the UPDATE need not ask again of what is locked by then.
_RENAME = text(
    """
    WITH said AS (
        SELECT users.id, said.name, said.issued_at
        FROM unnest(CAST(:subjects AS text[]), CAST(:names AS text[]),
                    CAST(:issued AS timestamptz[])) AS said(subject, name, issued_at)
        JOIN users ON users.external_id = said.subject
        WHERE users.username <> said.name
          AND (users.named_at IS NULL OR users.named_at < said.issued_at)
        ORDER BY users.id FOR NO KEY UPDATE OF users
    )
    UPDATE users SET username = said.name, named_at = said.issued_at
    FROM said WHERE users.id = said.id
    RETURNING users.id
    """
)


def issued_at(claims: Claims) -> datetime | None:
    """When the token was issued; None where it does not say so."""
    return None if claims.issued_at is None else datetime.fromtimestamp(claims.issued_at, UTC)


def is_renamed(claims: Claims, username: str, named_at: datetime | None) -> bool:
    """Whether a token gives another name than the one that an older token gave, or none did."""
    if not claims.name or claims.name == username:
        return False
    said_at = issued_at(claims)
    return said_at is not None and (named_at is None or named_at < said_at)


async def rename_users(session: AsyncSession, sought: Sequence[Claims]) -> list[None]:
    """Give the users of verified tokens the names that these say, unless a newer one said another.

    Of several tokens of one user the newest counts. Boards show the names right after the commit.
    """
    newest: dict[str, tuple[datetime, str]] = {}
    for claims in sought:
        said_at = issued_at(claims)
        if claims.name and said_at is not None:
            said = (said_at, claims.name)
            newest[claims.subject] = max(newest.get(claims.subject, said), said)
    parameters = {
        "subjects": list(newest),
        "names": [name for _, name in newest.values()],
        "issued": [said_at for said_at, _ in newest.values()],
    }
    renamed = (await session.execute(_RENAME, parameters)).all()
    if renamed:
        announce(session, Announcement(profiles=True))
    return [None] * len(sought)
