"""Telling those who wish for an item that it can be had again (`domain.md`, Catalogue)."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import date, datetime
from zoneinfo import ZoneInfo

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncSession

from models.notifications import PushType
from services.bulk import Writes
from services.calendar import local_day
from services.catalogue.items import Item, items_by_id
from services.identifiers import global_id
from services.messages import message, plural_message
from services.notifications.decide import Draft
from services.notifications.plan import plan_pushes
from services.outbox import enqueue

BACK_IN_STOCK_JOB = "back_in_stock"
WISHERS_A_PAGE = 500

_WISHED = text(
    """
    SELECT item_id FROM unnest(CAST(:item_ids AS bigint[])) AS back(item_id)
    WHERE EXISTS (SELECT FROM wishes WHERE wishes.item_id = back.item_id) ORDER BY item_id
    """
)
# A page is so many wishes, whoever of them is told: the next one begins after the last of them.
_PAGE = text(
    """
    SELECT user_id, coalesce(suspended_until > :now, false) AS is_suspended
    FROM (
        SELECT user_id FROM wishes WHERE item_id = :item_id AND user_id > :after
        ORDER BY user_id LIMIT :limit
    ) AS page
    JOIN users ON users.id = user_id
    ORDER BY user_id
    """
)


@dataclass(frozen=True, slots=True)
class WisherPage:
    """The wishers of an item that follow a user; `day`, of the mall, is when it came back."""

    item_id: int
    after: int = 0
    day: date | None = None


async def note_restock(
    session: AsyncSession, writes: Writes, changes: Iterable[tuple[Item, Item]], now: datetime
) -> None:
    """Ask for the wishers of each item to be told, if (before, after) the change says that it is.

    That is: on sale and in stock now, and not so before, be it for its stock, its window or that it
    was switched off. Under the items' locks; nothing is asked for where nobody wishes for it. An
    item whose window opens by the clock alone changes nothing, so nobody is told of it here.
    """
    back = [after.id for before, after in changes if is_back(before, after, now)]
    if back:
        wished = (await session.execute(_WISHED, {"item_ids": back})).scalars()
        enqueue(writes, BACK_IN_STOCK_JOB, [{"item_id": item_id} for item_id in wished], now)


def is_back(before: Item, after: Item, now: datetime) -> bool:
    """Whether a change of an item made it one that can be had."""
    return after.can_be_had(now) and not before.can_be_had(now)


async def tell_wishers(
    session: AsyncSession, page: WisherPage, now: datetime, zone: ZoneInfo
) -> None:
    """Tell a page of wishers that the item is back, and ask for the next page.

    Nobody is told once it is sold out again or off sale; a member hears of an item once a day, and
    who is suspended, and could not take it, does not.
    """
    item = (await items_by_id(session, [page.item_id])).get(page.item_id)
    if item is None or not item.can_be_had(now):
        return
    parameters = {
        "item_id": item.id,
        "after": page.after,
        "limit": WISHERS_A_PAGE,
        "now": now,
    }
    wishers = (await session.execute(_PAGE, parameters)).all()
    day = page.day or local_day(now, zone)
    told = [row.user_id for row in wishers if not row.is_suspended]
    writes = Writes()
    if told:
        drafts = [_back_in_stock(user_id, item, day) for user_id in told]
        await plan_pushes(session, writes, drafts, now)
    if len(wishers) == WISHERS_A_PAGE:
        following = {"item_id": item.id, "after": wishers[-1].user_id, "day": day.isoformat()}
        enqueue(writes, BACK_IN_STOCK_JOB, [following], now)
    await writes.flush(session)


def _back_in_stock(user_id: int, item: Item, day: date) -> Draft:
    def words(locale: str) -> tuple[str, str]:
        title = message(locale, "{item} is back", item=item.name)
        body = plural_message(
            locale,
            "You wished for it: get it for {count} point while it lasts.",
            "You wished for it: get it for {count} points while it lasts.",
            item.points,
        )
        return title, body

    reference = f"{BACK_IN_STOCK_JOB}:{item.id}:{day}"
    payload = {"itemId": global_id("ExchangeItem", item.id)}
    return Draft(user_id, PushType.CAMPAIGN, reference, words, payload)
