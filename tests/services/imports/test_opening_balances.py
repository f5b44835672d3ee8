"""`points import`: every line once, bad ones named, killed and gone on with."""

import asyncio
import os
import signal
import subprocess
import sys
from pathlib import Path

from models.base import MAX_POINTS
from services.mall import Mall
from settings import Settings
from tests.factories import add_user, execute, give_points

_ROOT = Path(__file__).parents[3]


def _command(settings: Settings, path: Path) -> tuple[list[str], dict[str, str]]:
    environment = {
        **{name: value for name, value in os.environ.items() if not name.startswith("MALL_")},
        "MALL_DATABASE_URL": str(settings.stores.database_url),
        "MALL_REDIS_URL": str(settings.stores.redis_url),
    }
    return [sys.executable, "cli.py", "points", "import", str(path)], environment


async def _import(settings: Settings, path: Path) -> subprocess.CompletedProcess[str]:
    command, environment = _command(settings, path)
    return await asyncio.to_thread(
        subprocess.run, command, cwd=_ROOT, env=environment, capture_output=True, text=True
    )


async def test_members_move_in_with_their_points(
    mall: Mall, settings: Settings, tmp_path: Path
) -> None:
    """New ones are created, known ones keep what they have; what is wrong is listed."""
    alice = await add_user(mall, "alice")
    await give_points(mall, alice, 7)
    path = tmp_path / "balances.csv"
    lines = [
        "user,points,expires_at,name",
        "alice,100,,",
        'bob,250,2030-01-31T00:00:00+08:00,"李, 雷"',
        "alice,100,,",
        "carol,0,,",
        "carol,12.5,,",
        "carol,5,2020-01-01T00:00:00Z,",
        "carol,5,soon,",
        f"{'x' * 256},5,,",
        "carol,1000000000000,,",
        "alice",
        "dave,1000000000001,,",
        "alice,200,,",
        "dave,5,9999-12-31T23:59:59-08:00,",
        f"dave,{'0' * 19}{'1' * 5_000},,",
        "da\x0cve,5,,",
    ]
    path.write_bytes("\n".join(lines).encode() + b"\n\xcd\xf5\xce\xe5,5,,\n")
    done = await _import(settings, path)
    assert (done.returncode, done.stdout) == (
        0,
        f"3 imported, 1 known before, 12 rejected (see {tmp_path}/balances.csv.rejected.csv)\n",
    )
    balances = await execute(mall, "SELECT external_id, username, points FROM users ORDER BY 1")
    assert [row[0::2] for row in balances] == [
        ("alice", 107),
        ("bob", 250),
        ("carol", 10**12),
    ]
    assert balances[1].username == "李, 雷"
    rejected = (tmp_path / "balances.csv.rejected.csv").read_text(errors="replace").split("\n")
    points = "points must be a whole number from 1 to 1000000000000"
    text = "not CSV in UTF-8 with as many values as columns"
    instant = "expires_at must be an instant such as 2027-01-31T00:00:00Z"
    assert [line.rpartition(",")[2] for line in rejected] == [
        points,
        points,
        "expires_at lies in the past",
        instant,
        "user needs 1 to 255 characters",
        text,
        points,
        instant,
        points,
        text,
        text,
        "another opening balance of this user stands above",
        "",
    ]


async def test_a_file_counts_once(mall: Mall, settings: Settings, tmp_path: Path) -> None:
    """The same file again does nothing; another one with the same members neither."""
    path = tmp_path / "balances.csv"
    path.write_text("user,points\nalice,100\nbob,50\n")
    first = await _import(settings, path)
    assert (await _import(settings, path)).stdout == first.stdout
    other = tmp_path / "other.csv"
    other.write_text("points,user\n100,alice\n70,carol\n")
    assert (await _import(settings, other)).stdout == "1 imported, 1 known before, 0 rejected\n"
    total = await execute(mall, "SELECT sum(points) FROM users")
    assert total == [(220,)]


async def test_a_file_of_no_use_is_refused(settings: Settings, tmp_path: Path) -> None:
    """Before anything is changed; exit 1."""
    path = tmp_path / "balances.csv"
    path.write_text("name,points\nalice,100\n")
    refused = await _import(settings, path)
    assert refused.returncode == 1
    assert "the first line must name the columns user, points" in refused.stderr


async def test_a_killed_import_goes_on_where_it_was(
    mall: Mall, settings: Settings, tmp_path: Path
) -> None:
    """Killed three times in the middle; in the end everybody has what their line says, once."""
    path, count = tmp_path / "balances.csv", 120_000
    path.write_text(
        "user,points\n"
        + "".join(f"member-{n},{n % 1000 + 1}\nbad,{n}.5\n" for n in range(count // 2))
    )
    command, environment = _command(settings, path)
    for _ in range(3):
        process = await asyncio.create_subprocess_exec(
            *command, cwd=_ROOT, env=environment, stderr=subprocess.DEVNULL
        )
        await _until_it_moves(mall, process)
        process.send_signal(signal.SIGKILL)
        await process.wait()
    [(position, size)] = await execute(mall, "SELECT position, size FROM file_imports")
    assert 0 < position < size
    done = await _import(settings, path)
    assert done.stdout.startswith("60,000 imported, 0 known before, 60,000 rejected")
    found = await execute(
        mall,
        "SELECT count(*), sum(points), count(*) FILTER (WHERE audit_sequence <> 1) FROM users",
    )
    assert found == [(60_000, sum(n % 1000 + 1 for n in range(count // 2)), 0)]
    rejected = (tmp_path / "balances.csv.rejected.csv").read_text().splitlines()
    assert (len(rejected), len(set(rejected))) == (60_000, 60_000)


async def _until_it_moves(mall: Mall, process: asyncio.subprocess.Process) -> None:
    """Until one more piece is committed."""

    async def position() -> int:
        rows = await execute(mall, "SELECT position FROM file_imports")
        return rows[0][0] if rows else 0

    before = await position()
    async with asyncio.timeout(60):
        while await position() == before and process.returncode is None:  # noqa: ASYNC110 - it moves elsewhere
            await asyncio.sleep(0.02)


async def test_a_balance_that_does_not_fit_is_rejected_alone(
    mall: Mall, settings: Settings, tmp_path: Path
) -> None:
    """The member keeps what is there, and the others of the file move in."""
    rich = await add_user(mall, "rich")
    await give_points(mall, rich, MAX_POINTS - 3)
    path = tmp_path / "balances.csv"
    path.write_text("user,points\nrich,4\nbob,5\n")
    done = await _import(settings, path)
    assert done.stdout.startswith("1 imported, 0 known before, 1 rejected")
    balances = await execute(mall, "SELECT external_id, points FROM users ORDER BY 1")
    assert balances == [("bob", 5), ("rich", MAX_POINTS - 3)]
    assert "no balance can hold as many" in (tmp_path / "balances.csv.rejected.csv").read_text()
