"""Reading a large CSV piece by piece, so that every piece ends at a known byte."""

import csv
import hashlib
import os
import re
from codecs import BOM_UTF8
from collections.abc import Generator, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import BinaryIO

_CONTROL = re.compile("[\x00-\x1f\x7f-\x9f]")
_SKIP_BYTES = 1024 * 1024
_SHOWN_CHARACTERS = 1_000

PIECE_BYTES = 128 * 1024
"""How much of a file is read, settled and committed at a time, unless its format says otherwise."""
LINES_A_PIECE = 20_000
"""And no more lines than these: very short ones must not fill the memory."""
LONGEST_LINE_BYTES = 16 * 1024
"""No line that could be imported is as long; of one that is, only the beginning is kept."""


class FileUnusable(Exception):
    """The file cannot be imported at all, or no further; the message says why."""


@dataclass(frozen=True, slots=True)
class Layout:
    """What columns a file has.

    A loose one may lack the line that names them: they are then the needed and the optional ones,
    in their order. And a line of it may end before the optional ones.
    """

    needed: Sequence[str]
    optional: Sequence[str]
    is_loose: bool = False

    @property
    def columns(self) -> tuple[str, ...]:
        """All of them, in their order."""
        return (*self.needed, *self.optional)


@dataclass(frozen=True, slots=True)
class Header:
    """The columns of a file, how many its lines may leave out, and the byte of the first line."""

    columns: Sequence[str]
    fewest: int
    end: int


@dataclass(frozen=True, slots=True)
class Line:
    """One line below the header, by its number in the file; its values by column.

    Without values when it cannot be read; `problem` says why.
    """

    number: int
    text: str
    values: dict[str, str] = field(default_factory=dict[str, str])
    problem: str | None = None


@dataclass(frozen=True, slots=True)
class Piece:
    """Some whole lines, and where the next piece begins: its byte, and how many lines before it."""

    lines: Sequence[Line]
    end: int
    end_line: int


@dataclass(frozen=True, slots=True)
class SourceFile:
    """An open file, known by its contents: whatever happens to its name, this is what is read."""

    path: Path
    file: BinaryIO
    digest: bytes
    size: int
    stamp: tuple[int, int]

    def require_unchanged(self) -> None:
        """Raise FileUnusable when anybody has written to the file since it was opened."""
        if _stamp(self.file) != self.stamp:
            raise FileUnusable(f"{self.path} has changed while it was imported")


@contextmanager
def open_source(path: Path) -> Generator[SourceFile]:
    """Open a file and take its SHA-256; raises FileUnusable when it cannot be read."""
    try:
        file = path.open("rb")
    except OSError as error:
        raise FileUnusable(f"{path}: {error.strerror}") from error
    with file:
        stamp = _stamp(file)
        try:
            digest = hashlib.file_digest(file, "sha256").digest()
        except OSError as error:  # a directory can be opened, but not read
            raise FileUnusable(f"{path}: {error.strerror}") from error
        source = SourceFile(path, file, digest, stamp[0], stamp)
        source.require_unchanged()
        yield source


def _stamp(file: BinaryIO) -> tuple[int, int]:
    """(Size, time of the last write): the latter also tells of what is written over the old."""
    status = os.fstat(file.fileno())
    return status.st_size, status.st_mtime_ns


def read_header(source: SourceFile, layout: Layout) -> Header:
    """The columns that the first line names.

    Raises FileUnusable when a needed one is missing, or one is unknown or named twice.
    """
    source.file.seek(0)
    line = source.file.readline(LONGEST_LINE_BYTES)
    try:
        names = [name.strip() for name in _values(_decode(line).rstrip("\r\n"))]
    except csv.Error:
        names = []
    if layout.is_loose:
        names = [name.lower() for name in names]
        if not set(names) & set(layout.needed):
            return Header(layout.columns, len(layout.needed), 0)
    if not set(layout.needed) <= set(names) <= set(layout.columns) or len(set(names)) < len(names):
        raise FileUnusable(
            f"{source.path}: the first line must name the columns {', '.join(layout.needed)}"
            f" (and may name {', '.join(layout.optional)}), each once"
        )
    if not layout.is_loose:
        return Header(names, len(names), len(line))
    unnamed = [name for name in layout.columns if name not in names]
    fewest = 1 + max(names.index(name) for name in layout.needed)
    return Header([*names, *unnamed], fewest, len(line))


def read_pieces(
    source: SourceFile,
    header: Header,
    start: int,
    start_line: int,
    piece_bytes: int = PIECE_BYTES,
) -> Iterator[Piece]:
    """The lines from byte `start` on (0: after the header), some at a time.

    A record is one line: a quoted value holds no line break. Raises FileUnusable when the file
    changes meanwhile; what was given before that is right.
    """
    if start < header.end:
        start, start_line = header.end, 1
    source.file.seek(start)
    while start < source.size:
        piece = _read_piece(source.file, header, start, start_line, piece_bytes)
        source.require_unchanged()
        if piece.end == start:  # as much as nothing may come of a disk that fails
            raise FileUnusable(f"{source.path} ends before it should")
        yield piece
        start, start_line = piece.end, piece.end_line


def _read_piece(
    file: BinaryIO, header: Header, start: int, start_line: int, piece_bytes: int
) -> Piece:
    lines: list[Line] = []
    end, number = start, start_line
    while end < start + piece_bytes and number < start_line + LINES_A_PIECE:
        data = file.readline(LONGEST_LINE_BYTES + 1)
        if not data:
            break
        number += 1
        end += len(data)
        if len(data) > LONGEST_LINE_BYTES and not data.endswith(b"\n"):
            end += _skip_line(file)
            shown = _decode(data)[:_SHOWN_CHARACTERS]
            problem = f"longer than {LONGEST_LINE_BYTES} bytes"
            lines.append(Line(number, f"{shown}…", problem=problem))
        elif data.removeprefix(BOM_UTF8).strip():
            lines.append(_line(number, data, header))
    return Piece(lines, end, number)


def _skip_line(file: BinaryIO) -> int:
    """Go to the end of the line without keeping it; returns how many bytes that was."""
    skipped = 0
    while data := file.readline(_SKIP_BYTES):
        skipped += len(data)
        if data.endswith(b"\n"):
            break
    return skipped


def _line(number: int, data: bytes, header: Header) -> Line:
    data = data.removesuffix(b"\n").removesuffix(b"\r")
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError:
        return Line(number, _decode(data), problem="not UTF-8")
    if _CONTROL.search(text):
        return Line(number, text, problem="control characters")
    try:
        values = _values(text)
    except csv.Error:
        return Line(number, text, problem="not CSV")
    if not header.fewest <= len(values) <= len(header.columns):
        return Line(number, text, problem="not as many values as columns")
    named = dict(zip(header.columns, (value.strip() for value in values), strict=False))
    return Line(number, text, named)


def _values(text: str) -> list[str]:
    """The values of one record; raises csv.Error. Without quotes a split says the same, sooner."""
    return next(csv.reader([text], strict=True)) if '"' in text else text.split(",")


def _decode(data: bytes) -> str:
    """UTF-8, with or without a mark; what is not is kept visible, to be shown."""
    return data.decode("utf-8-sig", errors="backslashreplace")


def read_end(values: dict[str, str], now: datetime) -> datetime | None:
    """The instant in the column `expires_at`, if there is one; raises ValueError that says why."""
    value = values.get("expires_at")
    if not value:
        return None
    try:
        ends = datetime.fromisoformat(value)
        if ends.tzinfo is not None:
            ends = ends.astimezone(UTC)
    except (ValueError, OverflowError):
        ends = None
    if ends is None or ends.tzinfo is None:
        raise ValueError("expires_at must be an instant such as 2027-01-31T00:00:00Z")
    if ends <= now:
        raise ValueError("expires_at lies in the past")
    return ends
