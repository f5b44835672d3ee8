"""Reading files of codes: lines, what is refused, and that chunks lose nothing."""

from datetime import UTC, datetime
from pathlib import Path

import hypothesis.strategies as st
import pytest
from hypothesis import given

from services.catalogue import code_file
from services.catalogue.code_file import CodeRow, LineRefused, open_code_file, parse_line
from services.catalogue.coupon_codes import is_code
from tests.services.points.accounts import NOW

LATER = datetime(2030, 1, 1, tzinfo=UTC)


@pytest.mark.parametrize(
    ("line", "row"),
    [
        (b"A-1\n", ("A-1", None)),
        (b" A-1 \r\n", ("A-1", None)),
        (b"A-1,", ("A-1", None)),
        (b'"A,1",2030-01-01T00:00:00Z\n', ("A,1", LATER)),
        (b"A,2030-01-01T08:00:00+08:00", ("A", LATER)),
        ("券码".encode(), ("券码", None)),
        (b"\n", None),
        (b" \r\n", None),
        (b"code\n", ("code", None)),
    ],
)
def test_a_line_is_a_code_and_perhaps_its_end(line: bytes, row: CodeRow | None) -> None:
    """Blanks around them do not count; an empty line is nothing."""
    assert parse_line(line, NOW) == row


@pytest.mark.parametrize("line", [b"code\n", b"\xef\xbb\xbfCode,expires_at\n"])
def test_the_first_line_may_be_a_heading(line: bytes) -> None:
    """With the mark that some programs put before it."""
    assert parse_line(line, NOW, is_first=True) is None


@pytest.mark.parametrize(
    "line",
    [
        b"\xff\n",
        b'"A\n',
        b"A,B,C\n",
        b",2030-01-01T00:00:00Z\n",
        b"A,soon\n",
        b"A,2030-01-01T00:00:00\n",
        b"A,2020-01-01T00:00:00Z\n",
        b"A\x00\n",
        b"A\tB\n",
        b"c" * 201,
    ],
)
def test_a_line_that_is_no_code_is_refused(line: bytes) -> None:
    """Whether or not it is the first."""
    for is_first in (True, False):
        with pytest.raises(LineRefused):
            parse_line(line, NOW, is_first=is_first)


@given(st.binary(max_size=50))
def test_any_line_is_read_or_refused(line: bytes) -> None:
    """And what is read is a code."""
    try:
        row = parse_line(line, NOW)
    except LineRefused:
        return
    assert row is None or is_code(row[0])


@given(st.lists(st.sampled_from([b"A", b"B,", b"", b"x" * 201, b"y" * 9000, b"\xff"])))
@pytest.mark.parametrize("size", [1, 3])
def test_chunks_together_are_the_file(
    tmp_path_factory: pytest.TempPathFactory, size: int, lines: list[bytes]
) -> None:
    """However many lines a chunk has: every line once, a long one as one, none made up."""
    path = Path(tmp_path_factory.mktemp("codes") / "codes.csv")
    path.write_bytes(b"\n".join(lines))
    file, position, count = open_code_file(path), 0, 0
    rows, rejects = list[CodeRow](), 0
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(code_file, "LINES_A_CHUNK", size)
        while (chunk := file.read(position, count, NOW)).lines:
            assert chunk.lines <= size
            position, count = chunk.end, count + chunk.lines
            rows, rejects = rows + chunk.rows, rejects + len(chunk.rejects)
    assert position == file.size
    assert [code for code, _ in rows] == [
        line[:1].decode() for line in lines if line in (b"A", b"B,")
    ]
    assert rejects == sum(len(line) > 200 or line == b"\xff" for line in lines)


def test_refused_lines_are_written_once(tmp_path: Path) -> None:
    """What was written after the point that is remembered is written anew."""
    path = tmp_path / "codes.csv"
    path.write_bytes(b"A")
    file = open_code_file(path)
    size = file.write_rejects(0, [b"1,bad,x\n"])
    file.write_rejects(size, [b"2,lost,y\n"])
    file.write_rejects(size, [b"2,bad,y\n"])
    assert file.rejects_path.read_bytes() == b"1,bad,x\n2,bad,y\n"


def test_a_file_is_known_by_all_of_it(tmp_path: Path) -> None:
    """Not by its name or its length."""
    digests = set[bytes]()
    for name, content in (("a", b"A\nB"), ("b", b"A\nB"), ("c", b"A\nC")):
        (tmp_path / name).write_bytes(content)
        digests.add(open_code_file(tmp_path / name).digest)
    assert len(digests) == 2
