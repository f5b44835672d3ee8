"""Reading a file piece by piece gives the same lines as reading it at once."""

import os
import tracemalloc
from pathlib import Path

import hypothesis.strategies as st
import pytest
from hypothesis import HealthCheck, given, settings

from services.imports import files
from services.imports.files import (
    LONGEST_LINE_BYTES,
    FileUnusable,
    Header,
    Layout,
    Line,
    Piece,
    open_source,
    read_header,
    read_pieces,
)

BALANCES = Layout(["user", "points"], ["name"])
CODES = Layout(["code"], ["expires_at"], is_loose=True)
BYTES = st.one_of(
    st.binary(max_size=30),
    st.text(max_size=20).map(str.encode),
    st.sampled_from([b"A", b"B,5", b"", b"\r", b"x" * LONGEST_LINE_BYTES, b"y" * 50_000]),
)


def read(path: Path, layout: Layout = BALANCES, piece_bytes: int = 128 * 1024) -> list[Piece]:
    """The whole file in pieces."""
    with open_source(path) as source:
        return list(read_pieces(source, read_header(source, layout), 0, 0, piece_bytes))


def lines_of(pieces: list[Piece]) -> list[Line]:
    """All lines of all pieces."""
    return [line for piece in pieces for line in piece.lines]


@given(st.lists(BYTES, max_size=30), st.integers(1, 60), st.integers(1, 4), st.data())
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
def test_pieces_are_the_whole(
    tmp_path: Path, lines: list[bytes], piece_bytes: int, most_lines: int, data: st.DataObject
) -> None:
    """Whatever a piece holds, and from whichever end of a piece one goes on."""
    path = tmp_path / "file.csv"
    body = b"user,points\n" + b"\n".join(lines)
    path.write_bytes(body)
    whole = lines_of(read(path))
    with pytest.MonkeyPatch.context() as patch, open_source(path) as source:
        patch.setattr(files, "LINES_A_PIECE", most_lines)
        header = read_header(source, BALANCES)
        pieces = list(read_pieces(source, header, 0, 0, piece_bytes))
        assert lines_of(pieces) == whole
        split = body.split(b"\n")
        assert all(1 <= line.number <= len(split) for line in whole)
        for line in whole:
            assert line.problem or split[line.number - 1].decode("utf-8-sig").startswith(line.text)
        if pieces:
            assert pieces[-1].end == len(body)
            number = data.draw(st.integers(0, len(pieces) - 1))
            end, end_line = pieces[number].end, pieces[number].end_line
            rest = list(read_pieces(source, header, end, end_line, piece_bytes))
            assert rest == pieces[number + 1 :]


def test_values_may_be_quoted(tmp_path: Path) -> None:
    """With commas and quotes in them; a line that cannot be read says why."""
    path = tmp_path / "file.csv"
    path.write_bytes(
        '\ufeffpoints,user\n5,"a, ""b"""\n7\n\n"8,x\n1,2,3\n9,a\tb\n'.encode()
        + b"1,\xff\n\xef\xbb\xbf"
    )
    assert [(line.number, line.values, line.problem) for line in lines_of(read(path))] == [
        (2, {"points": "5", "user": 'a, "b"'}, None),
        (3, {}, "not as many values as columns"),
        (5, {}, "not CSV"),
        (6, {}, "not as many values as columns"),
        (7, {}, "control characters"),
        (8, {}, "not UTF-8"),
    ]


@pytest.mark.parametrize(
    ("body", "header", "values"),
    [
        ("A\nB,x\n", Header(("code", "expires_at"), 1, 0), [{}, {"expires_at": "x"}]),
        ("code\nA\nB,x\n", Header(["code", "expires_at"], 1, 5), [{}, {"expires_at": "x"}]),
        ("\ufeffCode,expires_at\nA\nB,x\n", Header(["code", "expires_at"], 1, 19), None),
        ('"Code"\nA\n', Header(["code", "expires_at"], 1, 7), [{}]),
        ('"A\nB', Header(("code", "expires_at"), 1, 0), None),
        ("expires_at,code\nx,B\n", Header(["expires_at", "code"], 2, 16), [{"expires_at": "x"}]),
    ],
)
def test_a_loose_file_may_lack_what_is_optional(
    tmp_path: Path, body: str, header: Header, values: list[dict[str, str]] | None
) -> None:
    """The line that names the columns, and values at the end of a line."""
    path = tmp_path / "file.csv"
    path.write_text(body)
    with open_source(path) as source:
        assert read_header(source, CODES) == header
    found = [line.values for line in lines_of(read(path, CODES)) if line.values]
    assert {value.pop("code") for value in found} <= {"A", "B"}
    assert found == values or values is None


@pytest.mark.parametrize(
    "header", ["user", "user,points,age", "user,points,points", "", "用户,积分", "user," * 9_999]
)
def test_the_first_line_names_the_columns(tmp_path: Path, header: str) -> None:
    """A missing, unknown or doubled column: the file is of no use."""
    path = tmp_path / "file.csv"
    path.write_text(f"{header}\na,1\n")
    with pytest.raises(FileUnusable, match="must name the columns user, points"):
        read(path)


def test_a_heading_that_names_other_columns_is_no_code(tmp_path: Path) -> None:
    """Where it may be missing, too."""
    path = tmp_path / "file.csv"
    path.write_text("code,valid until\nA,\n")
    with pytest.raises(FileUnusable, match="must name the columns code"):
        read(path, CODES)


def test_a_file_that_is_not_there_is_said(tmp_path: Path) -> None:
    """By its name; and so is one that is a directory."""
    with pytest.raises(FileUnusable, match="No such file"):
        read(tmp_path / "none.csv")
    with pytest.raises(FileUnusable, match="Is a directory"):
        read(tmp_path)


def test_a_file_is_known_by_all_of_it(tmp_path: Path) -> None:
    """Not by its name or its length."""
    digests = set[bytes]()
    for name, content in (("a", b"A\nB"), ("b", b"A\nB"), ("c", b"A\nC")):
        (tmp_path / name).write_bytes(content)
        with open_source(tmp_path / name) as source:
            digests.add(source.digest)
    assert len(digests) == 2


def test_a_line_without_an_end_does_not_fill_the_memory(tmp_path: Path) -> None:
    """Half a gigabyte of nothing (a hole in the file): a line that is too long, and the next."""
    path = tmp_path / "file.csv"
    with path.open("wb") as file:
        file.write(b"user,points\na,1\n")
        file.truncate(512 * 1024**2)
        file.seek(0, os.SEEK_END)
        file.write(b"\nb,2\n")
    tracemalloc.start()
    try:
        lines = lines_of(read(path))
        _, peak_bytes = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert [line.problem for line in lines] == [None, "longer than 16384 bytes", None]
    assert len(lines[1].text) == 1_001
    assert peak_bytes < 8 * 1024**2


@pytest.mark.parametrize("change", ["shrinks", "grows", "is rewritten"])
def test_a_file_that_changes_is_said(tmp_path: Path, change: str) -> None:
    """Pieces before that are given; after it, none."""
    path = tmp_path / "file.csv"
    path.write_text("user,points\n" + "a,1\n" * 30_000)
    with open_source(path) as source:
        pieces = read_pieces(source, read_header(source, BALANCES), 0, 0)
        assert len(next(pieces).lines) == 20_000
        if change == "shrinks":
            os.truncate(path, 100_000)
        elif change == "grows":
            os.truncate(path, 500_000)
        else:
            with path.open("r+b") as file:
                file.seek(100_000)
                file.write(b"9")
        with pytest.raises(FileUnusable, match="has changed while it was imported"):
            next(pieces)
