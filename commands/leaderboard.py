"""`leaderboard`: the boards in Redis."""

import typer

from commands.opening import run_in_mall
from services.leaderboard.rebuild import rebuild
from services.mall import Mall
from settings import load_settings

leaderboard = typer.Typer(no_args_is_help=True, help="The boards.")


@leaderboard.callback()
def boards() -> None:
    """Keep `rebuild` a command of its own, though it is the only one."""


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
