"""The commands of the mall (`python cli.py --help`)."""

import asyncio
import os
import signal
import sys
from contextlib import suppress
from typing import Annotated

import structlog
import typer
import uvicorn
from pydantic import ValidationError
from pydantic_settings import SettingsError as UnreadableSettingsError

from app import require_usable
from commands import jobs
from commands.imports import coupons, points
from commands.kpis import kpis
from commands.leaderboard import leaderboard
from commands.metrics import kept_metrics
from commands.opening import run_in_mall, stores_of
from commands.recommendations import recommendations
from commands.users import users
from commands.web import web_options
from dev.demo.load import is_empty, load_demo
from dev.embedded import StoresBusyError
from dev.mall import kept_secret, run_mall
from dev.places import PlaceError
from dev.postgres import PostgresError
from dev.processes import ChildError
from dev.supervisor import PortTakenError, require_free_port
from models.migrations import MigrationBlockedError
from models.migrations import migrate as migrate_database
from models.stores import create_engine
from resolvers.root import build_schema, export_schema
from services.errors import ServiceUnavailable
from services.mall import Mall
from services.monitoring.books import note_full_check
from services.monitoring.logs import configure_logging
from services.points.verify import Violation, verify_ledger
from services.transaction import is_store_away, reading, transaction
from services.users.claims import Role
from services.users.tokens import issue_token
from settings import Settings, SettingsError, load_settings, require_access

_log: structlog.stdlib.BoundLogger = structlog.get_logger()

_WRONG_FROM_THE_START = (
    SettingsError,
    UnreadableSettingsError,
    PortTakenError,
    PlaceError,
    PostgresError,
    StoresBusyError,
)

cli = typer.Typer(no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False)
ledger = typer.Typer(no_args_is_help=True, help="The books.")
schema = typer.Typer(no_args_is_help=True, help="The GraphQL schema.")
cli.add_typer(ledger, name="ledger")
cli.add_typer(schema, name="schema")
cli.add_typer(coupons, name="coupons")
cli.add_typer(points, name="points")
cli.add_typer(users, name="users")
cli.add_typer(leaderboard, name="leaderboard")
cli.add_typer(kpis, name="kpis")
cli.add_typer(recommendations, name="recommendations")
cli.add_typer(jobs.jobs, name="jobs")
cli.command()(jobs.worker)
cli.command()(jobs.scheduler)


@cli.command()
def serve() -> None:
    """Serve GraphQL over HTTP and WebSocket."""
    settings = load_settings()
    require_access(settings)
    require_usable(settings)
    configure_logging(settings)
    require_free_port(settings.server.host, settings.server.port)
    # uvicorn raises the signal that stopped it once more; ended by it, nothing would be closed.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    with stores_of(settings) as with_urls:
        os.environ["MALL_DATABASE_URL"] = with_urls.stores.database_url or ""
        os.environ["MALL_REDIS_URL"] = with_urls.stores.redis_url or ""
        server = settings.server
        _log.info("serving", host=server.host, port=server.port, processes=server.processes)
        try:
            with kept_metrics(settings):
                uvicorn.run(
                    "commands.web_process:app_of_process",
                    factory=True,
                    host=server.host,
                    port=server.port,
                    workers=server.processes,
                    **web_options(server),
                )
        except KeyboardInterrupt:
            return


@cli.command()
def migrate() -> None:
    """Bring the database to the newest schema."""
    settings = load_settings()
    configure_logging(settings)
    with stores_of(settings) as with_urls:
        asyncio.run(_migrate(with_urls))
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

    run_in_mall(load_settings(), work)


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
    days: Annotated[
        int | None,
        typer.Option(min=1, max=365, help="How long it is valid: 1 day; in the dev profile, 30."),
    ] = None,
) -> None:
    """Print a token, signed with MALL_JWT_SECRET (or the secret of `make run`)."""
    settings = load_settings()
    access = settings.access
    secret = access.jwt_secret or kept_secret(settings.stores.data_dir)
    valid_days = days or (30 if settings.mall.profile == "dev" else 1)
    signed = issue_token(
        secret.get_secret_value(),
        username,
        role,
        name=username,
        lifetime_s=valid_days * 86_400,
        issuer=access.jwt_issuer,
        audience=access.jwt_audience,
    )
    typer.echo(f"Valid for {valid_days} day(s).", err=True)
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
        await _keep_findings(mall, violations)
        return 1 if violations else 0

    run_in_mall(load_settings(), work)


async def _keep_findings(mall: Mall, violations: list[Violation]) -> None:
    """Let alerts follow what was found; a standby that is verified keeps nothing."""
    with suppress(ServiceUnavailable):
        async with transaction(mall.stores.write) as session:
            await note_full_check(session, violations, mall.clock())


@schema.command("export")
def schema_export() -> None:
    """Print the GraphQL schema."""
    typer.echo(export_schema(build_schema()), nl=False)


@cli.command()
def dev() -> None:
    """Run everything on embedded servers with demo data: what `make run` does."""
    os.environ.setdefault("MALL_PROFILE", "dev")
    settings = load_settings()
    require_usable(settings)
    raise typer.Exit(run_mall(settings))


def main() -> None:
    """Run a command; what went wrong outside of the mall's control is said in one line."""
    try:
        cli()
    except ValidationError as error:
        for problem in error.errors():
            name = "_".join(map(str, problem["loc"])).upper()
            typer.echo(f"MALL_{name}: {problem['msg']}", err=True)
        sys.exit(2)
    except _WRONG_FROM_THE_START as error:
        typer.echo(str(error), err=True)
        sys.exit(2)
    except Exception as error:
        if not is_store_away(error) and not isinstance(error, ChildError | MigrationBlockedError):
            raise
        typer.echo(f"not available: {error or type(error).__name__}", err=True)
        sys.exit(3)


if __name__ == "__main__":
    main()
