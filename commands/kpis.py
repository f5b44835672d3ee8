"""`kpis`: how the mall does for the business, and counting it anew."""

import csv
from collections.abc import Sequence
from dataclasses import asdict
from datetime import datetime, timedelta
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from commands.opening import run_in_mall
from services.calendar import local_day, month_start, next_month_start
from services.errors import BadInput
from services.kpis.activity import recover_member_days
from services.kpis.cohorts import keep_month
from services.kpis.figures import COLUMNS, Figures, days_between
from services.kpis.liability import keep_liability
from services.kpis.report import Report, report
from services.kpis.roll_up import first_day, keep_day
from services.mall import Mall
from services.transaction import transaction
from settings import load_settings

_DAY = "%Y-%m-%d"
_SHOWN = {
    "Points by day": ("points_issued", "points_redeemed", "points_expired", "points_adjusted"),
    "Members by day": (
        "active_members",
        "exchanges",
        "tasks_completed",
        "pushes_sent",
        "pushes_opened",
    ),
}
"""Two tables, so that the figures of a large mall fit 80 columns."""
_WIDEST = 1_000  # a terminal that is too narrow wraps a line; a figure that is cut says nothing

kpis = typer.Typer(help="How the mall does for the business.")


@kpis.callback(invoke_without_command=True)
def show(
    context: typer.Context,
    first: Annotated[
        datetime | None, typer.Option("--from", formats=[_DAY], help="The first day.")
    ] = None,
    last: Annotated[
        datetime | None, typer.Option("--to", formats=[_DAY], help="The last day; yesterday.")
    ] = None,
    file: Annotated[
        Path | None, typer.Option("--csv", help="Write the days there as well.", dir_okay=False)
    ] = None,
) -> None:
    """Show the key figures of the days from --from to --to (30 days), against their targets."""
    if context.invoked_subcommand is not None:
        return

    async def work(mall: Mall) -> int:
        now = mall.clock()
        yesterday = local_day(now, mall.zone) - timedelta(days=1)
        end = last.date() if last else yesterday
        start = first.date() if first else end - timedelta(days=29)
        try:
            async with transaction(mall.stores.bulk) as session:
                found = await report(session, start, end, now, mall.zone)
        except BadInput as error:
            typer.echo(error.message, err=True)
            return 2
        if file is not None:
            try:
                _write_days(file, found.days)
            except OSError as error:
                typer.echo(f"{file} cannot be written: {error.strerror}", err=True)
                return 2
        console = Console(width=_WIDEST)
        console.print(_judged(found))
        for title, names in _SHOWN.items():
            console.print(_days(found, title, names))
        return 0

    run_in_mall(load_settings(), work)


def _judged(found: Report) -> Table:
    table = Table("figure", "target", "actual", "met", title=f"{found.first} to {found.last}")
    table.add_row("daily_active_users", "", f"{found.daily_active_users:,.1f}", "")
    for judged in found.judged:
        actual = "-" if judged.actual is None else f"{judged.actual:,.4g}"
        met = {None: "-", True: "yes", False: "NO"}[judged.is_met]
        table.add_row(judged.metric, f"{judged.target:g}", actual, met)
    table.add_row("outstanding_points", "", f"{found.outstanding_points:,}", "")
    return table


def _days(found: Report, title: str, names: Sequence[str]) -> Table:
    table = Table(title=title, show_footer=True)
    table.add_column("day", "all")
    for name in names:
        total = sum(getattr(day, name) for day in found.days)
        table.add_column(name.replace("_", "\n"), f"{total:,}", justify="right")
    for day in found.days:
        table.add_row(str(day.day), *(f"{getattr(day, name):,}" for name in names))
    return table


def _write_days(file: Path, days: Sequence[Figures]) -> None:
    """One line a day, all columns of the table that keeps them."""
    with file.open("w", newline="", encoding="utf-8") as out:
        writer = csv.DictWriter(out, COLUMNS)
        writer.writeheader()
        writer.writerows(asdict(day) for day in days)


@kpis.command("rebuild")
def rebuild() -> None:
    """Count every day and month that has ended anew, and what is owed; beside everything else."""

    async def work(mall: Mall) -> int:
        async with transaction(mall.stores.bulk) as session:
            recovered = await recover_member_days(session, mall.zone)
            start = await first_day(session, mall.zone)
        now = mall.clock()
        end = local_day(now, mall.zone) - timedelta(days=1)
        days = days_between(start, end) if start else []
        months = sorted(
            {month_start(day) for day in days if next_month_start(day) <= end + timedelta(days=1)}
        )
        for number, day in enumerate(days, 1):
            async with transaction(mall.stores.bulk) as session:
                await keep_day(session, day, now, mall.zone)
            typer.echo(f"\r{number:,} of {len(days):,} days", nl=False, err=True)
        for month in months:
            async with transaction(mall.stores.bulk) as session:
                await keep_month(session, month, mall.zone)
        async with transaction(mall.stores.bulk) as session:
            await keep_liability(session, mall.clock(), mall.zone)
        typer.echo("", err=True)
        typer.echo(f"{len(days)} day(s) are counted; {recovered} visit(s) of members were added.")
        return 0

    run_in_mall(load_settings(), work)
