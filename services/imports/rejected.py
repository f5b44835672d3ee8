"""The file of lines that an import could not take."""

import os
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from services.imports.files import FileUnusable, Line

Rejected = tuple[Line, str]
"""A line, and what is wrong with it; the reason holds no comma."""


@dataclass(frozen=True, slots=True)
class RejectedFile:
    """Holds `number,reason,line` for each: what follows the second comma can be put right as it is.

    Written before the commit that counts it, so that no line that was counted is missing. What a
    killed import wrote but did not commit is what the next one would write: it is found there, and
    gone on from. Nothing that stands in a file is ever cut off, whosever file it is.
    """

    path: Path

    def require_apart(self, source: Path) -> None:
        """Raise FileUnusable when the lines would be written over the very file they are from."""
        if self.path.exists() and self.path.samefile(source):
            raise FileUnusable(f"{self.path} is the file to import: name another for what is wrong")

    def holds(self, size: int) -> bool:
        """Whether so many bytes are there: those that were written before are not, otherwise."""
        return size == 0 or (self.path.exists() and self.path.stat().st_size >= size)

    def write(self, size: int, rejected: Iterable[Rejected]) -> int:
        """Write lines, by their numbers, after the first `size` bytes; returns the new size.

        On disk when it returns; without a line no file is made or touched. A file that does not
        hold as many bytes was begun anew. Raises FileUnusable for one that holds something else.
        """
        lines = [_written(each) for each in sorted(rejected, key=lambda each: each[0].number)]
        if not lines:
            return size
        try:
            return self._append(size, b"".join(lines))
        except OSError as error:
            raise FileUnusable(f"{self.path}: {error.strerror}") from error

    def _append(self, size: int, lines: bytes) -> int:
        with self.path.open("a+b") as file:
            file.seek(size if file.tell() >= size else 0)
            written = file.read(len(lines) + 1)
            if not lines.startswith(written):
                raise FileUnusable(
                    f"{self.path} holds something else than lines that this import rejected:"
                    " remove it, or name another file"
                )
            file.write(lines[len(written) :])
            file.flush()
            os.fsync(file.fileno())
            return file.tell()


def _written(rejected: Rejected) -> bytes:
    line, reason = rejected
    return f"{line.number},{reason},{line.text}\n".encode()
