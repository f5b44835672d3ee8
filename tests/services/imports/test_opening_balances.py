"""`points import`: every line once, bad ones named, and who ran it noted."""

import subprocess
from collections.abc import Sequence
from datetime import timedelta
from pathlib import Path

import pytest

from models.base import MAX_POINTS
from services.imports.files import Line
from services.imports.opening_balances import OpeningBalance, import_balances, read_balance
from services.imports.run import Settled
from services.mall import Mall
from services.points.extend import extend_lots, extension_request
from services.transaction import transaction
from settings import Settings
from tests.commands import run_command
from tests.factories import add_user, execute, fingerprint_of_database, give_points
from tests.journeys.operator_steps import actions


async def _import(
    settings: Settings, path: Path, *options: str
) -> subprocess.CompletedProcess[str]:
    return await run_command(settings, "points", "import", str(path), *options)


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
    rejected = (tmp_path / "balances.csv.rejected.csv").read_text().split("\n")[:-1]
    points = "points must be a whole number from 1 to 1000000000000"
    instant = "expires_at must be an instant such as 2027-01-31T00:00:00Z"
    assert [line.split(",", 2)[:2] for line in rejected] == [
        ["5", points],
        ["6", points],
        ["7", "expires_at lies in the past"],
        ["8", instant],
        ["9", "user needs 1 to 255 characters"],
        ["11", "not as many values as columns"],
        ["12", points],
        ["13", "this user has an opening balance already that says something else"],
        ["14", instant],
        ["15", points],
        ["16", "control characters"],
        ["17", "not UTF-8"],
    ]
    assert rejected[0].endswith(",carol,0,,")
    assert rejected[-1].endswith(r",\xcd\xf5\xce\xe5,5,,")


async def test_a_file_counts_once(mall: Mall, settings: Settings, tmp_path: Path) -> None:
    """The same file again does nothing; another one with the same members neither."""
    path = tmp_path / "balances.csv"
    path.write_text("user,points\nalice,100\nbob,50\n")
    first = await _import(settings, path)
    again = await _import(settings, path)
    assert again.stdout == f"finished before, nothing changed: {first.stdout}"
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


async def test_what_was_imported_is_noted(mall: Mall, settings: Settings, tmp_path: Path) -> None:
    """When it begins and when it ends, by whom, if that is said; never what is done already."""
    olga = await add_user(mall, "olga")
    path = tmp_path / "balances.csv"
    path.write_text("user,points\nalice,100\nbob,0\nalice,100\n")
    first = await _import(settings, path, "--as", "olga", "--rejected", str(tmp_path / "wrong"))
    assert first.stdout == f"1 imported, 1 known before, 1 rejected (see {tmp_path}/wrong)\n"
    assert (tmp_path / "wrong").read_text().startswith("3,points must be")
    [(import_id, digest)] = await execute(mall, "SELECT id, digest FROM file_imports")
    noted = {"file": "balances.csv", "digest": digest.hex()}
    begun, done = (
        {"imported": number, "duplicates": number, "rejected": number} for number in (0, 1)
    )
    assert await actions(mall) == [
        (olga, "import_points", "FileImport", str(import_id), {"phase": "begin", **noted, **begun}),
        (olga, "import_points", "FileImport", str(import_id), {"phase": "finish", **noted, **done}),
    ]
    assert (await _import(settings, path)).returncode == 0
    other = tmp_path / "other.csv"
    other.write_text("user,points\n")
    assert (await _import(settings, other)).stdout == "0 imported, 0 known before, 0 rejected\n"
    noted_by = [action[0] for action in await actions(mall)]
    assert noted_by == [olga, olga, None, None]


async def test_nobody_runs_nothing(mall: Mall, settings: Settings, tmp_path: Path) -> None:
    """An external id that no user has, and a place for lines that is the file itself: exit 1."""
    path = tmp_path / "balances.csv"
    path.write_text("user,points\nalice,100\n")
    before = await fingerprint_of_database(mall)
    for options, problem in (
        (("--as", "olga"), "there is nobody called 'olga'"),
        (("--rejected", str(path)), "is the file to import"),
    ):
        refused = await _import(settings, path, *options)
        assert (refused.returncode, refused.stdout) == (1, "")
        assert f"Nothing more was imported: {problem}" in refused.stderr.replace(f"{path} ", "")
    assert path.read_text() == "user,points\nalice,100\n"
    assert await fingerprint_of_database(mall) == before


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


async def test_nothing_that_is_there_is_written_over(
    mall: Mall, settings: Settings, tmp_path: Path
) -> None:
    """A file named by mistake stays as it is, and so do the books; another name goes on."""
    path, precious = tmp_path / "balances.csv", tmp_path / "precious"
    path.write_text("user,points\nalice,100\nbob,none\n")
    precious.write_text("the only copy")
    refused = await _import(settings, path, "--rejected", str(precious))
    assert (refused.returncode, refused.stdout) == (1, "")
    assert "holds something else than lines that this import rejected" in refused.stderr
    assert precious.read_text() == "the only copy"
    assert await execute(mall, "SELECT points FROM users") == []
    done = await _import(settings, path)
    assert done.stdout.startswith("1 imported, 0 known before, 1 rejected")


async def test_an_import_goes_on_without_what_it_rejected_before(
    mall: Mall, settings: Settings, tmp_path: Path
) -> None:
    """Whoever deleted the file is told, and has the rest in a new one."""
    path, rejected = tmp_path / "balances.csv", tmp_path / "balances.csv.rejected.csv"
    begun = "user,points\nalice,100\nbob,none\n"
    path.write_text(f"{begun}carol,5\ndave,none\n")
    assert (await _import(settings, path)).returncode == 0
    rejected.unlink()
    await execute(  # as if it had been interrupted there
        mall,
        "UPDATE file_imports SET finished_at = NULL, position = :p, lines = 3, rejected = 1,"
        " duplicates = 0, rejected_bytes = rejected_bytes / 2",
        p=len(begun),
    )
    done = await _import(settings, path)
    assert done.stdout.startswith("2 imported, 1 known before, 2 rejected"), done.stderr
    assert f"{rejected} does not hold the lines that were rejected before" in done.stderr
    assert [line.split(",")[0] for line in rejected.read_text().splitlines()] == ["5"]


_LINES = [
    "alice,100,",
    "bob,5,2090-01-01T00:00:00Z",
    "alice,200,",
    "alice,100,2090-01-01T00:00:00Z",
    "bob,5,",
    "alice,100,",
    "bob,5,2090-01-01T08:00:00+08:00",
]


@pytest.mark.parametrize("lines_a_piece", [1, 2, 3, len(_LINES)])
async def test_where_a_piece_ends_changes_nothing(mall: Mall, lines_a_piece: int) -> None:
    """A line that says the same is a duplicate, one that says something else is rejected."""
    imported, duplicates, rejected = 0, 0, list[str]()
    for start in range(0, len(_LINES), lines_a_piece):
        settled = await _settle(mall, _LINES[start : start + lines_a_piece])
        imported, duplicates = imported + settled.imported, duplicates + settled.duplicates
        rejected += [line.text for line, _ in settled.rejected]
    assert (imported, duplicates, rejected) == (2, 2, _LINES[2:5])
    assert await execute(mall, "SELECT points FROM users ORDER BY external_id") == [(100,), (5,)]


async def test_a_line_is_known_again_after_its_end_was_moved(mall: Mall) -> None:
    """By what was granted, not by what became of it."""
    ends = mall.clock() + timedelta(days=2)
    line = f"alice,1000,{ends.isoformat()}"
    assert (await _settle(mall, [line])).imported == 1
    [(user_id, lot_id)] = await execute(mall, "SELECT user_id, id FROM points_records")
    request = extension_request(user_id, lot_id, "key")
    async with transaction(mall.stores.write) as session:
        [extended] = await extend_lots(session, [request], clock=mall.clock, zone=mall.zone)
    assert extended.previous_expires_at == ends
    assert (await _settle(mall, [line])).duplicates == 1
    moved = (ends + timedelta(days=30)).isoformat()
    assert len((await _settle(mall, [f"alice,1000,{moved}"])).rejected) == 1


async def _settle(mall: Mall, lines: Sequence[str]) -> Settled:
    """Import some lines of user, points and end, as one piece."""
    columns = ("user", "points", "expires_at")
    records: list[OpeningBalance] = []
    for number, line in enumerate(lines):
        values = dict(zip(columns, line.split(","), strict=True))
        read = read_balance(Line(number, line, values), mall.clock())
        assert isinstance(read, OpeningBalance)
        records.append(read)
    async with transaction(mall.stores.bulk) as session:
        return await import_balances(session, records, clock=mall.clock, zone=mall.zone)
