"""Importing a file in pieces, each in a transaction with the note of how far it went.

Killed at any moment, an import goes on where its last commit was: the pieces before are done, the
one that was under way is as if it had never begun.
"""

from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from dataclasses import dataclass, replace
from os import SEEK_END
from pathlib import Path

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncSession

from models.stores import Sessions
from services.imports.files import FileUnusable, Line, digest_of, read_header, read_pieces
from services.transaction import transaction


@dataclass(frozen=True, slots=True)
class Settled:
    """What came of some lines: how many were imported or known before, and who was rejected."""

    imported: int
    duplicates: int
    rejected: Sequence[tuple[Line, str]]


Settle = Callable[[AsyncSession, Sequence[Line]], Awaitable[Settled]]
"""Imports lines in the given transaction. Whoever is rejected has changed nothing."""


@dataclass(frozen=True, slots=True)
class FileFormat:
    """What a file must look like, and what is done with its lines.

    `kind` and `target` tell imports of one file apart: the same codes may not go to two items.
    """

    kind: str
    target: str
    needed: Sequence[str]
    optional: Sequence[str]
    settle: Settle


@dataclass(frozen=True, slots=True)
class Progress:
    """How far an import is, in bytes of the file, and what came of it so far."""

    id: int
    size: int
    position: int
    imported: int
    duplicates: int
    rejected: int
    rejected_bytes: int
    is_finished: bool


_START = text(
    """
    INSERT INTO file_imports (kind, target, digest, size)
    VALUES (:kind, :target, :digest, :size)
    ON CONFLICT (kind, target, digest) DO UPDATE SET size = excluded.size
    RETURNING id, size, position, imported, duplicates, rejected, rejected_bytes,
              finished_at IS NOT NULL AS is_finished
    """
)
# The lock lets a second process that imports the same file wait, and then see that it is late.
_LOCK = text("SELECT position FROM file_imports WHERE id = :id FOR UPDATE")
_NOTE = text(
    """
    UPDATE file_imports
    SET position = :position, imported = :imported, duplicates = :duplicates,
        rejected = :rejected, rejected_bytes = :rejected_bytes,
        finished_at = CASE WHEN :is_finished THEN now() END
    WHERE id = :id
    """
)


class AlreadyRunning(Exception):
    """Another process imports the same file at this moment."""


async def import_file(
    sessions: Sessions, path: Path, format_: FileFormat, rejected_path: Path
) -> AsyncIterator[Progress]:
    """Import a file from where an earlier attempt stopped; yields after every piece.

    Lines that are rejected go to `rejected_path` with the reason. Raises FileUnusable for a file
    that is no such import, AlreadyRunning when another process has gone on meanwhile.
    """
    digest, size = digest_of(path)
    columns = read_header(path, format_.needed, format_.optional)
    async with transaction(sessions) as session:
        parameters = {"kind": format_.kind, "target": format_.target}
        row = await session.execute(_START, {**parameters, "digest": digest, "size": size})
        progress = Progress(**row.mappings().one())
    yield progress
    if progress.is_finished:
        return
    with rejected_path.open("ab") as rejected:
        if rejected.tell() < progress.rejected_bytes:
            raise FileUnusable(f"{rejected_path} is not the file that this import began")
        for piece in read_pieces(path, columns, progress.position):
            async with transaction(sessions) as session:
                locked = (await session.execute(_LOCK, {"id": progress.id})).scalar_one()
                if locked != progress.position:
                    raise AlreadyRunning(f"{path} is being imported by another process")
                rejected.truncate(progress.rejected_bytes)  # what was written but not committed
                rejected.seek(0, SEEK_END)
                settled = await format_.settle(session, piece.lines)
                for line, reason in settled.rejected:
                    rejected.write(f"{line.text},{reason}\n".encode())
                rejected.flush()
                progress = _advance(progress, settled, piece.end, rejected.tell())
                await session.execute(_NOTE, _parameters(progress))
            yield progress
    if not progress.is_finished:  # nothing below the header
        progress = replace(progress, position=size, is_finished=True)
        async with transaction(sessions) as session:
            await session.execute(_NOTE, _parameters(progress))
        yield progress


def _advance(progress: Progress, settled: Settled, end: int, rejected_bytes: int) -> Progress:
    return replace(
        progress,
        position=end,
        imported=progress.imported + settled.imported,
        duplicates=progress.duplicates + settled.duplicates,
        rejected=progress.rejected + len(settled.rejected),
        rejected_bytes=rejected_bytes,
        is_finished=end >= progress.size,
    )


def _parameters(progress: Progress) -> dict[str, object]:
    names = ("id", "position", "imported", "duplicates", "rejected", "rejected_bytes")
    return {name: getattr(progress, name) for name in (*names, "is_finished")}
