"""`points import` and `coupons import`: files of millions of lines."""

from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.progress import Progress as ProgressBar

from commands.opening import AsOperator, run_in_mall
from resolvers.catalogue import item_key
from services.errors import BadInput, Refusal
from services.imports.coupon_codes import coupon_codes
from services.imports.files import FileUnusable
from services.imports.opening_balances import opening_balances
from services.imports.run import AlreadyRunning, FileFormat, FileImport, Progress, import_file
from services.mall import Mall
from services.transaction import reading
from services.users.operator import operator_id_of
from settings import load_settings

points = typer.Typer(no_args_is_help=True, help="Points in bulk.")
coupons = typer.Typer(no_args_is_help=True, help="Pools of coupon codes.")

_Rejected = Annotated[
    Path | None,
    typer.Option(
        "--rejected", help="Where lines go that cannot be imported; FILE.rejected.csv by default."
    ),
]


@points.command("import")
def points_import(
    file: Annotated[Path, typer.Argument(help="CSV: user,points[,expires_at][,name].")],
    rejected: _Rejected = None,
    operator: AsOperator = None,
) -> None:
    """Grant the opening balances of a file; run again after an interruption, it goes on."""
    _run(file, rejected, operator, lambda mall: opening_balances(mall.clock, mall.zone))


@coupons.command("import")
def coupons_import(
    file: Annotated[Path, typer.Argument(help="CSV: code[,expires_at].")],
    item: Annotated[str, typer.Option(help="The id of the item, as GraphQL gives it.")],
    rejected: _Rejected = None,
    operator: AsOperator = None,
) -> None:
    """Import a file of codes into an item's pool; run again after an interruption, it goes on."""
    _run(file, rejected, operator, lambda mall: coupon_codes(item_key(item), mall.clock))


def _run(
    file: Path,
    rejected: Path | None,
    operator: str | None,
    format_of: Callable[[Mall], FileFormat[Any]],
) -> None:
    rejected_path = rejected or file.with_name(f"{file.name}.rejected.csv")

    async def work(mall: Mall) -> int:
        try:
            async with reading(mall.stores.read) as session:
                operator_id = await operator_id_of(session, operator)
            wanted = FileImport(file, rejected_path, operator_id)
            done = await _import(mall, wanted, format_of(mall))
        except (BadInput, Refusal, FileUnusable, AlreadyRunning) as error:
            typer.echo(f"Nothing more was imported: {error}", err=True)
            return 1
        typer.echo(
            ("finished before, nothing changed: " if done.is_old else "")
            + f"{done.imported:,} imported, {done.duplicates:,} known before,"
            f" {done.rejected:,} rejected" + (f" (see {rejected_path})" if done.rejected else "")
        )
        return 0

    run_in_mall(load_settings(), work)


async def _import(mall: Mall, wanted: FileImport, format_: FileFormat[Any]) -> Progress:
    """Import, with a bar on standard error that is moved by every piece that is committed."""
    with ProgressBar(console=Console(stderr=True)) as bar:
        shown = bar.add_task("Importing", total=None)

        def show(progress: Progress) -> None:
            bar.update(shown, completed=progress.position, total=progress.size)

        def warn(problem: str) -> None:
            bar.console.print(problem, markup=False, highlight=False, soft_wrap=True)

        return await import_file(
            mall.stores.bulk, wanted, format_, clock=mall.clock, show=show, warn=warn
        )
