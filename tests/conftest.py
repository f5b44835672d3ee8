"""Real servers for every test: one PostgreSQL and one Valkey a run, a database a test.

A migrated template is cloned for each test, which takes milliseconds. After a test that opened a
mall the books are verified, whatever the test was about.
"""

import asyncio
import os
import shutil
import signal
import tempfile
from collections.abc import AsyncIterator
from contextlib import ExitStack
from pathlib import Path
from uuid import uuid4

import asyncpg
import pytest
import redis
import structlog
from pydantic import SecretStr
from sqlalchemy import make_url

from dev.embedded import embedded_stores
from models.migrations import migrate
from models.stores import create_engine
from services.mall import Mall, open_mall
from services.points.verify import verify_ledger
from settings import (
    AccessSettings,
    CaptchaSettings,
    LimitSettings,
    MallSettings,
    NotificationSettings,
    ServerSettings,
    Settings,
    StoreSettings,
)
from tests.client import Client
from tests.clock import MovableClock
from tests.serving import serving

SECRET = "a secret that signs nothing but tests"
_TEMPLATE = "mall_template"
_RUN = pytest.StashKey[ExitStack]()
_DATABASE, _REDIS = "TEST_DATABASE_URL", "TEST_REDIS_URL"


def pytest_configure(config: pytest.Config) -> None:
    """Start the servers once a run, before xdist's workers, who find them in the environment."""
    # A traceback with the locals of a whole mall takes seconds to draw.
    renderer = structlog.dev.ConsoleRenderer(exception_formatter=structlog.dev.plain_traceback)
    structlog.configure(processors=[structlog.processors.add_log_level, renderer])
    is_worker = hasattr(config, "workerinput")
    is_only_architecture = all("architecture" in argument for argument in config.args)
    if is_worker or is_only_architecture or config.option.collectonly:
        return
    stack = config.stash[_RUN] = ExitStack()
    # Not one of pytest's own directories: the server's user could not enter it.
    directory = Path(tempfile.mkdtemp(prefix="mall-tests-"))
    stack.callback(shutil.rmtree, directory)
    directory.chmod(0o755)
    urls = stack.enter_context(embedded_stores(directory, durable=False))
    os.environ[_DATABASE], os.environ[_REDIS] = urls.database_url, urls.redis_url
    asyncio.run(_make_template(urls.database_url))


def pytest_unconfigure(config: pytest.Config) -> None:
    """Stop the servers."""
    stack = config.stash.get(_RUN, None)
    if stack is not None:
        stack.close()


async def _make_template(database_url: str) -> None:
    await _administer(f"CREATE DATABASE {_TEMPLATE}")
    url = make_url(database_url).set(database=_TEMPLATE).render_as_string(hide_password=False)
    engine = create_engine(StoreSettings(database_url=url))
    await migrate(engine)
    await engine.dispose()


async def _administer(statement: str) -> None:
    url = make_url(os.environ[_DATABASE]).set(drivername="postgresql")
    connection = await asyncpg.connect(url.render_as_string(hide_password=False))
    try:
        await connection.execute(statement)
    finally:
        await connection.close()


@pytest.fixture(scope="session", autouse=True)
def heed_signals() -> None:
    """What a shell runs in the background ignores Ctrl-C, or a hang-up; so would all it starts."""
    signal.signal(signal.SIGINT, signal.default_int_handler)
    if signal.getsignal(signal.SIGHUP) is signal.SIG_IGN:
        signal.signal(signal.SIGHUP, lambda *_: None)


@pytest.fixture(scope="session")
def anyio_backend() -> str:
    """The mall runs on asyncio."""
    return "asyncio"


@pytest.fixture
async def empty_database_url() -> AsyncIterator[str]:
    """A database without any table."""
    async for url in _database("template0"):
        yield url


@pytest.fixture
async def database_url() -> AsyncIterator[str]:
    """A migrated, empty database of the test's own."""
    async for url in _database(_TEMPLATE):
        yield url


async def _database(template: str) -> AsyncIterator[str]:
    name = f"test_{uuid4().hex}"
    await _administer(f"CREATE DATABASE {name} TEMPLATE {template}")
    url = make_url(os.environ[_DATABASE]).set(database=name)
    yield url.render_as_string(hide_password=False)
    await _administer(f"DROP DATABASE {name} WITH (FORCE)")


@pytest.fixture
def redis_url(worker_id: str) -> str:
    """A Redis database that no other worker uses, without what the last test left in it."""
    number = 0 if worker_id == "master" else int(worker_id.removeprefix("gw")) + 1
    url = f"{os.environ[_REDIS]}?db={number}"
    with redis.Redis.from_url(url) as client:
        client.flushdb()
    return url


@pytest.fixture
def clock() -> MovableClock:
    """A clock that stands still until it is moved: a Friday noon in Shanghai."""
    return MovableClock()


@pytest.fixture
def captcha() -> CaptchaSettings:
    """Captcha settings; override to point at a double."""
    return CaptchaSettings()


@pytest.fixture
def settings(database_url: str, redis_url: str, captcha: CaptchaSettings) -> Settings:
    """A mall in the dev profile on this test's stores."""
    return Settings(
        mall=MallSettings(profile="dev"),
        stores=StoreSettings(database_url=database_url, redis_url=redis_url),
        access=AccessSettings(jwt_secret=SecretStr(SECRET)),
        captcha=captcha,
        notifications=NotificationSettings(),
        server=ServerSettings(),
        # Tests ask, and earn, faster than people.
        limits=LimitSettings(rate_limit_factor=1_000, gains_held_above=0, invites_held_above=0),
    )


@pytest.fixture
def tolerated() -> set[str]:
    """Rules that a module's tests break on purpose, to arrange what nothing makes yet."""
    return set()


@pytest.fixture
async def mall(settings: Settings, clock: MovableClock, tolerated: set[str]) -> AsyncIterator[Mall]:
    """An open mall; its books are verified afterwards."""
    async with open_mall(settings, clock) as opened:
        yield opened
        async with opened.stores.read() as session:
            violations = await verify_ledger(session)
        assert [found for found in violations if found.rule not in tolerated] == []


@pytest.fixture
async def client(mall: Mall, clock: MovableClock) -> AsyncIterator[Client]:
    """A client of a real server on a real port, whose clock is the test's.

    The server opens the stores for itself; `mall` beside it is for arranging and looking.
    """
    async with serving(mall.settings, clock) as address, Client(address, SECRET) as opened:
        yield opened
