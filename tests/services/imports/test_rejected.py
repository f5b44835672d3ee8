"""The file of rejected lines: each once, whatever was written before the end."""

from pathlib import Path

import pytest

from services.imports.files import FileUnusable, Line
from services.imports.rejected import RejectedFile


def test_lines_are_written_once(tmp_path: Path) -> None:
    """In their order; what a killed import wrote, down to half a line, is gone on from."""
    file = RejectedFile(tmp_path / "rejected.csv")
    first = [(Line(3, "x,y"), "bad"), (Line(1, "券"), "worse")]
    text = "1,worse,券\n3,bad,x,y\n"
    for kept in range(len(text.encode()) + 1):
        file.path.write_bytes(text.encode()[:kept])
        size = file.write(0, first)
        assert (size, file.path.read_text()) == (len(text.encode()), text)
    file.write(size, [(Line(5, "z"), "bad")])
    assert file.write(size, [(Line(5, "z"), "bad"), (Line(6, "a"), "bad")]) == size + 16
    assert file.path.read_text() == text + "5,bad,z\n6,bad,a\n"


def test_nothing_is_made_for_nothing(tmp_path: Path) -> None:
    """No line, no file."""
    file = RejectedFile(tmp_path / "rejected.csv")
    assert (file.write(0, []), file.write(9, [])) == (0, 9)
    assert not file.path.exists()
    file.path.write_text("somebody's")
    assert file.write(0, []) == 0
    assert file.path.read_text() == "somebody's"


@pytest.mark.parametrize("size", [0, 4, 7, 100])
def test_nothing_of_anybody_is_cut_off(tmp_path: Path, size: int) -> None:
    """Whatever else a file holds after what was written before, or instead of it."""
    path = tmp_path / "rejected.csv"
    path.write_text("somebody's")
    with pytest.raises(FileUnusable, match="holds something else"):
        RejectedFile(path).write(size, [(Line(1, "x"), "bad")])
    assert path.read_text() == "somebody's"


def test_a_file_that_is_gone_is_begun_anew(tmp_path: Path) -> None:
    """With what is rejected from then on."""
    file = RejectedFile(tmp_path / "rejected.csv")
    size = file.write(0, [(Line(1, "long enough"), "bad")])
    assert file.holds(0)
    assert file.holds(size)
    file.path.unlink()
    assert not file.holds(size)
    assert file.write(size, [(Line(2, "x"), "bad")]) == len("2,bad,x\n")
    assert file.path.read_text() == "2,bad,x\n"


def test_another_file_is_told_apart(tmp_path: Path) -> None:
    """The source itself, one for nobody."""
    path = tmp_path / "rejected.csv"
    path.write_text("user,points\n")
    with pytest.raises(FileUnusable, match="is the file to import"):
        RejectedFile(path).require_apart(tmp_path / ".." / tmp_path.name / "rejected.csv")
    with pytest.raises(FileUnusable, match="Is a directory"):
        RejectedFile(tmp_path).write(0, [(Line(1, "x"), "bad")])
