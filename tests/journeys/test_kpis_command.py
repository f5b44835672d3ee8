"""The key figures in a terminal and a file, and counting them anew."""

import csv
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from services.calendar import local_day
from services.mall import Mall
from tests.clock import MovableClock
from tests.commands import run_command
from tests.factories import execute
from tests.services.kpis.living import LivingMall
from tests.services.kpis.naive import read_everything


@pytest.fixture
async def living(mall: Mall, clock: MovableClock) -> LivingMall:
    """A mall that lived until a few days ago: the commands tell the time themselves."""
    clock.now = datetime.now(UTC) - timedelta(days=12)
    living = LivingMall(mall, clock, seed=9)
    await living.open()
    while clock.now < datetime.now(UTC) - timedelta(days=4):
        await living.live(1)
    return living


async def test_rebuilding_and_showing(mall: Mall, living: LivingMall, tmp_path: Path) -> None:
    """What is kept, shown and written is what the rows say."""
    assert living.number > 10
    await execute(mall, "DELETE FROM member_days")
    rebuilt = await run_command(mall.settings, "kpis", "rebuild")
    assert rebuilt.returncode == 0, rebuilt.stderr
    everything = await read_everything(mall, mall.zone)
    (visits,) = (await execute(mall, "SELECT count(*) FROM member_days"))[0]
    kept = await execute(mall, "SELECT * FROM daily_figures ORDER BY day")
    said = f"{len(kept)} day(s) are counted; {visits} visit(s) of members were added."
    assert said in rebuilt.stdout
    assert [row.points_issued for row in kept] == [everything.days[row.day].issued for row in kept]
    (owed,) = await execute(mall, "SELECT outstanding_points FROM daily_liabilities")
    assert await execute(mall, "SELECT sum(points)::bigint FROM users") == [owed]
    file = tmp_path / "days.csv"
    days = ("--from", str(kept[0].day), "--to", str(kept[-1].day))
    shown = await run_command(mall.settings, "kpis", *days, "--csv", str(file))
    assert shown.returncode == 0, shown.stderr
    issued = sum(row.points_issued for row in kept)
    assert f"{issued:,}" in shown.stdout
    for metric in ("expiry_rate", "availability", "daily_active_users_change"):
        assert metric in shown.stdout
    with file.open(newline="") as lines:
        rows = list(csv.DictReader(lines))
    assert [row["day"] for row in rows] == [str(row.day) for row in kept]
    assert [int(row["active_members"]) for row in rows] == [row.active_members for row in kept]


async def test_no_day_and_no_figure_is_cut(mall: Mall, monkeypatch: pytest.MonkeyPatch) -> None:
    """In 80 columns, of a mall that gives out a billion points in two days."""
    monkeypatch.setenv("COLUMNS", "80")
    await execute(
        mall,
        """
        INSERT INTO daily_figures SELECT (jsonb_populate_record(NULL::daily_figures, figures)).*
        FROM (SELECT jsonb_object_agg(name, 0) || jsonb_build_object(
                  'day', date '2026-10-30' + n, 'active_members', 1234567,
                  'points_issued', 512345678 + n, 'points_redeemed', -512345678 - n,
                  'exchanges', 2345678, 'tasks_completed', 3456789, 'pushes_sent', 4567890,
                  'computed_at', now()) AS figures
              FROM generate_series(0, 1) n, (SELECT attname AS name FROM pg_attribute
                  WHERE attrelid = 'daily_figures'::regclass AND attnum > 0) columns
              GROUP BY n) made
        """,
    )
    days = ("--from", "2026-10-30", "--to", "2026-10-31")
    shown = await run_command(mall.settings, "kpis", *days)
    assert shown.returncode == 0, shown.stderr
    assert max(map(len, shown.stdout.splitlines())) <= 80
    points, members = shown.stdout.partition("Points by day")[2].split("Members by day")
    for word in ("2026-10-30", "2026-10-31", "512,345,679", "-512,345,678", "1,024,691,357"):
        assert word in points
    for word in ("2026-10-30", "2026-10-31", "1,234,567", "6,913,578", "9,135,780"):
        assert word in members
    assert "…" not in shown.stdout


async def test_a_file_that_cannot_be_written(mall: Mall) -> None:
    """Is somebody's mistake, not a store that is away: said in a line, with the code for it."""
    refused = await run_command(mall.settings, "kpis", "--csv", "/nonexistent/days.csv")
    assert refused.returncode == 2
    assert refused.stderr == "/nonexistent/days.csv cannot be written: No such file or directory\n"
    assert refused.stdout == ""


async def test_what_is_no_period(mall: Mall) -> None:
    """Said in a line, with an exit code for it."""
    today = str(local_day(mall.clock(), mall.zone))
    refused = await run_command(mall.settings, "kpis", "--from", today, "--to", "2026-01-01")
    assert refused.returncode == 2
    assert "from must not lie after to" in refused.stderr
    assert refused.stdout == ""
