"""One after another: what was counted earlier must not be written over what was counted later."""

import asyncio
from typing import Final

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncSession

_TRY_LOCK = text("SELECT pg_try_advisory_xact_lock(:key)")
_ASKED_AGAIN_S: Final = 0.1


async def take_turn(session: AsyncSession, key: int) -> None:
    """Return when nobody else counts under this key, and nobody will until the transaction ends.

    By asking again: who counts a month of a large mall takes minutes, and a statement that waits
    for a lock is given up after a second.
    """
    while not (await session.execute(_TRY_LOCK, {"key": key})).scalar_one():  # noqa: ASYNC110
        await asyncio.sleep(_ASKED_AGAIN_S)
