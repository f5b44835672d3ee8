"""A CSV file of coupon codes: `code` or `code,expires_at` a line, read in chunks of lines."""

import csv
import hashlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import BinaryIO

from services.catalogue.coupon_codes import is_code

LINES_A_CHUNK = 20_000
_LONGEST_LINE = 4_096
"""In bytes: no code and its end are longer, and no file without lines fills the memory."""

CodeRow = tuple[str, datetime | None]
"""A code and its own end, if it has one."""


class LineRefused(ValueError):
    """A line that is no code; says why."""


@dataclass(slots=True)
class Chunk:
    """Some lines of a file: the codes in them, what was refused, and where the next line begins."""

    end: int
    lines: int = 0
    rows: list[CodeRow] = field(default_factory=list[CodeRow])
    rejects: list[bytes] = field(default_factory=list[bytes])


@dataclass(frozen=True, slots=True)
class CodeFile:
    """A file of codes; refused lines go to a file beside it, by their number and with a reason."""

    path: Path
    size: int
    digest: bytes

    @property
    def rejects_path(self) -> Path:
        """Where refused lines are written."""
        return self.path.with_name(self.path.name + ".rejected.csv")

    def read(self, position: int, lines_before: int, now: datetime) -> Chunk:
        """The next lines from `position` on; no lines at the end of the file."""
        chunk = Chunk(position)
        with self.path.open("rb") as source:
            source.seek(position)
            for line in _lines(source):
                chunk.lines += 1
                chunk.end = source.tell()
                _add(chunk, line, lines_before + chunk.lines, now)
                if chunk.lines == LINES_A_CHUNK:
                    break
        return chunk

    def write_rejects(self, size: int, rejects: list[bytes]) -> int:
        """Write refused lines after the first `size` bytes; returns the new size.

        What an import that was killed wrote beyond them is written again, not twice.
        """
        if not rejects and not self.rejects_path.exists():
            return size
        with self.rejects_path.open("ab") as target:
            target.truncate(size)
            target.write(b"".join(rejects))
        return size + sum(map(len, rejects))


def open_code_file(path: Path) -> CodeFile:
    """The file as it is now, known by the digest of all of it. Raises OSError."""
    with path.open("rb") as source:
        digest = hashlib.file_digest(source, "sha256").digest()
        return CodeFile(path, source.tell(), digest)


def _lines(source: BinaryIO) -> Iterator[bytes]:
    """Lines; of one that is too long the beginning, too long by itself."""
    while line := source.readline(_LONGEST_LINE):
        rest = line
        while len(rest) == _LONGEST_LINE and not rest.endswith(b"\n"):
            rest = source.readline(_LONGEST_LINE)
        yield line


def _add(chunk: Chunk, line: bytes, number: int, now: datetime) -> None:
    try:
        row = parse_line(line, now, is_first=number == 1)
    except LineRefused as refused:
        chunk.rejects.append(f"{number},{refused},".encode() + line.rstrip(b"\r\n") + b"\n")
    else:
        if row is not None:
            chunk.rows.append(row)


def parse_line(line: bytes, now: datetime, *, is_first: bool = False) -> CodeRow | None:
    """What a line says; None for an empty one, and for a heading. Raises LineRefused."""
    try:
        cells = next(csv.reader([line.decode("utf-8-sig" if is_first else "utf-8")], strict=True))
    except (UnicodeDecodeError, csv.Error) as error:
        raise LineRefused("no line of CSV in UTF-8") from error
    except StopIteration:
        return None
    cells = [cell.strip() for cell in cells]
    if not any(cells) or (is_first and cells[0].lower() == "code"):
        return None
    if len(cells) > 2:  # noqa: PLR2004 — a code and its end
        raise LineRefused("more than a code and its end")
    if not is_code(cells[0]):
        raise LineRefused("no code of 1 to 200 characters")
    return cells[0], _end(cells[1], now) if cells[1:] and cells[1] else None


def _end(text: str, now: datetime) -> datetime:
    try:
        ends = datetime.fromisoformat(text)
        if ends.tzinfo is not None:
            ends = ends.astimezone(UTC)
    except (ValueError, OverflowError) as error:
        raise LineRefused("no date and time") from error
    if ends.tzinfo is None:
        raise LineRefused("no time zone")
    if ends <= now:
        raise LineRefused("ended already")
    return ends
