"""`leaderboard`: the boards in Redis, and what they are computed from."""

import asyncio
from typing import Annotated

import typer

from commands.opening import run_in_mall
from services.leaderboard.rebuild import rebuild
from services.leaderboard.recount import Recounted, recount_page
from services.mall import Mall
from services.transaction import Contended, transaction
from settings import load_settings

_REST_S = 1.0
"""Before a page that had to wait too long is tried again: those whom it held have their turn."""

leaderboard = typer.Typer(no_args_is_help=True, help="The boards.")


@leaderboard.command("rebuild")
def rebuild_boards() -> None:
    """Build the boards anew from the database; exit 1 when somebody else is at it."""

    async def work(mall: Mall) -> int:
        def show(users: int) -> None:
            typer.echo(f"\r{users:,} members", nl=False, err=True)

        rebuilt = await rebuild(mall.stores, mall.clock, mall.zone, show)
        if rebuilt is None:
            typer.echo("Somebody else is building them.", err=True)
            return 1
        typer.echo("", err=True)
        typer.echo(f"The boards are built: {rebuilt.users} member(s) have earned points.")
        return 0

    run_in_mall(load_settings(), work)


@leaderboard.command("recount")
def recount(
    *,
    after: Annotated[
        int, typer.Option(help="Go on after the member of this number, as the last run said.")
    ] = 0,
) -> None:
    """Count anew, from the books, what members have on boards and towards achievements."""

    async def work(mall: Mall) -> int:
        last_id, members, ranked, counted = after, 0, 0, 0
        while True:
            page = await _recount_page(mall, last_id)
            if page is None:
                break
            last_id, members = page.last_id, members + page.members
            ranked, counted = ranked + page.ranked, counted + page.counted
            await mall.movements.told()
            typer.echo(f"\r{members:,} members, up to number {last_id}", nl=False, err=True)
        typer.echo("", err=True)
        typer.echo(
            f"{members} member(s) are counted: {ranked} had something else on the boards,"
            f" {counted} towards achievements."
        )
        return 0

    run_in_mall(load_settings(), work, is_hurried=True)


async def _recount_page(mall: Mall, after: int) -> Recounted | None:
    """A page, however long somebody else holds what it needs; in between it holds nobody up."""
    while True:
        try:
            async with transaction(mall.stores.bulk) as session:
                return await recount_page(session, after, clock=mall.clock, zone=mall.zone)
        except Contended:
            typer.echo(f"\rwaiting, up to number {after}", nl=False, err=True)
            await asyncio.sleep(_REST_S)
