"""Tags to choose interests from (`contract.graphql`, interestOptions)."""

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncSession

from services.users.profile import LONGEST_INTEREST

# Only what `updateProfile` would take as an interest; an item counts once, however often it says
# the same. The collation is named so that ties do not depend on the database's.
_MOST_USED = text(
    """
    SELECT tag FROM (
        SELECT exchange_items.id, btrim(tag) AS tag
        FROM exchange_items CROSS JOIN LATERAL unnest(tags) tag WHERE is_active
    ) tagged
    WHERE char_length(tag) BETWEEN 1 AND :longest
    GROUP BY tag ORDER BY count(DISTINCT id) DESC, tag COLLATE "C" LIMIT :limit
    """
)


async def interest_options(session: AsyncSession, limit: int) -> list[str]:
    """At most `limit` tags of active items, the most used first."""
    parameters = {"limit": limit, "longest": LONGEST_INTEREST}
    return list((await session.execute(_MOST_USED, parameters)).scalars())
