"""Knowing a subject that was erased when it comes back, without keeping who it was.

An opening balance is imported once per member, ever. The erased member's number is nobody's any
more and the same subject would get a new one, so a salted hash of the subject is what is kept.
"""

import hmac
from collections.abc import Iterable
from datetime import datetime

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncSession

_SALT = text("SELECT salt FROM erasure_salt")
# Before any user is locked, on both sides: whoever imports sees an erasure whole or not at all.
_BEFORE_ERASING = text("LOCK TABLE erased_subjects IN ROW EXCLUSIVE MODE")
_WITHOUT_ERASURES = text("LOCK TABLE erased_subjects IN SHARE MODE")
_REMEMBER = text(
    """
    INSERT INTO erased_subjects (digest, erased_at) VALUES (:digest, :now) ON CONFLICT DO NOTHING
    """
)
_FIND = text("SELECT digest FROM erased_subjects WHERE digest = ANY(CAST(:digests AS bytea[]))")


async def await_imports(session: AsyncSession) -> None:
    """Wait until no transaction relies on who was erased; comes before any lock of a user."""
    await session.execute(_BEFORE_ERASING)


async def remember_erased(session: AsyncSession, subject: str, now: datetime) -> None:
    """Keep the subject's salted hash; a subject that was erased before is known already."""
    digest = digest_of(subject, await _salt(session))
    await session.execute(_REMEMBER, {"digest": digest, "now": now})


async def erased_among(session: AsyncSession, subjects: Iterable[str]) -> set[str]:
    """Those of the subjects that were erased; nobody is, until the transaction ends.

    Comes before any lock of a user.
    """
    await session.execute(_WITHOUT_ERASURES)
    salt = await _salt(session)
    by_digest = {digest_of(subject, salt): subject for subject in subjects}
    found = await session.execute(_FIND, {"digests": list(by_digest)})
    return {by_digest[digest] for digest in found.scalars()}


def digest_of(subject: str, salt: bytes) -> bytes:
    """HMAC-SHA-256 of the subject: nobody without the salt can try subjects out."""
    return hmac.digest(salt, subject.encode(), "sha256")


async def _salt(session: AsyncSession) -> bytes:
    return (await session.execute(_SALT)).scalar_one()
