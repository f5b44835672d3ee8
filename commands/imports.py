"""`points import` and `coupons import`: files of millions of lines."""

import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.progress import Progress as ProgressBar

from commands.opening import run_in_mall
from resolvers.catalogue import item_key
from services.catalogue.code_file import CodeFile, open_code_file
from services.catalogue.import_file import FileProgress, import_chunk
from services.errors import BadInput, Refusal
from services.imports.files import FileUnusable
from services.imports.opening_balances import opening_balances
from services.imports.run import AlreadyRunning, FileFormat, Progress, import_file
from services.mall import Mall
from services.transaction import transaction
from settings import load_settings

points = typer.Typer(no_args_is_help=True, help="Points in bulk.")
coupons = typer.Typer(no_args_is_help=True, help="Pools of coupon codes.")


@points.command("import")
def points_import(
    file: Annotated[Path, typer.Argument(help="CSV: user,points[,expires_at][,name].")],
    rejected: Annotated[
        Path | None, typer.Option(help="Where lines go that cannot be imported.")
    ] = None,
) -> None:
    """Grant the opening balances of a file; run again after an interruption, it goes on."""

    async def work(mall: Mall) -> int:
        balances = opening_balances(mall.clock, mall.zone)
        return await _import(mall, file, balances, rejected)

    run_in_mall(load_settings(), work)


async def _import(mall: Mall, file: Path, format_: FileFormat, rejected: Path | None) -> int:
    rejected_path = rejected or file.with_name(f"{file.name}.rejected.csv")
    try:
        done = await _show(import_file(mall.stores.bulk, file, format_, rejected_path))
    except (FileUnusable, AlreadyRunning) as error:
        typer.echo(str(error), err=True)
        return 1
    typer.echo(
        f"{done.imported:,} imported, {done.duplicates:,} known before, {done.rejected:,} rejected"
        + (f" (see {rejected_path})" if done.rejected else "")
    )
    return 0


async def _show(pieces: AsyncIterator[Progress]) -> Progress:
    """A bar on standard error, moved by every piece that is committed."""
    progress = await anext(pieces)
    with typer.progressbar(length=progress.size, file=sys.stderr) as bar:
        bar.update(progress.position)
        async for piece in pieces:
            bar.update(piece.position - progress.position)
            progress = piece
    return progress


@coupons.command("import")
def coupons_import(
    file: Annotated[Path, typer.Argument(exists=True, dir_okay=False, help="`code[,expires_at]`.")],
    item: Annotated[str, typer.Option(help="The id of the item, as GraphQL gives it.")],
) -> None:
    """Import a file of codes into an item's pool; killed and run again, it goes on.

    Lines that are no codes are written to FILE.rejected.csv.
    """

    async def work(mall: Mall) -> int:
        try:
            progress = await _import_file(mall, open_code_file(file), item_key(item))
        except (BadInput, Refusal) as error:
            typer.echo(f"Nothing more was imported: {error}", err=True)
            return 1
        typer.echo(
            f"{progress.lines:,} lines: {progress.imported:,} imported,"
            f" {progress.duplicates:,} duplicates, {progress.rejected:,} refused."
        )
        return 0

    run_in_mall(load_settings(), work)


async def _import_file(mall: Mall, file: CodeFile, item_id: int) -> FileProgress:
    with ProgressBar(console=Console(stderr=True)) as bar:
        before = -1
        shown = bar.add_task("Importing", total=file.size)
        while True:
            async with transaction(mall.stores.bulk) as session:
                progress = await import_chunk(session, file, item_id, clock=mall.clock)
            bar.update(shown, completed=progress.position)
            if progress.position in (file.size, before):  # the latter: the file has shrunk
                return progress
            before = progress.position
