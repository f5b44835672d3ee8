"""Two server processes before one database, as a balancer would have them; their books verified."""

import shutil
import tempfile
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path

import pytest

from dev.embedded import StoreUrls, embedded_stores
from models.migrations import migrate
from models.stores import create_engine
from services.mall import Mall, open_mall
from services.points.verify import verify_ledger
from settings import StoreSettings
from tests.client import Client
from tests.concurrency.operations import Members
from tests.concurrency.servers import SERVE, ServerProcess, noon_zone
from tests.databases import SECRET, migrated_database, settings_of


@dataclass(frozen=True)
class Town:
    """Server processes of one mall, its members, and the mall itself for arranging and looking."""

    mall: Mall
    members: Members
    servers: tuple[ServerProcess, ...]


@pytest.fixture(scope="module")
async def shared_town(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Town]:
    """Two processes for all tests of a module, on a database of their own."""
    async with AsyncExitStack() as stack:
        url = await stack.enter_async_context(migrated_database())
        settings = settings_of(url, timezone=noon_zone())
        mall = await stack.enter_async_context(open_mall(settings))
        servers = await start_servers(stack, mall, tmp_path_factory.mktemp("servers"), 2)
        members = await members_of(stack, servers)
        yield Town(mall, members, servers)


async def start_servers(
    stack: AsyncExitStack,
    mall: Mall,
    directory: Path,
    count: int,
    program: Sequence[str] = SERVE,
) -> tuple[ServerProcess, ...]:
    """Start processes that stop with the stack; returns them when they serve."""
    servers = tuple(ServerProcess(mall.settings, directory, program) for _ in range(count))
    for server in servers:
        server.start()
        stack.callback(server.stop)
    for server in servers:
        await server.ready()
    return servers


async def members_of(stack: AsyncExitStack, servers: tuple[ServerProcess, ...]) -> Members:
    """Members with a connection to each process."""
    clients = [Client(server.address, SECRET) for server in servers]
    return Members(tuple([await stack.enter_async_context(client) for client in clients]))


@pytest.fixture
async def town(shared_town: Town) -> AsyncIterator[Town]:
    """The module's town; after each test its books are verified and its logs are quiet."""
    yield shared_town
    async with shared_town.mall.stores.read() as session:
        assert await verify_ledger(session) == []
    assert [server.log for server in shared_town.servers] == [""] * len(shared_town.servers)


@pytest.fixture(scope="module")
def stores() -> Iterator[StoreUrls]:
    """A PostgreSQL and a Valkey of this module's own, to be killed; durable as in production."""
    directory = Path(tempfile.mkdtemp(prefix="mall-chaos-"))
    directory.chmod(0o755)
    try:
        with embedded_stores(directory) as urls:
            yield urls
    finally:
        shutil.rmtree(directory)


@pytest.fixture(scope="module")
async def migrated(stores: StoreUrls) -> StoreUrls:
    """The same stores, ready for a mall."""
    engine = create_engine(StoreSettings(database_url=stores.database_url))
    await migrate(engine)
    await engine.dispose()
    return stores
