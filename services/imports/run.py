"""Importing a file in pieces, each in a transaction with the note of how far it went.

Killed at any moment, an import goes on where its last commit was: the pieces before are done, the
one that was under way is as if it had never begun.
"""

from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import asdict, dataclass, replace
from datetime import datetime
from pathlib import Path
from typing import Generic, TypeVar

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncSession

from models.stores import Sessions
from services.bulk import Writes
from services.calendar import Clock
from services.imports.files import (
    PIECE_BYTES,
    FileUnusable,
    Layout,
    Line,
    Piece,
    SourceFile,
    open_source,
    read_header,
    read_pieces,
)
from services.imports.rejected import Rejected, RejectedFile
from services.operators import Action, note_action
from services.transaction import transaction

RecordT = TypeVar("RecordT")


@dataclass(frozen=True, slots=True)
class Settled:
    """What came of some records: how many were imported or known before, and what was rejected."""

    imported: int
    duplicates: int
    rejected: Sequence[Rejected] = ()


@dataclass(frozen=True, slots=True)
class FileFormat(Generic[RecordT]):
    """What a file must look like, and what is done with its lines.

    `kind` and `target` say what it is imported into: one file of a kind goes to one target only.
    `check` raises a Refusal when it cannot go there. `read` makes a record of a line, or says what
    is wrong with it; no lock is held meanwhile. `settle` imports records in the given transaction:
    whoever is rejected has changed nothing. What operators do is noted as `action`, done to `about`
    (kind, key), or else to the import itself.
    """

    kind: str
    target: str
    action: Action
    layout: Layout
    check: Callable[[AsyncSession], Awaitable[None]]
    read: Callable[[Line, datetime], RecordT | str]
    settle: Callable[[AsyncSession, Sequence[RecordT]], Awaitable[Settled]]
    piece_bytes: int = PIECE_BYTES
    about: tuple[str, object] | None = None


@dataclass(frozen=True, slots=True)
class FileImport:
    """A file to import, where its rejected lines go, and the operator who runs it, if known."""

    path: Path
    rejected_path: Path
    operator_id: int | None = None


@dataclass(frozen=True, slots=True)
class Progress:
    """How far an import is, in bytes and lines of the file, and what came of it in all its runs.

    `is_old`: it was finished before, so this run changed nothing.
    """

    id: int
    size: int
    position: int
    lines: int
    imported: int
    duplicates: int
    rejected: int
    rejected_bytes: int
    is_finished: bool
    is_old: bool = False


_START = text(
    """
    INSERT INTO file_imports (kind, target, digest, size, started_at)
    VALUES (:kind, :target, :digest, :size, :now)
    ON CONFLICT (kind, digest) DO UPDATE SET size = excluded.size
    RETURNING id, target, size, position, lines, imported, duplicates, rejected, rejected_bytes,
              finished_at IS NOT NULL AS is_finished
    """
)
# The lock lets a second process that imports the same file wait, and then see that it is late.
_LOCK = text("SELECT position FROM file_imports WHERE id = :id FOR UPDATE")
_ADVANCE = text(
    """
    UPDATE file_imports
    SET position = :position, lines = :lines, imported = :imported, duplicates = :duplicates,
        rejected = :rejected, rejected_bytes = :rejected_bytes,
        finished_at = CASE WHEN :is_finished THEN CAST(:now AS timestamptz) END
    WHERE id = :id
    """
)


class AlreadyRunning(Exception):
    """Another process imports the same file at this moment."""


async def import_file(
    sessions: Sessions,
    wanted: FileImport,
    format_: FileFormat[RecordT],
    *,
    clock: Clock,
    show: Callable[[Progress], None],
    warn: Callable[[str], None],
) -> Progress:
    """Import a file from where an earlier attempt stopped; `show` is called after every piece.

    `warn` is told what whoever runs it should know although it goes on.

    Raises FileUnusable for a file that is no such import or changes meanwhile, AlreadyRunning when
    another process has gone on meanwhile, and the refusals of the format's `check` and `settle`.
    """
    rejected_file = RejectedFile(wanted.rejected_path)
    rejected_file.require_apart(wanted.path)
    with open_source(wanted.path) as source:
        run = _Run(sessions, wanted, format_, source, clock)
        header = read_header(source, format_.layout)
        progress = await run.start()
        show(progress)
        if progress.is_finished:
            return replace(progress, is_old=True)
        if not rejected_file.holds(progress.rejected_bytes):
            warn(
                f"{rejected_file.path} does not hold the lines that were rejected before: they stay"
                " counted, but only those rejected from now on are listed there"
            )
        async with run.noting_interruption():
            for piece in read_pieces(
                source, header, progress.position, progress.lines, format_.piece_bytes
            ):
                progress = await run.settle(piece)
                show(progress)
            if not progress.is_finished:  # nothing below the header
                progress = await run.settle(Piece((), source.size, progress.lines))
    return progress


class _Run(Generic[RecordT]):
    """One attempt at importing a file, from wherever the one before ended."""

    def __init__(
        self,
        sessions: Sessions,
        wanted: FileImport,
        format_: FileFormat[RecordT],
        source: SourceFile,
        clock: Clock,
    ) -> None:
        self._sessions, self._wanted, self._format = sessions, wanted, format_
        self._source, self._clock = source, clock
        self._rejected_file = RejectedFile(wanted.rejected_path)
        self._progress: Progress

    async def start(self) -> Progress:
        """Find how far it is. What is finished is left alone."""
        asked = {
            "kind": self._format.kind,
            "target": self._format.target,
            "digest": self._source.digest,
            "size": self._source.size,
            "now": self._clock(),
        }
        async with transaction(self._sessions) as session:
            row = dict((await session.execute(_START, asked)).mappings().one())
            if (target := row.pop("target")) != self._format.target:
                raise FileUnusable(
                    f"{self._wanted.path} is being, or was, imported into {target} already"
                )
            await self._format.check(session)  # whatever it locks is locked after the import
            self._progress = Progress(**row)
            if not self._progress.is_finished:
                await self._note(session, "begin")
        return self._progress

    async def settle(self, piece: Piece) -> Progress:
        """Import a piece and remember it, in one transaction."""
        read = [(line, self._read(line)) for line in piece.lines]  # before anything is locked
        problems = [(line, said) for line, said in read if isinstance(said, str)]
        records = [said for _, said in read if not isinstance(said, str)]
        async with transaction(self._sessions) as session:
            locked = await session.execute(_LOCK, {"id": self._progress.id})
            if locked.scalar_one() != self._progress.position:
                raise AlreadyRunning(f"{self._wanted.path} is being imported by another process")
            settled = await self._format.settle(session, records) if records else Settled(0, 0)
            rejected = [*problems, *settled.rejected]
            size = self._rejected_file.write(self._progress.rejected_bytes, rejected)
            advanced = _advanced(self._progress, settled, len(rejected), piece, size)
            now = self._clock()
            await session.execute(_ADVANCE, {**asdict(advanced), "now": now})
            if advanced.is_finished:
                await self._note(session, "finish", advanced)
        self._progress = advanced
        return advanced

    def _read(self, line: Line) -> RecordT | str:
        return line.problem or self._format.read(line, self._clock())

    @asynccontextmanager
    async def noting_interruption(self) -> AsyncGenerator[None]:
        """Note that the run ended before the file did, whatever ended it, if that can be noted."""
        try:
            yield
        except BaseException:
            with suppress(Exception):  # it may have been the database that went away
                async with transaction(self._sessions) as session:
                    await self._note(session, "interrupt")
            raise

    async def _note(
        self, session: AsyncSession, phase: str, progress: Progress | None = None
    ) -> None:
        done = progress or self._progress
        details = {
            "phase": phase,
            "file": self._wanted.path.name,
            "digest": self._source.digest.hex(),
            "imported": done.imported,
            "duplicates": done.duplicates,
            "rejected": done.rejected,
        }
        writes, what = Writes(), self._format.about or ("FileImport", done.id)
        operator_id, action = self._wanted.operator_id, self._format.action
        note_action(writes, operator_id, action, what, details, self._clock())
        await writes.flush(session)


def _advanced(
    progress: Progress, settled: Settled, rejected: int, piece: Piece, rejected_bytes: int
) -> Progress:
    return replace(
        progress,
        position=piece.end,
        lines=piece.end_line,
        imported=progress.imported + settled.imported,
        duplicates=progress.duplicates + settled.duplicates,
        rejected=progress.rejected + rejected,
        rejected_bytes=rejected_bytes,
        is_finished=piece.end >= progress.size,
    )
