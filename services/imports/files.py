"""Reading a large CSV piece by piece, so that every piece ends at a known byte."""

import csv
import hashlib
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

_MARK = b"\xef\xbb\xbf"
_CONTROL = re.compile("[\x00-\x1f\x7f-\x9f]")

PIECE_BYTES = 128 * 1024
"""How much of a file is read, settled and committed at a time."""


class FileUnusable(Exception):
    """The file cannot be imported at all; the message says why."""


@dataclass(frozen=True, slots=True)
class Line:
    """One line below the header: its values by column.

    None when it is not CSV in UTF-8 without control characters, or has another number of them.
    """

    text: str
    values: dict[str, str] | None


@dataclass(frozen=True, slots=True)
class Piece:
    """Some whole lines, and the position in bytes at which the next piece begins."""

    lines: Sequence[Line]
    end: int


def digest_of(path: Path) -> tuple[bytes, int]:
    """(SHA-256, size in bytes) of a file; raises FileUnusable when it cannot be read."""
    try:
        with path.open("rb") as file:
            digest = hashlib.file_digest(file, "sha256").digest()
            return digest, file.tell()
    except OSError as error:
        raise FileUnusable(f"{path}: {error.strerror}") from error


def read_header(path: Path, needed: Sequence[str], optional: Sequence[str]) -> list[str]:
    """The columns that the first line names.

    Raises FileUnusable when a needed one is missing, or one is unknown or named twice.
    """
    with path.open("rb") as file:
        columns = [name.strip() for name in _decode(file.readline()).split(",")]
    unknown = [name for name in columns if name not in (*needed, *optional)]
    missing = [name for name in needed if name not in columns]
    if unknown or missing or len(set(columns)) < len(columns):
        raise FileUnusable(
            f"{path}: the first line must name the columns {', '.join(needed)}"
            f" (and may name {', '.join(optional)}), each once"
        )
    return columns


def read_pieces(
    path: Path, columns: Sequence[str], start: int, piece_bytes: int = PIECE_BYTES
) -> Iterator[Piece]:
    """The lines from byte `start` on (0: after the header), some at a time.

    A record is one line: a quoted value holds no line break.
    """
    with path.open("rb") as file:
        if start:
            file.seek(start)
        else:
            file.readline()
        while data := file.read(piece_bytes):
            data += file.readline()  # to the end of the line that was cut
            yield Piece(_lines(data, columns), file.tell())


def _lines(data: bytes, columns: Sequence[str]) -> list[Line]:
    lines = (line.removesuffix(b"\r") for line in data.split(b"\n"))
    return [_line(line, columns) for line in lines if line.strip()]


def _line(line: bytes, columns: Sequence[str]) -> Line:
    text = _decode(line)
    try:
        line.removeprefix(_MARK).decode()
        (values,) = csv.reader([text], strict=True)
    except (csv.Error, ValueError):
        return Line(text, None)
    if _CONTROL.search(text):
        return Line(text, None)
    if len(values) != len(columns):
        return Line(text, None)
    return Line(text, dict(zip(columns, (value.strip() for value in values), strict=True)))


def _decode(data: bytes) -> str:
    """UTF-8, with or without a mark; what is not is kept visible, to be shown."""
    return data.decode("utf-8-sig", errors="backslashreplace")
