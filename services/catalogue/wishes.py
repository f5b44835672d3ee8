"""What members wish for (`domain.md`, Catalogue)."""

from collections.abc import Iterable
from datetime import datetime

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncSession

from services.catalogue.items import Item, items_by_id
from services.errors import NotFound, Unauthenticated

WishOf = tuple[int, int]
"""(user id, item id)."""

# The lock that a new row's foreign key takes, before it: an erasure comes wholly before or after.
_HOLD_USER = text("SELECT id FROM users WHERE id = :user_id AND erased_at IS NULL FOR KEY SHARE")
_WISH = text(
    """
    INSERT INTO wishes (user_id, item_id, created_at) VALUES (:user_id, :item_id, :now)
    ON CONFLICT DO NOTHING
    """
)
_UNWISH = text("DELETE FROM wishes WHERE user_id = :user_id AND item_id = :item_id")
_FIND = text(
    """
    SELECT user_id, item_id FROM wishes
    JOIN unnest(CAST(:user_ids AS bigint[]), CAST(:item_ids AS bigint[]))
        AS asked(user_id, item_id) USING (user_id, item_id)
    """
)


async def set_wished(
    session: AsyncSession, user_id: int, item_id: int, now: datetime, *, wished: bool
) -> Item:
    """Put an item on the user's wish list, or take it off; saying so again changes nothing.

    Any item may be wished for: one that is sold out most of all. Raises NotFound,
    and Unauthenticated for a user who was erased: their token may outlive them.
    """
    held = await session.execute(_HOLD_USER, {"user_id": user_id})
    if held.one_or_none() is None:
        raise Unauthenticated
    item = (await items_by_id(session, [item_id])).get(item_id)
    if item is None:
        raise NotFound("ExchangeItem", str(item_id))
    key = {"user_id": user_id, "item_id": item_id}
    if wished:
        await session.execute(_WISH, {**key, "now": now})
    else:
        await session.execute(_UNWISH, key)
    return item


async def find_wishes(session: AsyncSession, pairs: Iterable[WishOf]) -> dict[WishOf, bool]:
    """True for each of the pairs that is a wish; the others are missing."""
    asked = list(set(pairs))
    parameters = {
        "user_ids": [user_id for user_id, _ in asked],
        "item_ids": [item_id for _, item_id in asked],
    }
    rows = await session.execute(_FIND, parameters)
    return {(row.user_id, row.item_id): True for row in rows}
