"""What tests arrange: users, points, items, tasks, written the way the mall writes them."""

from datetime import datetime
from typing import Any

from sqlalchemy import insert, select, text

from models.achievements import Achievement
from models.catalogue import ExchangeItem
from models.tasks import Task
from models.users import User
from services.bulk import Writes
from services.catalogue.search import search_document
from services.identifiers import new_id
from services.mall import Mall
from services.points.account import Cause, Lot
from services.points.accounts import load_lots, lock_accounts, save_accounts
from services.points.expiry import expiry_of
from services.points.ledger import grant
from services.points.velocity import RULES_KEY, VelocityRules
from services.transaction import transaction

_UNSET: Any = object()


async def add_user(mall: Mall, name: str = "alice", **columns: Any) -> int:
    """A user with that external id; returns the id."""
    values = {
        "external_id": name,
        "username": name,
        "locale": "zh-CN",
        "timezone": "Asia/Shanghai",
        "created_at": mall.clock(),
        **columns,
    }
    async with transaction(mall.stores.write) as session:
        statement = insert(User).values(values).returning(User.id)
        return (await session.execute(statement)).scalar_one()


async def give_points(
    mall: Mall,
    user_id: int,
    points: int,
    *,
    expires_at: datetime | None = _UNSET,
    source: str = "test",
    held: bool = False,
) -> Lot:
    """A lot, granted through the ledger; expires after 12 months unless said otherwise.

    `held`: gained too fast, if they are more than one point.
    """
    async with transaction(mall.stores.write) as session:
        if held:
            session.info[RULES_KEY] = VelocityRules(gains_an_hour=1)
        accounts = await lock_accounts(session, [user_id])
        now = mall.clock()
        await load_lots(session, accounts, {}, now)
        ends = expiry_of(source, now, mall.zone) if expires_at is _UNSET else expires_at
        lot = grant(accounts[user_id], new_id(), points, Cause(source, None, "test"), ends, now)
        writes = Writes()
        save_accounts(writes, accounts.values(), mall.zone)
        await writes.flush(session)
        return lot


async def add_item(mall: Mall, **columns: Any) -> int:
    """An item (virtual, 100 points, stock 10 unless said otherwise); returns the id."""
    stock = columns.pop("stock", 10)
    values = {
        "name": "测试商品",
        "points": 100,
        "stock": stock,
        "total_stock": stock,
        "type": "virtual",
        "config": {"note": "发到您的邮箱"},
        "created_at": mall.clock(),
        **columns,
    }
    texts = (values.get(name) for name in ("name", "description", "category", "tags"))
    name, description, category, tags = texts
    values.setdefault("search", search_document(name, description, category, tags or ()))
    async with transaction(mall.stores.write) as session:
        statement = insert(ExchangeItem).values(values).returning(ExchangeItem.id)
        return (await session.execute(statement)).scalar_one()


async def add_task(mall: Mall, **columns: Any) -> int:
    """A task (daily, 10 points, done by hand unless said otherwise); returns the id."""
    values = {
        "name": "测试任务",
        "points_reward": 10,
        "frequency": "daily",
        "config": {},
        **columns,
    }
    async with transaction(mall.stores.write) as session:
        return (await session.execute(insert(Task).values(values).returning(Task.id))).scalar_one()


async def add_achievement(mall: Mall, key: str, **columns: Any) -> int:
    """An achievement (a task completed, 0 points unless said otherwise); returns the id.

    Written as from the beginning: who was past it before is not looked at again.
    """
    values = {
        "key": key,
        "name": key,
        "description": "说明",
        "measure": "tasks_completed",
        "target": 1,
        **columns,
    }
    async with transaction(mall.stores.write) as session:
        statement = insert(Achievement).values(values).returning(Achievement.id)
        return (await session.execute(statement)).scalar_one()


async def points_of(mall: Mall, user_id: int) -> int:
    """The cached balance of a user."""
    async with mall.stores.read() as session:
        statement = select(User.points).where(User.id == user_id)
        return (await session.execute(statement)).scalar_one()


async def execute(mall: Mall, sql: str, **parameters: Any) -> Any:
    """Run any SQL in a transaction; returns its rows when it has some."""
    async with transaction(mall.stores.write) as session:
        result = await session.execute(text(sql), parameters)
        return result.all() if result.returns_rows else None


async def fingerprint_of_database(mall: Mall) -> str:
    """A digest of every row of every table: equal before and after what must change nothing.

    But for what a web process writes down by itself every few seconds.
    """
    tables = await execute(
        mall,
        "SELECT table_name FROM information_schema.tables"
        " WHERE table_schema = 'public'"
        " AND table_name NOT IN ('alembic_version', 'request_counts')"
        " ORDER BY 1",
    )
    # In one statement: thousands of times a run, a round trip for each table would take minutes.
    digest = "md5(coalesce(string_agg(t::text, '' ORDER BY t::text), ''))"
    digests = ", ".join(f"(SELECT {digest} FROM {name} t)" for (name,) in tables)
    return "".join((await execute(mall, f"SELECT {digests}"))[0])
