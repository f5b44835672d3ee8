"""`coupons import` and `points import`, ended without warning and run again, alone and in twos.

What an import that was interrupted leaves is held against one of the same file that was not.
"""

import asyncio
import signal
import subprocess
import sys
from collections import Counter
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from schema.ids import encode_id
from services.mall import Mall, open_mall
from services.points.verify import verify_ledger
from tests.architecture.source import ROOT
from tests.clock import MovableClock
from tests.concurrency.servers import environment_of
from tests.databases import migrated_database, settings_of
from tests.factories import add_item, add_user, execute, fingerprint_of_database
from tests.journeys.operator_steps import actions, asked_for, stock_of, wish

GOOD, REPEATED, BAD = 120_000, 500, 300
LONG = "x" * 100_000


@dataclass(frozen=True)
class Kind:
    """A command that imports, a line of its file by its number, and what it leaves behind."""

    command: tuple[str, ...]
    header: str
    line: Callable[[int], str]
    bad: Callable[[int], str]
    tables: tuple[str, ...]


_PROGRESS = (
    "SELECT kind, target, digest, size, position, lines, imported, duplicates, rejected,"
    " rejected_bytes, finished_at IS NULL FROM file_imports"
)
KINDS = {
    "coupons": Kind(
        ("coupons", "import", "--item", "1"),
        "code,expires_at",
        lambda number: f"CODE-{number:06d},2099-01-01T00:00:00Z",
        lambda number: f"BAD-{number},never",
        (
            _PROGRESS,
            "SELECT item_id, code, status, expires_at FROM coupon_codes ORDER BY code",
            "SELECT id, stock, total_stock FROM exchange_items",
        ),
    ),
    "points": Kind(
        ("points", "import"),
        "user,points,expires_at",
        lambda number: f"member-{number},{number % 1000 + 1},2099-01-01T00:00:00Z",
        lambda number: f"bad-{number},{number}.5,",
        (
            _PROGRESS,
            (
                "SELECT external_id, username, points, lifetime_earned, audit_sequence FROM users"
                " ORDER BY external_id"
            ),
            (
                "SELECT external_id, lot.points, original_points, source, status, expires_at"
                " FROM points_records lot JOIN users ON users.id = user_id ORDER BY external_id"
            ),
            (
                "SELECT external_id, action, amount, points_before, points_after, source,"
                " created_by FROM points_audit_log log JOIN users ON users.id = user_id"
                " ORDER BY external_id"
            ),
        ),
    ),
}


def write_file(path: Path, kind: Kind, good: int) -> None:
    """Good lines, some of them twice, and bad ones spread among them."""
    lines = [kind.line(number) for number in range(good)]
    lines += lines[:REPEATED]
    for number in range(BAD):
        lines.insert(number * good // BAD, kind.bad(number))
    path.write_text("\n".join([kind.header, *lines[:9], LONG, *lines[9:]]))


def start(mall: Mall, kind: Kind, path: Path) -> subprocess.Popen[str]:
    """Begin the command on a mall."""
    return subprocess.Popen(
        [sys.executable, "cli.py", *kind.command, str(path)],
        cwd=ROOT,
        env=environment_of(mall.settings),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


async def finish(process: subprocess.Popen[str]) -> tuple[int, str, str]:
    """Exit code, standard output and standard error."""
    out, err = await asyncio.to_thread(process.communicate, timeout=120)
    return process.returncode, out, err


async def run(mall: Mall, kind: Kind, path: Path) -> tuple[int, str, str]:
    """The command from its beginning to its end."""
    return await finish(start(mall, kind, path))


async def position(mall: Mall) -> int:
    """The byte up to which the one file is imported."""
    rows = await execute(mall, "SELECT position FROM file_imports")
    return rows[0].position if rows else 0


async def end_underway(mall: Mall, kind: Kind, path: Path, how: signal.Signals) -> tuple[int, str]:
    """Start, end it as soon as one more piece is committed; returns exit code and error."""
    begun = await position(mall)
    process = start(mall, kind, path)
    while await position(mall) <= begun:
        assert process.poll() is None, process.communicate()
        await asyncio.sleep(0.005)
    process.send_signal(how)
    code, _, err = await finish(process)
    return code, err


async def left_behind(mall: Mall, kind: Kind, path: Path) -> list[Any]:
    """The rows of every table that it fills, but for ids and times, and its rejected lines."""
    tables = [await execute(mall, sql) for sql in kind.tables]
    return [*tables, path.with_name(f"{path.name}.rejected.csv").read_bytes()]


@pytest.fixture
async def other_mall(clock: MovableClock) -> AsyncIterator[Mall]:
    """A mall on a database of its own; its books are verified afterwards."""
    async with migrated_database() as url, open_mall(settings_of(url), clock) as mall:
        yield mall
        async with mall.stores.read() as session:
            assert await verify_ledger(session) == []


@pytest.mark.parametrize("name", KINDS)
async def test_an_interrupted_import_leaves_what_another_does(
    mall: Mall, other_mall: Mall, tmp_path: Path, name: str
) -> None:
    """Killed twice and stopped once by Ctrl-C: the same rows and rejected lines in the end."""
    kind, path = KINDS[name], tmp_path / "file.csv"
    good = GOOD if name == "coupons" else GOOD // 6
    write_file(path, kind, good)
    for each in (mall, other_mall):
        await add_item(each, type="coupon", config={}, stock=0)
    expected = f"{good:,} imported, {REPEATED:,} known before, {BAD + 1:,} rejected"
    code, out, err = await run(other_mall, kind, path)
    assert (code, out.partition(" (see ")[0]) == (0, expected), err
    uninterrupted = await left_behind(other_mall, kind, path)
    path.with_name("file.csv.rejected.csv").unlink()

    for how in (signal.SIGKILL, signal.SIGINT, signal.SIGKILL):
        code, err = await end_underway(mall, kind, path, how)
        assert code == (-how if how is signal.SIGKILL else 130), err
        assert "Traceback" not in err
        assert 0 < await position(mall) < path.stat().st_size
    for before in ("", "finished before, nothing changed: "):
        code, out, err = await run(mall, kind, path)
        assert (code, out.partition(" (see ")[0]) == (0, before + expected), err
        assert "Importing" in err
    assert await left_behind(mall, kind, path) == uninterrupted
    phases = [action[4]["phase"] for action in await actions(mall)]
    assert phases == ["begin", "begin", "interrupt", "begin", "begin", "finish"]


@pytest.mark.parametrize("name", KINDS)
async def test_two_at_once_import_a_file_once(
    mall: Mall, other_mall: Mall, tmp_path: Path, name: str
) -> None:
    """One goes through; the other says that it is late, or finds the work done."""
    kind, path = KINDS[name], tmp_path / "file.csv"
    write_file(path, kind, 30_000 if name == "coupons" else 5_000)
    for each in (mall, other_mall):
        await add_item(each, type="coupon", config={}, stock=0)
    await run(other_mall, kind, path)
    alone = await left_behind(other_mall, kind, path)
    path.with_name("file.csv.rejected.csv").unlink()
    processes = [start(mall, kind, path) for _ in range(2)]
    ended = await asyncio.gather(*map(finish, processes))
    codes = Counter(code for code, _, _ in ended)
    assert codes[0] >= 1, ended
    assert all("by another process" in err for code, _, err in ended if code), ended
    assert await left_behind(mall, kind, path) == alone


async def test_a_file_that_changes_underway_can_be_put_right(mall: Mall, tmp_path: Path) -> None:
    """It ends in zeros all at once: said; what is committed stays, and the file of before goes on.

    Nothing that was written over the file is imported.
    """
    kind, path = KINDS["coupons"], tmp_path / "file.csv"
    await add_item(mall, type="coupon", config={}, stock=0)
    write_file(path, kind, GOOD)
    whole = path.read_bytes()
    process = start(mall, kind, path)
    while not await position(mall):
        assert process.poll() is None, process.communicate()
        await asyncio.sleep(0.005)
    with path.open("r+b") as file:
        file.truncate(len(whole) // 10)
        file.truncate(len(whole))
    code, out, err = await finish(process)
    assert (code, out) == (1, "")
    assert "has changed while it was imported" in err
    [(imported,)] = await execute(mall, "SELECT imported FROM file_imports")
    assert 0 < imported < GOOD
    assert await stock_of(mall, 1) == (imported, imported)
    path.write_bytes(whole)
    code, out, err = await run(mall, kind, path)
    assert out.startswith(f"{GOOD:,} imported, {REPEATED:,} known before, {BAD + 1:,} rejected")
    assert await stock_of(mall, 1) == (GOOD, GOOD)


async def test_what_cannot_be_imported_is_said(mall: Mall, tmp_path: Path) -> None:
    """An item without a pool, an unknown one, an id that is none: exit 1, nothing changed."""
    virtual = await add_item(mall)
    path = tmp_path / "codes.csv"
    path.write_text("A\nB\n")
    before = await fingerprint_of_database(mall)
    for named in (encode_id("ExchangeItem", virtual), "4711", "x", encode_id("Task", 1)):
        kind = Kind(("coupons", "import", "--item", named), "", str, str, ())
        code, out, err = await run(mall, kind, path)
        assert (code, out) == (1, "")
        assert "Nothing more was imported" in err
        assert "Traceback" not in err
    assert await fingerprint_of_database(mall) == before


async def test_a_file_goes_into_one_item(mall: Mall, tmp_path: Path) -> None:
    """Under whatever name it comes again, another item is refused; the same one is done."""
    first, second = [await add_item(mall, type="coupon", config={}, stock=0) for _ in range(2)]
    path = tmp_path / "codes.csv"
    path.write_text("A\nB\n")
    into = {
        item: Kind(("coupons", "import", "--item", str(item)), "", str, str, ())
        for item in (first, second)
    }
    assert (await run(mall, into[first], path))[1] == "2 imported, 0 known before, 0 rejected\n"
    copy = path.rename(tmp_path / "again.csv")
    before = await fingerprint_of_database(mall)
    code, _, err = await run(mall, into[second], copy)
    assert code == 1
    assert f"imported into ExchangeItem {first} already" in err
    again = "finished before, nothing changed: 2 imported, 0 known before, 0 rejected\n"
    assert (await run(mall, into[first], copy))[1] == again
    assert await fingerprint_of_database(mall) == before


async def test_codes_that_expired_do_not_hide_a_restock(mall: Mall, tmp_path: Path) -> None:
    """They go out of the stock first, all but what one piece may take, and wishers are told."""
    pool = await add_item(mall, type="coupon", config={}, stock=0)
    await add_user(mall, "olga")
    sql = (
        "INSERT INTO coupon_codes (item_id, code, expires_at)"
        " SELECT :pool, 'OLD-' || n, :ends FROM generate_series(1, 10001) n"
    )
    await execute(mall, sql, pool=pool, ends=mall.clock() - timedelta(days=1))
    await execute(mall, "UPDATE exchange_items SET stock = 10001, total_stock = 10001")
    await wish(mall, pool)
    path = tmp_path / "codes.csv"
    path.write_text("A\nB\nA\n")
    code, out, err = await run(mall, KINDS["coupons"], path)
    assert (code, out) == (0, "2 imported, 1 known before, 0 rejected\n"), err
    assert await stock_of(mall, pool) == (3, 3)
    assert await asked_for(mall, "back_in_stock") == [{"item_id": pool}]
