"""Reading a file piece by piece gives the same lines as reading it at once."""

from pathlib import Path

import hypothesis.strategies as st
import pytest
from hypothesis import HealthCheck, given, settings

from services.imports.files import FileUnusable, digest_of, read_header, read_pieces

_TEXT = st.text(st.characters(exclude_characters="\r\n\x0b\x0c\x1c\x1d\x1e\x85\u2028\u2029"))


@given(st.lists(_TEXT, max_size=30), st.integers(1, 60), st.data())
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_pieces_are_the_whole(
    tmp_path: Path, lines: list[str], piece_bytes: int, data: st.DataObject
) -> None:
    """Whatever a piece holds, and from whichever end of a piece one goes on."""
    path = tmp_path / "file.csv"
    body = "".join(f"{line}\n" for line in lines)
    path.write_bytes(f"user,points\n{body}".encode("utf-8", "replace"))
    pieces = list(read_pieces(path, ["user", "points"], 0, piece_bytes))
    whole = list(read_pieces(path, ["user", "points"], 0))
    assert [line for piece in pieces for line in piece.lines] == [
        line for piece in whole for line in piece.lines
    ]
    if pieces:
        assert pieces[-1].end == digest_of(path)[1]
        number = data.draw(st.integers(0, len(pieces) - 1))
        rest = list(read_pieces(path, ["user", "points"], pieces[number].end, piece_bytes))
        assert rest == pieces[number + 1 :]


def test_values_may_be_quoted(tmp_path: Path) -> None:
    """With commas and quotes in them; a line with too few has no values."""
    path = tmp_path / "file.csv"
    path.write_text('\ufeffpoints,user\n5,"a, ""b"""\n7\n\n"8,x\n', encoding="utf-8")
    columns = read_header(path, ["user", "points"], ["name"])
    (piece,) = read_pieces(path, columns, 0)
    assert [line.values for line in piece.lines] == [{"points": "5", "user": 'a, "b"'}, None, None]


@pytest.mark.parametrize(
    "header", ["user", "user,points,age", "user,points,points", "", "用户,积分"]
)
def test_the_first_line_names_the_columns(tmp_path: Path, header: str) -> None:
    """A missing, unknown or doubled column: the file is of no use."""
    path = tmp_path / "file.csv"
    path.write_text(f"{header}\na,1\n")
    with pytest.raises(FileUnusable, match="must name the columns user, points"):
        read_header(path, ["user", "points"], ["name"])


def test_a_file_that_is_not_there_is_said(tmp_path: Path) -> None:
    """By its name."""
    with pytest.raises(FileUnusable, match="No such file"):
        digest_of(tmp_path / "none.csv")
