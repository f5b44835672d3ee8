"""`cli.py coupons import`, killed without warning and run again: nothing lost, nothing twice."""

import asyncio
import subprocess
import sys
from pathlib import Path

from schema.ids import encode_id
from services.mall import Mall
from settings import Settings
from tests.architecture.source import ROOT
from tests.concurrency.servers import environment_of
from tests.factories import add_item, add_user, execute

CODES, REPEATED, BAD = 120_000, 500, 300


def _write_file(path: Path) -> None:
    lines = ["code,expires_at"]
    lines += [f"CODE-{number:06d},2099-01-01T00:00:00Z" for number in range(CODES)]
    lines[1000:1000] = [f"BAD-{number},never" for number in range(BAD)]
    lines += [f"CODE-{number:06d}" for number in range(REPEATED)]
    path.write_text("\n".join(lines))


def _start(settings: Settings, path: Path, item: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "cli.py", "coupons", "import", "--item", item, str(path)],
        cwd=ROOT,
        env=environment_of(settings),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


async def _finish(process: subprocess.Popen[str]) -> tuple[int, str, str]:
    out, err = await asyncio.to_thread(process.communicate, timeout=120)
    return process.returncode, out, err


async def _position(mall: Mall) -> int:
    rows = await execute(mall, "SELECT position FROM coupon_imports")
    return rows[0].position if rows else 0


async def _kill_underway(mall: Mall, process: subprocess.Popen[str], start: int) -> None:
    """End the process as soon as it has come further than `start`."""
    while await _position(mall) <= start:
        assert process.poll() is None, process.communicate()
        await asyncio.sleep(0.005)
    process.kill()
    await _finish(process)


async def test_a_killed_import_goes_on_where_it_was(mall: Mall, tmp_path: Path) -> None:
    """Killed twice, finished the third time, and once more for nothing."""
    item_id = await add_item(mall, type="coupon", config={}, stock=0)
    item = encode_id("ExchangeItem", item_id)
    path = tmp_path / "codes.csv"
    _write_file(path)
    for _ in range(2):
        start = await _position(mall)
        await _kill_underway(mall, _start(mall.settings, path, item), start)
        assert 0 < await _position(mall) < path.stat().st_size
    expected = (
        f"{CODES + BAD + REPEATED + 1:,} lines: {CODES:,} imported,"
        f" {REPEATED:,} duplicates, {BAD:,} refused.\n"
    )
    for named in (item, str(item_id)):
        code, out, err = await _finish(_start(mall.settings, path, named))
        assert (code, out) == (0, expected), err
        assert "Importing" in err
    sql = "SELECT count(*), count(DISTINCT code), count(expires_at) FROM coupon_codes"
    assert await execute(mall, sql) == [(CODES, CODES, CODES)]
    sql = "SELECT stock, total_stock FROM exchange_items"
    assert await execute(mall, sql) == [(CODES, CODES)]
    refused = (tmp_path / "codes.csv.rejected.csv").read_text().splitlines()
    assert len(refused) == BAD
    assert refused[0] == "1001,no date and time,BAD-0,never"


async def test_what_cannot_be_imported_is_said(mall: Mall, tmp_path: Path) -> None:
    """An item without a pool, an unknown one, an id that is none: exit 1, nothing imported."""
    await add_user(mall)
    virtual = await add_item(mall)
    path = tmp_path / "codes.csv"
    path.write_text("A\nB\n")
    for named in (encode_id("ExchangeItem", virtual), "4711", "x", encode_id("Task", 1)):
        code, out, err = await _finish(_start(mall.settings, path, named))
        assert (code, out) == (1, "")
        assert "Nothing more was imported" in err
        assert "Traceback" not in err
    assert await execute(mall, "SELECT count(*) FROM coupon_codes") == [(0,)]
