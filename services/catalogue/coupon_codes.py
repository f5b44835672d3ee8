"""Imported coupon codes: into the pool, and out of it when they expire (`domain.md`, Exchange)."""

import re
from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from datetime import datetime

from sqlalchemy import TextClause, text
from sqlalchemy.ext.asyncio import AsyncSession

from models.catalogue import ExchangeItemType
from services.bulk import Writes
from services.calendar import Clock
from services.catalogue.items import Item, lock_items
from services.catalogue.restock import note_restock
from services.errors import InvalidInput, NotFound
from services.input_rules import TextInvalid
from services.operators import note_action

MOST_CODES_A_CALL = 10_000
LONGEST_CODE = 200
CODES_A_BATCH = 10_000

_UNPRINTABLE = re.compile("[\x00-\x1f\x7f-\x9f\ud800-\udfff]")


def import_statement(given: str) -> TextClause:
    """Move codes, each once, from `given`, a query for (code, expires_at), into an item's pool.

    In order of the codes: two calls with the same codes for two items wait for each other in one
    direction only. A code that a member holds already was generated, or was in a pool that is gone.
    """
    return text(
        f"""
        WITH imported AS (
            INSERT INTO coupon_codes (item_id, code, expires_at, imported_at)
            SELECT CAST(:item_id AS bigint), code, expires_at, :now
            FROM ({given}) given
            WHERE NOT EXISTS (SELECT FROM user_coupons WHERE user_coupons.code = given.code)
            ORDER BY code
            ON CONFLICT (code) DO NOTHING
            RETURNING id
        ), counted AS (
            SELECT count(*)::int AS codes FROM imported
        )
        UPDATE exchange_items SET stock = stock + codes, total_stock = total_stock + codes,
                                  updated_at = :now
        FROM counted WHERE exchange_items.id = :item_id
        RETURNING codes
        """
    )


_IMPORT = import_statement(
    """
    SELECT DISTINCT code, CAST(:expires_at AS timestamptz) AS expires_at
    FROM unnest(CAST(:codes AS text[])) AS called(code)
    """
)
_ITEMS_WITH_DUE_CODES = text(
    """
    SELECT DISTINCT item_id FROM (
        SELECT item_id FROM coupon_codes
        WHERE status = 'unused' AND expires_at <= :now
        ORDER BY expires_at LIMIT :limit
    ) due
    """
)
_EXPIRE = text(
    """
    WITH due AS (
        SELECT id FROM coupon_codes
        WHERE status = 'unused' AND expires_at <= :now
          AND item_id = ANY(CAST(:item_ids AS bigint[]))
        ORDER BY expires_at LIMIT :limit FOR UPDATE SKIP LOCKED
    ), expired AS (
        UPDATE coupon_codes SET status = 'expired' FROM due WHERE coupon_codes.id = due.id
        RETURNING item_id
    ), counted AS (
        SELECT item_id, count(*)::int AS codes FROM expired GROUP BY item_id
    )
    UPDATE exchange_items SET stock = stock - codes, total_stock = total_stock - codes,
                              updated_at = :now
    FROM counted WHERE exchange_items.id = counted.item_id
    RETURNING exchange_items.id, codes
    """
)
# A range of one item, so that the index of unused codes serves it, as for a draw
# (services.exchange.code_pool).
_HAS_GOOD = text(
    """
    SELECT EXISTS (
        SELECT FROM coupon_codes
        WHERE item_id >= :item_id AND item_id <= :item_id AND status = 'unused'
          AND (expires_at IS NULL OR expires_at > :now)
    )
    """
)


class TooManyCodes(InvalidInput):
    """More codes than one call may bring."""


@dataclass(frozen=True, slots=True)
class CodeImport:
    """Codes that an operator adds to an item's pool; they end at `expires_at`, if ever."""

    operator_id: int
    item_id: int
    codes: Sequence[str]
    expires_at: datetime | None


@dataclass(frozen=True, slots=True)
class CodesImported:
    """How many codes are new, how many were known (or twice in the call), the item afterwards.

    The stock of `item` is what can be had of it.
    """

    imported: int
    duplicates: int
    item: Item


@dataclass(frozen=True, slots=True)
class ClearedPool:
    """An item, locked, as it was; how many of its codes were taken out now; what can be had of it.

    `before` and `expired` explain the stock in the books, which counts what is past its end until
    that is taken out. `obtainable` is what a restock is decided by.
    """

    before: Item
    expired: int
    obtainable: Item

    @property
    def stock(self) -> int:
        """The stock in the books now."""
        return self.before.stock - self.expired

    def with_imported(self, codes: int) -> Item:
        """What can be had once so many more codes are in the pool."""
        return replace(self.obtainable, stock=self.obtainable.stock + codes)


async def import_codes(
    session: AsyncSession, request: CodeImport, *, clock: Clock
) -> CodesImported:
    """Add up to 10,000 codes to the pool of an item, and their number to its stock.

    Codes that are in any pool, or that any member holds, are counted and left out. Raises NotFound
    and InvalidInput.
    """
    _require_codes(request.codes)
    item = await lock_pool(session, request.item_id)
    now = clock()
    _require_future(request, now)
    pool = await clear_pool(session, item, now)
    parameters = {
        "item_id": item.id,
        "codes": list(request.codes),
        "expires_at": request.expires_at,
        "now": now,
    }
    imported = (await session.execute(_IMPORT, parameters)).scalar_one()
    duplicates = len(request.codes) - imported
    done = CodesImported(imported, duplicates, pool.with_imported(imported))
    await _note(session, request, pool, done, now)
    return done


def _require_codes(codes: Sequence[str]) -> None:
    if len(codes) > MOST_CODES_A_CALL:
        raise TooManyCodes(("codes",), f"at most {MOST_CODES_A_CALL} a call")
    for number, code in enumerate(codes):
        if not is_code(code):
            raise TextInvalid(("codes", str(number)), 1, LONGEST_CODE)


def is_code(text: str) -> bool:
    """Whether a text can be a coupon's code: 1 to 200 characters, none of them a control."""
    is_trimmed = text == text.strip()
    return is_trimmed and 1 <= len(text) <= LONGEST_CODE and not _UNPRINTABLE.search(text)


async def lock_pool(session: AsyncSession, item_id: int) -> Item:
    """Lock an item whose codes are imported; raises NotFound and InvalidInput."""
    item = (await lock_items(session, [item_id])).get(item_id)
    if item is None:
        raise NotFound("ExchangeItem", str(item_id))
    if item.type is not ExchangeItemType.COUPON:
        raise InvalidInput(("itemId",), "only a COUPON has codes")
    if not item.draws_codes:
        raise InvalidInput(("itemId",), "this item generates its codes")
    return item


def _require_future(request: CodeImport, now: datetime) -> None:
    if request.expires_at is not None and request.expires_at <= now:
        raise InvalidInput(("expiresAt",), "has to lie in the future")


async def _note(
    session: AsyncSession,
    request: CodeImport,
    pool: ClearedPool,
    done: CodesImported,
    now: datetime,
) -> None:
    """The codes themselves stay out of the books: whoever reads one can spend it."""
    details = {
        "imported": done.imported,
        "duplicates": done.duplicates,
        "expires_at": request.expires_at,
        "expired": pool.expired,
        "before": {"stock": pool.before.stock},
        "after": {"stock": pool.stock + done.imported},
    }
    writes, item_id = Writes(), done.item.id
    note_action(
        writes, request.operator_id, "import_codes", ("ExchangeItem", item_id), details, now
    )
    await note_restock(session, writes, [(pool.obtainable, done.item)], now)
    await writes.flush(session)


async def expire_codes(
    session: AsyncSession, clock: Clock, *, codes: int = CODES_A_BATCH
) -> int | None:
    """Take up to `codes` unused codes that have expired out of their pools and stocks.

    Returns how many; None says that none was due. One batch, one transaction: bounded in how long
    it holds up who wants the items.
    """
    found = await session.execute(_ITEMS_WITH_DUE_CODES, {"now": clock(), "limit": codes})
    item_ids = found.scalars().all()
    if not item_ids:
        return None
    await lock_items(session, item_ids)
    return sum((await _expire(session, item_ids, codes, clock())).values())


async def clear_pool(session: AsyncSession, item: Item, now: datetime) -> ClearedPool:
    """Take up to 10,000 codes that have expired out of a pool, under its item's lock.

    Before codes are added: else those that nobody can have any more would hide that the item is
    back in stock. One batch and no more, for everybody who wants the item waits meanwhile; what is
    left of them is for `expire_codes`, and until then only counts when good codes stand beside it.
    """
    expired = (await _expire(session, [item.id], CODES_A_BATCH, now)).get(item.id, 0)
    stock = item.stock - expired
    if expired == CODES_A_BATCH and not await _has_good_codes(session, item.id, now):
        stock = 0
    return ClearedPool(item, expired, replace(item, stock=stock))


async def _has_good_codes(session: AsyncSession, item_id: int, now: datetime) -> bool:
    found = await session.execute(_HAS_GOOD, {"item_id": item_id, "now": now})
    return found.scalar_one()


async def _expire(
    session: AsyncSession, item_ids: Collection[int], limit: int, now: datetime
) -> dict[int, int]:
    """How many codes of each item were taken out, under the items' locks."""
    parameters = {"item_ids": sorted(item_ids), "limit": limit, "now": now}
    return {row.id: row.codes for row in await session.execute(_EXPIRE, parameters)}
