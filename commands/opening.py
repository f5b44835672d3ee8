"""Opening a mall for a command: on the stores that are set, else on embedded ones."""

import asyncio
from collections.abc import Callable, Coroutine, Generator
from contextlib import contextmanager
from dataclasses import replace
from typing import Annotated, Any

import typer

from dev.embedded import embedded_stores
from models.migrations import is_current
from services.mall import Mall, open_mall
from services.transaction import reading
from settings import Settings, SettingsError

AsOperator = Annotated[
    str | None,
    typer.Option("--as", help="The external id of who runs this, to be noted with what was done."),
]
"""An option of every command that is noted among the operators' actions."""


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


def run_in_mall(
    settings: Settings,
    work: Callable[[Mall], Coroutine[Any, Any, int]],
    *,
    is_hurried: bool = False,
) -> None:
    """Open the mall, do the work, and exit with what it returns.

    Commands read or change everything, and may take their time; `is_hurried` for what works on
    small pieces beside others.
    """

    async def opened(with_urls: Settings) -> int:
        stores = with_urls.stores if is_hurried else with_urls.stores.unhurried()
        async with open_mall(replace(with_urls, stores=stores)) as mall:
            async with reading(mall.stores.read) as session:
                if not await is_current(session):
                    raise SettingsError("the database is outdated: run `cli.py migrate` first")
            return await work(mall)

    with stores_of(settings) as with_urls:
        code = asyncio.run(opened(with_urls))
    raise typer.Exit(code)
