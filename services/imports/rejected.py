"""The file of lines that an import could not take."""

import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from os import SEEK_END
from pathlib import Path

from services.imports.files import FileUnusable, Line

Rejected = tuple[Line, str]
"""A line, and what is wrong with it; the reason holds no comma."""


@dataclass(frozen=True, slots=True)
class RejectedFile:
    """Holds `number,reason,line` for each: what follows the second comma can be put right as it is.

    Written before the commit that counts it, so that no line that was counted is missing; what a
    killed import wrote but did not commit is cut off by the next.
    """

    path: Path

    def require_apart(self, source: Path) -> None:
        """Raise FileUnusable when the lines would be written over the very file they are from."""
        if self.path.exists() and self.path.samefile(source):
            raise FileUnusable(f"{self.path} is the file to import: name another for what is wrong")

    def write(self, size: int, rejected: Iterable[Rejected]) -> int:
        """Write lines, by their numbers, after the first `size` bytes; returns the new size.

        On disk when it returns. Raises FileUnusable for a file that is shorter than that.
        """
        lines = [_written(each) for each in sorted(rejected, key=lambda each: each[0].number)]
        if not lines and not size and not self.path.exists():
            return 0
        try:
            return self._append(size, lines)
        except OSError as error:
            raise FileUnusable(f"{self.path}: {error.strerror}") from error

    def _append(self, size: int, lines: Sequence[bytes]) -> int:
        with self.path.open("ab") as file:
            if file.tell() < size:
                raise FileUnusable(
                    f"{self.path} is not the file of rejected lines that this import began"
                )
            file.truncate(size)
            file.seek(0, SEEK_END)
            file.writelines(lines)
            file.flush()
            if lines:
                os.fsync(file.fileno())
            return file.tell()


def _written(rejected: Rejected) -> bytes:
    line, reason = rejected
    return f"{line.number},{reason},{line.text}\n".encode()
