"""Importing a file of millions of codes, chunk by chunk (`domain.md`, Exchange)."""

from dataclasses import asdict, dataclass, replace
from datetime import datetime
from typing import Any

from sqlalchemy import select, text
from sqlalchemy.ext.asyncio import AsyncSession

from models.exchange import CouponImport
from services.bulk import Writes
from services.calendar import Clock
from services.catalogue.code_file import Chunk, CodeFile, CodeRow
from services.catalogue.coupon_codes import import_statement, require_pool
from services.catalogue.items import Item, lock_items
from services.catalogue.restock import note_restock
from services.errors import NotFound

_STAGING = "coupon_staging"
_STAGE = text(
    f"CREATE TEMPORARY TABLE IF NOT EXISTS {_STAGING}"
    " (number bigint GENERATED ALWAYS AS IDENTITY, code text, expires_at timestamptz)"
    " ON COMMIT DELETE ROWS"
)
_IMPORT = import_statement(
    f"SELECT DISTINCT ON (code) code, expires_at FROM {_STAGING} ORDER BY code, number"
)
_KEY = ("item_id", "digest")


@dataclass(frozen=True, slots=True)
class FileProgress:
    """How far a file has come, all runs together; `position` and `rejects_size` in bytes."""

    position: int = 0
    lines: int = 0
    imported: int = 0
    duplicates: int = 0
    rejected: int = 0
    rejects_size: int = 0


async def import_chunk(
    session: AsyncSession, file: CodeFile, item_id: int, *, clock: Clock
) -> FileProgress:
    """Import the next lines of the file and remember how far it came, in one transaction.

    Killed at any point, what was not committed is done again, and nothing twice. Raises NotFound
    and InvalidInput. At the end of the file nothing is done.
    """
    item = (await lock_items(session, [item_id])).get(item_id)  # one at a time of each item's files
    if item is None:
        raise NotFound("ExchangeItem", str(item_id))
    require_pool(item)
    known = await _progress(session, file, item_id)
    now = clock()
    chunk = file.read(known.position, known.lines, now)
    if not chunk.lines:
        return known
    imported = await _import(session, item_id, chunk.rows, now) if chunk.rows else 0
    progress = _advanced(known, chunk, imported)
    progress = replace(progress, rejects_size=file.write_rejects(known.rejects_size, chunk.rejects))
    restocked = replace(item, stock=item.stock + imported)
    await _save(session, file, progress, (item, restocked), now)
    return progress


def _advanced(known: FileProgress, chunk: Chunk, imported: int) -> FileProgress:
    return replace(
        known,
        position=chunk.end,
        lines=known.lines + chunk.lines,
        imported=known.imported + imported,
        duplicates=known.duplicates + len(chunk.rows) - imported,
        rejected=known.rejected + len(chunk.rejects),
    )


async def _progress(session: AsyncSession, file: CodeFile, item_id: int) -> FileProgress:
    columns = [CouponImport.__table__.c[name] for name in asdict(FileProgress())]
    statement = select(*columns).where(
        CouponImport.item_id == item_id, CouponImport.digest == file.digest
    )
    row = (await session.execute(statement)).one_or_none()
    return FileProgress() if row is None else FileProgress(*row)


async def _import(session: AsyncSession, item_id: int, rows: list[CodeRow], now: datetime) -> int:
    await session.execute(_STAGE)
    connection: Any = await (await session.connection()).get_raw_connection()
    await connection.driver_connection.copy_records_to_table(
        _STAGING, records=rows, columns=("code", "expires_at")
    )
    return (await session.execute(_IMPORT, {"item_id": item_id, "now": now})).scalar_one()


async def _save(
    session: AsyncSession,
    file: CodeFile,
    progress: FileProgress,
    change: tuple[Item, Item],
    now: datetime,
) -> None:
    values = asdict(progress) | {"updated_at": now}
    columns = (*_KEY, "started_at", *values)
    changes = ", ".join(f"{name} = excluded.{name}" for name in values)
    row = (change[0].id, file.digest, now, *values.values())
    writes = Writes()
    writes.insert(
        CouponImport,
        columns,
        [row],
        suffix=f"ON CONFLICT (item_id, digest) DO UPDATE SET {changes}",
    )
    await note_restock(session, writes, [change], now)
    await writes.flush(session)
