"""Reading the catalogue, and streaming who exchanged, wished for and viewed what.

By COPY in its binary form: rows of fixed width that become arrays as they are. Ten million of them
pass through a few MB of memory, and the loop on which a worker's other jobs run is never held up.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession

from models.catalogue import ExchangeItem
from services.patient_driver import patient_driver
from services.recommendations.content import ItemTexts
from services.recommendations.interactions import (
    HALF_LIFE_DAYS,
    STRENGTHS,
    Floats,
    Ids,
    Interactions,
    Signal,
    decay,
    gather,
)
from services.recommendations.model import Catalogue

HISTORY_DAYS = 730
"""What is older counts for less than a hundredth."""
LONGEST_READ_S = 900
"""How long one kind of interactions may take to be read, in one statement that locks nothing."""
_ITEMS_A_PAGE = 5_000
_PARSED_BYTES = 1024 * 1024

_NOT_ERASED = """
    NOT EXISTS (SELECT FROM users WHERE users.id = user_id AND erased_at IS NOT NULL)
"""
_SOURCES: Mapping[Signal, str] = {
    Signal.EXCHANGE: f"""
        SELECT user_id, item_id, CAST(extract(epoch FROM created_at) AS float8) FROM exchanges
        WHERE status <> 'cancelled' AND created_at > $1 AND {_NOT_ERASED}
    """,
    Signal.WISH: f"""
        SELECT user_id, item_id, CAST(extract(epoch FROM created_at) AS float8) FROM wishes
        WHERE created_at > $1 AND {_NOT_ERASED}
    """,
    Signal.VIEW: f"""
        SELECT user_id, viewed_item_id, CAST(extract(epoch FROM occurred_at) AS float8) FROM events
        WHERE viewed_item_id IS NOT NULL AND occurred_at > $1 AND {_NOT_ERASED}
    """,
}

_HEADER_BYTES = 19
_END = b"\xff\xff"
_ROW = np.dtype(
    [
        ("fields", ">i2"),
        *(("user_bytes", ">i4"), ("user_id", ">i8")),
        *(("item_bytes", ">i4"), ("item_id", ">i8")),
        *(("at_bytes", ">i4"), ("at_s", ">f8")),
    ]
)


@dataclass(frozen=True, slots=True)
class Shelf:
    """The items that there are, in the order of their ids."""

    item_ids: Ids
    catalogue: Catalogue


@dataclass(slots=True)
class Gathered:
    """Collects interactions, as columns of the matrix that is made of them in the end."""

    shelf: Shelf
    now: datetime
    counts: dict[Signal, int] = field(default_factory=dict[Signal, int])
    _users: list[Ids] = field(default_factory=list[Any])
    _columns: list[NDArray[np.int32]] = field(default_factory=list[Any])
    _strengths: list[Floats] = field(default_factory=list[Any])

    def add(self, signal: Signal, rows: NDArray[Any]) -> None:
        """Add rows as PostgreSQL sent them; items that came after the shelf was read are left."""
        item_ids = self.shelf.item_ids
        wanted = rows["item_id"].astype(np.int64)
        places = np.searchsorted(item_ids, wanted)
        is_known = np.take(item_ids, places, mode="clip") == wanted if len(item_ids) else wanted < 0
        age_s = self.now.timestamp() - rows["at_s"][is_known]
        self._users.append(rows["user_id"][is_known].astype(np.int64))
        self._columns.append(places[is_known].astype(np.int32))
        self._strengths.append(decay(age_s, HALF_LIFE_DAYS) * np.float32(STRENGTHS[signal]))
        self.counts[signal] = self.counts.get(signal, 0) + len(age_s)

    def interactions(self) -> Interactions:
        """All that was added, as a matrix."""
        users = _drain(self._users, np.int64)
        columns = _drain(self._columns, np.int32)
        strengths = _drain(self._strengths, np.float32)
        return gather(users, columns, strengths, self.shelf.item_ids)


def _drain(pieces: list[Any], kind: type[np.generic]) -> NDArray[Any]:
    """The pieces as one array; the list is emptied, for they need not be there twice."""
    whole = np.concatenate([np.empty(0, dtype=kind), *pieces])
    pieces.clear()
    return whole


async def read_shelf(session: AsyncSession) -> Shelf:
    """Every item with its texts, page by page; what is not active is worth nothing."""
    columns = ExchangeItem.__table__.c
    wanted = [columns[name] for name in ("id", "name", "tags", "category", "description")]
    ids: list[int] = []
    texts: list[ItemTexts] = []
    worth: list[float] = []
    while True:
        page = select(*wanted, columns.is_active).where(columns.id > (ids[-1] if ids else 0))
        rows = (await session.execute(page.order_by(columns.id).limit(_ITEMS_A_PAGE))).all()
        for row in rows:
            ids.append(row.id)
            texts.append(ItemTexts(row.name, row.tags, row.category, row.description))
            worth.append(1.0 if row.is_active else 0.0)
        if len(rows) < _ITEMS_A_PAGE:
            break
    catalogue = Catalogue(texts, np.array(worth, dtype=np.float32))
    return Shelf(np.array(ids, dtype=np.int64), catalogue)


async def read_interactions(session: AsyncSession, signal: Signal, gathered: Gathered) -> None:
    """Add what members did of that kind, of late; in a transaction of its own."""
    driver = await patient_driver(session, LONGEST_READ_S)
    unread = bytearray()
    skipped = _HEADER_BYTES

    async def take(data: bytes) -> None:
        nonlocal skipped
        unread.extend(data)
        if len(unread) >= _PARSED_BYTES:
            skipped = _parse(unread, skipped, signal, gathered)

    since = gathered.now - timedelta(days=HISTORY_DAYS)
    await driver.copy_from_query(
        _SOURCES[signal], since, output=take, format="binary", timeout=LONGEST_READ_S
    )
    _parse(unread, skipped, signal, gathered)
    if bytes(unread) != _END:
        raise RuntimeError("the rows that PostgreSQL sent do not end where they should")


def _parse(unread: bytearray, skipped: int, signal: Signal, gathered: Gathered) -> int:
    """Take the whole rows out of what is unread; returns what of the header is still to skip."""
    del unread[:skipped]
    whole = len(unread) // _ROW.itemsize * _ROW.itemsize
    if whole:
        gathered.add(signal, np.frombuffer(bytes(unread[:whole]), dtype=_ROW))
        del unread[:whole]
    return 0
