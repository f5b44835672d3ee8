"""Files of coupon codes for an item's imported pool (`domain.md`, Exchange).

A line is a code, and optionally when it ends. A code that any pool or any member has is a
duplicate, so a line that comes again changes nothing.
"""

from collections.abc import Sequence
from datetime import datetime
from functools import partial
from typing import Any

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncSession

from services.bulk import Writes
from services.calendar import Clock
from services.catalogue.coupon_codes import (
    LONGEST_CODE,
    clear_pool,
    import_statement,
    is_code,
    lock_pool,
)
from services.catalogue.restock import note_restock
from services.imports.files import Layout, Line, read_end
from services.imports.run import FileFormat, Settled

KIND = "coupon_codes"
_PIECE_BYTES = 512 * 1024
"""Some 20,000 codes: each piece holds the item's lock for a third of a second, and as long again
when as many as it may take out have expired."""

CodeRow = tuple[str, datetime | None]
"""A code and its own end, if it has one."""

_STAGING = "coupon_staging"
_STAGE = text(
    f"CREATE TEMPORARY TABLE IF NOT EXISTS {_STAGING}"
    " (number bigint GENERATED ALWAYS AS IDENTITY, code text, expires_at timestamptz)"
    " ON COMMIT DELETE ROWS"
)
_IMPORT = import_statement(
    f"SELECT DISTINCT ON (code) code, expires_at FROM {_STAGING} ORDER BY code, number"
)


def coupon_codes(item_id: int, clock: Clock) -> FileFormat[CodeRow]:
    """How a file of codes is imported into the pool of an item."""

    async def check(session: AsyncSession) -> None:
        await lock_pool(session, item_id)

    return FileFormat(
        kind=KIND,
        target=f"ExchangeItem {item_id}",
        action="import_codes",
        layout=Layout(needed=("code",), optional=("expires_at",), is_loose=True),
        check=check,
        read=read_code,
        settle=partial(import_rows, item_id=item_id, clock=clock),
        piece_bytes=_PIECE_BYTES,
        about=("ExchangeItem", item_id),
    )


def read_code(line: Line, now: datetime) -> CodeRow | str:
    """The code that a line says, or what is wrong with it."""
    code = line.values["code"]
    if not is_code(code):
        return f"a code needs 1 to {LONGEST_CODE} characters"
    try:
        return code, read_end(line.values, now)
    except ValueError as error:
        return str(error)


async def import_rows(
    session: AsyncSession, rows: Sequence[CodeRow], *, item_id: int, clock: Clock
) -> Settled:
    """Add codes to the pool of an item, and their number to its stock.

    Raises NotFound and InvalidInput.
    """
    item = await lock_pool(session, item_id)
    now = clock()
    pool = await clear_pool(session, item, now)
    await session.execute(_STAGE)
    connection: Any = await (await session.connection()).get_raw_connection()
    await connection.driver_connection.copy_records_to_table(
        _STAGING, records=rows, columns=("code", "expires_at")
    )
    imported = (await session.execute(_IMPORT, {"item_id": item_id, "now": now})).scalar_one()
    writes = Writes()
    change = (pool.obtainable, pool.with_imported(imported))
    await note_restock(session, writes, [change], now)
    await writes.flush(session)
    return Settled(imported, len(rows) - imported)
