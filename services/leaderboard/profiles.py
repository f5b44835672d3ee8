"""What anyone may see of a user: read for a whole board at once, and remembered by each process.

A token in Redis says until when: it is read with the board, before any profile, and whoever changes
a profile sets another one right after the commit. So what is remembered under a token is no older
than it. A minute is the longest, should a token ever not be set.
"""

import time
from collections.abc import Awaitable, Callable, Collection
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncSession

REMEMBERED_FOR_S = 60.0
MOST_REMEMBERED = 10_000

_PROFILES = text(
    """
    SELECT id, username, avatar_url,
           ARRAY(SELECT level FROM user_vip WHERE user_id = users.id ORDER BY level) AS levels,
           ARRAY(SELECT expires_at FROM user_vip WHERE user_id = users.id ORDER BY level) AS ends
    FROM users WHERE id = ANY(CAST(:user_ids AS bigint[])) AND erased_at IS NULL
    """
)


@dataclass(frozen=True, slots=True)
class Profile:
    """Who somebody is to others. `memberships`: (level, when it ends), lowest level first."""

    user_id: int
    username: str
    avatar_url: str | None
    memberships: tuple[tuple[int, datetime], ...]

    def vip_level(self, now: datetime) -> int:
        """The highest level that runs; 0 for none."""
        return max((level for level, ends_at in self.memberships if ends_at > now), default=0)


Load = Callable[[Collection[int]], Awaitable[dict[int, Profile]]]


async def profiles_by_id(session: AsyncSession, user_ids: Collection[int]) -> dict[int, Profile]:
    """Those of `user_ids` that exist and were not erased."""
    rows = await session.execute(_PROFILES, {"user_ids": sorted(user_ids)})
    return {
        row.id: Profile(
            row.id, row.username, row.avatar_url, tuple(zip(row.levels, row.ends, strict=True))
        )
        for row in rows
    }


class Profiles:
    """What a process remembers."""

    def __init__(self, elapsed_s: Callable[[], float] = time.monotonic) -> None:
        """`elapsed_s`: seconds since any moment, never back."""
        self._elapsed_s = elapsed_s
        self._token: str | None = None
        self._since_s = 0.0
        self._known: dict[int, Profile] = {}

    async def find(
        self, user_ids: Collection[int], token: str | None, load: Load
    ) -> dict[int, Profile]:
        """The profiles of those who have one; `load` reads those that are not remembered.

        `token` was read before; without one nothing is remembered.
        """
        if token is None:
            return await load(user_ids)
        known = self._under(token)
        missing = [user_id for user_id in user_ids if user_id not in known]
        loaded = await load(missing) if missing else {}
        if self._known is known:
            known |= loaded
        return {user_id: known[user_id] for user_id in user_ids if user_id in known} | loaded

    def _under(self, token: str) -> dict[int, Profile]:
        is_old = self._elapsed_s() > self._since_s + REMEMBERED_FOR_S
        if token != self._token or is_old or len(self._known) > MOST_REMEMBERED:
            self._token, self._since_s, self._known = token, self._elapsed_s(), {}
        return self._known
