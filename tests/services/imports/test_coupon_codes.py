"""Lines of files of codes: what is one, and what is wrong with the others."""

from datetime import UTC, datetime
from pathlib import Path

import hypothesis.strategies as st
import pytest
from hypothesis import given

from services.catalogue.coupon_codes import is_code
from services.imports.coupon_codes import CodeRow, read_code
from services.imports.files import Layout, open_source, read_header, read_pieces
from tests.services.points.accounts import NOW

LATER = datetime(2030, 1, 1, tzinfo=UTC)
CODES = Layout(["code"], ["expires_at"], is_loose=True)


def read(directory: Path, body: bytes) -> list[CodeRow | str]:
    """What each line says, or what is wrong with it."""
    path = directory / "codes.csv"
    path.write_bytes(body)
    with open_source(path) as source:
        pieces = list(read_pieces(source, read_header(source, CODES), 0, 0))
    lines = [line for piece in pieces for line in piece.lines]
    return [line.problem or read_code(line, NOW) for line in lines]


@pytest.mark.parametrize(
    ("line", "row"),
    [
        (b"A-1\n", ("A-1", None)),
        (b" A-1 \r\n", ("A-1", None)),
        (b"A-1,", ("A-1", None)),
        (b'"A,1",2030-01-01T00:00:00Z\n', ("A,1", LATER)),
        (b"A,2030-01-01T08:00:00+08:00", ("A", LATER)),
        ("券码".encode(), ("券码", None)),
        (b"c" * 200, ("c" * 200, None)),
    ],
)
def test_a_line_is_a_code_and_perhaps_its_end(tmp_path: Path, line: bytes, row: CodeRow) -> None:
    """Blanks around them do not count; an empty line is nothing, wherever it stands."""
    assert read(tmp_path, line) == [row]
    assert read(tmp_path, b"\n \r\n" + line) == [row]
    assert read(tmp_path, b"code\n" + line) == [row]


@pytest.mark.parametrize(
    ("line", "problem"),
    [
        (b"\xff", "not UTF-8"),
        (b'"A', "not CSV"),
        (b"A,B,C", "not as many values as columns"),
        (b",2030-01-01T00:00:00Z", "a code needs 1 to 200 characters"),
        (b"c" * 201, "a code needs 1 to 200 characters"),
        (b"A,soon", "expires_at must be an instant such as 2027-01-31T00:00:00Z"),
        (b"A,2030-01-01T00:00:00", "expires_at must be an instant such as 2027-01-31T00:00:00Z"),
        (
            b"A,9999-12-31T23:59:59-08:00",
            "expires_at must be an instant such as 2027-01-31T00:00:00Z",
        ),
        (b"A,2020-01-01T00:00:00Z", "expires_at lies in the past"),
        (b"A\x00", "control characters"),
        (b"A\tB", "control characters"),
    ],
)
def test_a_line_that_is_no_code_says_why(tmp_path: Path, line: bytes, problem: str) -> None:
    """Whether or not it is the first; and no reason holds a comma."""
    assert read(tmp_path, line) == [problem]
    assert read(tmp_path, b"A\n" + line)[1:] == [problem]
    assert "," not in problem


@given(st.binary(max_size=50).filter(lambda line: b"\n" not in line and b"ode" not in line.lower()))
def test_any_line_is_read_or_refused(tmp_path_factory: pytest.TempPathFactory, line: bytes) -> None:
    """And what is read is a code."""
    for said in read(tmp_path_factory.mktemp("codes"), line):
        assert isinstance(said, str) or is_code(said[0])
