"""`worker`, `scheduler` and `jobs`: what happens after a request, or without one."""

import asyncio
import signal
from collections.abc import Callable, Coroutine
from typing import Annotated, Any

import typer

from commands.metrics import serving_metrics
from commands.opening import run_in_mall
from jobs.registry import jobs_with
from jobs.schedule import SCHEDULE
from jobs.scheduler import keep_schedule
from jobs.worker import work
from services.mall import Mall
from services.monitoring.logs import configure_logging
from services.notifications.open import open_providers
from services.outbox import failed_jobs, retry_failed
from services.transaction import reading, transaction
from settings import load_settings

jobs = typer.Typer(no_args_is_help=True, help="Jobs that failed for good.")


def worker() -> None:
    """Run jobs, and send the brokers what transactions asked for."""

    async def until_stopped(mall: Mall) -> int:
        told = open_providers(mall.settings.notifications, on_outage=mall.sightings.note_outage)
        async with serving_metrics(mall), told as providers:
            await work(mall, jobs_with(providers), _stop_signal())
        return 0

    _run(until_stopped)


def scheduler() -> None:
    """Ask for jobs by the clock. Several may run: one leads, another takes over."""

    async def until_stopped(mall: Mall) -> int:
        async with serving_metrics(mall):
            await _until(_stop_signal(), keep_schedule(mall, SCHEDULE))
        return 0

    _run(until_stopped)


def _run(until_stopped: Callable[[Mall], Coroutine[Any, Any, int]]) -> None:
    settings = load_settings()
    configure_logging(settings)
    run_in_mall(settings, until_stopped, is_hurried=True)


def _stop_signal() -> asyncio.Event:
    """An event that Ctrl-C and SIGTERM set."""
    stop = asyncio.Event()
    for which in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(which, stop.set)
    return stop


async def _until(stop: asyncio.Event, endless: Coroutine[Any, Any, None]) -> None:
    running, stopped = asyncio.ensure_future(endless), asyncio.ensure_future(stop.wait())
    await asyncio.wait({running, stopped}, return_when=asyncio.FIRST_COMPLETED)
    for task in (running, stopped):
        task.cancel()
    await asyncio.wait({running, stopped})
    if not running.cancelled():
        running.result()


@jobs.command("failed")
def failed(
    limit: Annotated[int, typer.Option(min=1, help="How many at most.")] = 100,
) -> None:
    """List jobs that failed for good, oldest first; exit 1 when there are any."""

    async def show(mall: Mall) -> int:
        async with reading(mall.stores.read) as session:
            found = await failed_jobs(session, limit)
        for job in found:
            typer.echo(
                f"{job.id}  {job.job}  {job.failed_at:%Y-%m-%d %H:%M:%SZ}"
                f"  {job.attempts} attempts  {job.error}"
            )
        more = " or more" if len(found) == limit else ""
        typer.echo(f"{len(found)}{more} failed" if found else "No job has failed.", err=True)
        return 1 if found else 0

    run_in_mall(load_settings(), show)


@jobs.command("retry")
def retry(
    ids: Annotated[list[int] | None, typer.Argument(help="Which; see `jobs failed`.")] = None,
    every: Annotated[bool, typer.Option("--all", help="All that failed.")] = False,
) -> None:
    """Let failed jobs be tried again, from their first attempt on."""
    if bool(ids) == every:
        raise typer.BadParameter("give ids, or --all")

    async def work_again(mall: Mall) -> int:
        async with transaction(mall.stores.write) as session:
            opened = await retry_failed(session, None if every else ids or [], mall.clock())
        missing = sorted(set(ids or ()) - set(opened))
        typer.echo(f"{len(opened)} will be tried again")
        if missing:
            typer.echo(f"not among the failed: {', '.join(map(str, missing))}", err=True)
        return 1 if missing else 0

    run_in_mall(load_settings(), work_again)
