"""The file of rejected lines: each once, whatever was written before the end."""

from pathlib import Path

import pytest

from services.imports.files import FileUnusable, Line
from services.imports.rejected import RejectedFile


def test_lines_are_written_once(tmp_path: Path) -> None:
    """In their order; what was written after the size that is remembered is cut off."""
    file = RejectedFile(tmp_path / "rejected.csv")
    size = file.write(0, [(Line(3, "x,y"), "bad"), (Line(1, "券"), "worse")])
    file.write(size, [(Line(4, "lost"), "bad")])
    file.write(size, [(Line(5, "z"), "bad")])
    assert file.path.read_text() == "1,worse,券\n3,bad,x,y\n5,bad,z\n"
    file.write(size, [])
    assert file.path.read_text() == "1,worse,券\n3,bad,x,y\n"


def test_nothing_is_made_for_nothing(tmp_path: Path) -> None:
    """No line, no file."""
    file = RejectedFile(tmp_path / "rejected.csv")
    assert file.write(0, []) == 0
    assert not file.path.exists()


def test_another_file_is_told_apart(tmp_path: Path) -> None:
    """One that is too short to be the one that was begun, the source itself, one for nobody."""
    path = tmp_path / "rejected.csv"
    path.write_text("short")
    with pytest.raises(FileUnusable, match="is not the file of rejected lines"):
        RejectedFile(path).write(100, [])
    assert path.read_text() == "short"
    with pytest.raises(FileUnusable, match="is the file to import"):
        RejectedFile(path).require_apart(tmp_path / ".." / tmp_path.name / "rejected.csv")
    with pytest.raises(FileUnusable, match="Is a directory"):
        RejectedFile(tmp_path).write(0, [(Line(1, "x"), "bad")])
