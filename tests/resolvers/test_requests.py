"""From a token to its user: remembered for a while, and forgotten when it is no longer true."""

import asyncio

from sqlalchemy import text
from starlette.requests import HTTPConnection

from resolvers.requests import Requests
from services.live.hub import Hub
from services.mall import Mall
from services.transaction import transaction
from services.users.claims import Role
from services.users.tokens import issue_token
from tests.conftest import SECRET
from tests.factories import add_user, execute


def connection() -> HTTPConnection:
    """A request of Alice's."""
    token = issue_token(SECRET, "alice", [Role.MEMBER], name="alice")
    headers = [(b"authorization", f"Bearer {token}".encode())]
    return HTTPConnection({"type": "http", "headers": headers, "client": ("127.0.0.1", 1)})


async def speak(mall: Mall, locale: str) -> None:
    """Let Alice have chosen a language elsewhere."""
    await execute(mall, "UPDATE users SET locale = :locale", locale=locale)


async def is_waiting(mall: Mall) -> bool:
    """Whether a statement waits for a lock."""
    async with mall.stores.engine.connect() as looking:
        waiting = text(
            "SELECT count(*) FROM pg_locks WHERE NOT granted AND database ="
            " (SELECT oid FROM pg_database WHERE datname = current_database())"
        )
        return bool((await looking.execute(waiting)).scalar_one())


async def test_a_user_is_remembered_until_forgotten(mall: Mall) -> None:
    """Another process's change is not seen meanwhile."""
    await add_user(mall, "alice", last_login_at=mall.clock())
    requests = Requests(mall, Hub(mall))
    first = await requests.context(connection())
    await speak(mall, "en")
    assert (await requests.context(connection())).locale == "zh-CN"
    requests.forget(first.require_viewer())
    assert (await requests.context(connection())).locale == "en"


async def test_what_is_being_read_while_forgotten_is_not_kept(mall: Mall) -> None:
    """It may have been read before the change that it was forgotten for."""
    await add_user(mall, "alice", last_login_at=mall.clock())
    requests = Requests(mall, Hub(mall))
    viewer = (await Requests(mall, Hub(mall)).context(connection())).require_viewer()
    async with transaction(mall.stores.write) as session:
        await session.execute(text("LOCK TABLE users IN ACCESS EXCLUSIVE MODE"))
        reading = asyncio.create_task(requests.context(connection()))
        while not await is_waiting(mall):
            pass
        requests.forget(viewer)
    assert (await reading).locale == "zh-CN"
    await speak(mall, "en")
    assert (await requests.context(connection())).locale == "en"
