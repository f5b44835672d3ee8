"""The commands of the mall (`python cli.py --help`)."""

import asyncio
import os
import signal
import sys
from collections.abc import Callable, Coroutine, Generator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any

import typer
import uvicorn
from pydantic import ValidationError
from rich.console import Console
from rich.progress import Progress

from dev.demo.load import is_empty, load_demo
from dev.embedded import StoresBusyError, embedded_stores
from dev.mall import kept_secret, run_mall
from dev.places import PlaceError
from dev.postgres import PostgresError
from dev.processes import ChildError
from dev.supervisor import PortTakenError
from models.migrations import is_current
from models.migrations import migrate as migrate_database
from models.stores import create_engine
from resolvers.catalogue import item_key
from resolvers.root import build_schema, export_schema
from services.catalogue.code_file import CodeFile, open_code_file
from services.catalogue.import_file import FileProgress, import_chunk
from services.errors import BadInput, Refusal
from services.mall import Mall, open_mall
from services.points.verify import verify_ledger
from services.transaction import is_store_away, reading, transaction
from services.users.claims import Role
from services.users.tokens import issue_token
from settings import Settings, SettingsError, load_settings, require_access

cli = typer.Typer(no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False)
ledger = typer.Typer(no_args_is_help=True, help="The books.")
schema = typer.Typer(no_args_is_help=True, help="The GraphQL schema.")
coupons = typer.Typer(no_args_is_help=True, help="Pools of coupon codes.")
cli.add_typer(ledger, name="ledger")
cli.add_typer(coupons, name="coupons")
cli.add_typer(schema, name="schema")

_GRACE_S = 10


@contextmanager
def stores_of(settings: Settings) -> Generator[Settings]:
    """The settings with a URL for both stores: those given, else the embedded servers'."""
    stores = settings.stores
    if stores.database_url is not None and stores.redis_url is not None:
        yield settings
        return
    with embedded_stores(stores.data_dir) as urls:
        update = {
            "database_url": stores.database_url or urls.database_url,
            "redis_url": stores.redis_url or urls.redis_url,
        }
        yield replace(settings, stores=stores.model_copy(update=update))


def _run(settings: Settings, work: Callable[[Mall], Coroutine[Any, Any, int]]) -> None:
    """Open the mall, do the work, and exit with what it returns."""

    async def opened(with_urls: Settings) -> int:
        unhurried = replace(with_urls, stores=with_urls.stores.unhurried())
        async with open_mall(unhurried) as mall:
            async with reading(mall.stores.read) as session:
                if not await is_current(session):
                    raise SettingsError("the database is outdated: run `cli.py migrate` first")
            return await work(mall)

    with stores_of(settings) as with_urls:
        code = asyncio.run(opened(with_urls))
    raise typer.Exit(code)


@cli.command()
def serve() -> None:
    """Serve GraphQL over HTTP and WebSocket."""
    settings = load_settings()
    require_access(settings)
    # uvicorn raises the signal that stopped it once more; ended by it, nothing would be closed.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    with stores_of(settings) as with_urls:
        os.environ["MALL_DATABASE_URL"] = with_urls.stores.database_url or ""
        os.environ["MALL_REDIS_URL"] = with_urls.stores.redis_url or ""
        server = settings.server
        try:
            uvicorn.run(
                "app:app_from_environment",
                factory=True,
                host=server.host,
                port=server.port,
                workers=server.processes,
                access_log=False,
                log_level=server.log_level,
                ws_max_size=server.max_body_bytes,
                timeout_graceful_shutdown=_GRACE_S,
                date_header=False,
                server_header=False,
            )
        except KeyboardInterrupt:
            return


@cli.command()
def migrate() -> None:
    """Bring the database to the newest schema."""
    with stores_of(load_settings()) as settings:
        asyncio.run(_migrate(settings))
    typer.echo("The database is up to date.", err=True)


async def _migrate(settings: Settings) -> None:
    engine = create_engine(settings.stores.unhurried())
    try:
        await migrate_database(engine)
    finally:
        await engine.dispose()


@cli.command()
def seed() -> None:
    """Fill an empty mall with demo data."""

    async def work(mall: Mall) -> int:
        return 0 if await _seed(mall) else 1

    _run(load_settings(), work)


async def _seed(mall: Mall) -> bool:
    async with transaction(mall.stores.write) as session:
        if not await is_empty(session):
            typer.echo("The mall is not empty: nothing was loaded.", err=True)
            return False
        history = await load_demo(session, mall.clock(), mall.zone)
    typer.echo(
        f"Loaded {len(history.accounts):,} members and {len(history.placed):,} exchanges.", err=True
    )
    return True


@cli.command()
def token(
    username: Annotated[str, typer.Argument(help="Who the token speaks for.")],
    role: Annotated[list[Role], typer.Option(help="May be given several times.")] = [Role.MEMBER],  # noqa: B006
) -> None:
    """Print a token, signed with MALL_JWT_SECRET (or the secret of `make run`)."""
    settings = load_settings()
    access = settings.access
    secret = access.jwt_secret or kept_secret(settings.stores.data_dir)
    signed = issue_token(
        secret.get_secret_value(),
        username,
        role,
        name=username,
        issuer=access.jwt_issuer,
        audience=access.jwt_audience,
    )
    typer.echo(signed)


@ledger.command("verify")
def ledger_verify() -> None:
    """Check every invariant over the whole database; exit 1 and name what breaks one."""

    async def work(mall: Mall) -> int:
        async with reading(mall.stores.write) as session:
            await session.connection(execution_options={"isolation_level": "REPEATABLE READ"})
            violations = await verify_ledger(session)
        for violation in violations:
            typer.echo(f"{violation.rule}: {len(violation.rows)} row(s)")
            for row in violation.rows:
                typer.echo(f"  {row}")
        typer.echo("The books are right." if not violations else "The books are NOT right.")
        return 1 if violations else 0

    _run(load_settings(), work)


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

    _run(load_settings(), work)


async def _import_file(mall: Mall, file: CodeFile, item_id: int) -> FileProgress:
    with Progress(console=Console(stderr=True)) as bar:
        shown = bar.add_task("Importing", total=file.size)
        while True:
            async with transaction(mall.stores.bulk) as session:
                progress = await import_chunk(session, file, item_id, clock=mall.clock)
            bar.update(shown, completed=progress.position)
            if progress.position >= file.size:
                return progress


@schema.command("export")
def schema_export() -> None:
    """Print the GraphQL schema."""
    typer.echo(export_schema(build_schema()), nl=False)


@cli.command()
def dev() -> None:
    """Run everything on embedded servers with demo data: what `make run` does."""
    os.environ.setdefault("MALL_PROFILE", "dev")
    raise typer.Exit(run_mall(load_settings()))


def main() -> None:
    """Run a command; what went wrong outside of the mall's control is said in one line."""
    try:
        cli()
    except ValidationError as error:
        for problem in error.errors():
            name = "_".join(map(str, problem["loc"])).upper()
            typer.echo(f"MALL_{name}: {problem['msg']}", err=True)
        sys.exit(2)
    except (SettingsError, PortTakenError, PlaceError, PostgresError, StoresBusyError) as error:
        typer.echo(str(error), err=True)
        sys.exit(2)
    except Exception as error:
        if not is_store_away(error) and not isinstance(error, ChildError):
            raise
        typer.echo(f"not available: {error or type(error).__name__}", err=True)
        sys.exit(3)


if __name__ == "__main__":
    main()
