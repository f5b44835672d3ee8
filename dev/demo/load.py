"""Loading the demo mall into an empty database."""

import json
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from pathlib import Path
from random import Random
from typing import Any
from zoneinfo import ZoneInfo

from sqlalchemy import func, insert, select, text, update
from sqlalchemy.ext.asyncio import AsyncSession

from dev.demo.members import make_members
from dev.demo.simulate import History, open_tasks, simulate
from models.catalogue import ExchangeItem, ItemDailyExchanges, Wish
from models.tasks import Event
from models.tasks import Task as TaskTable
from models.users import User
from services.achievements.catch_up import CATCH_UP_JOB
from services.bulk import Writes
from services.catalogue.items import items_by_id
from services.catalogue.search import search_document
from services.exchange.place import save_exchanges
from services.identifiers import global_id
from services.kpis.activity import recover_member_days
from services.outbox import enqueue
from services.points.accounts import save_accounts
from services.points.grant import name_grants
from services.recommendations.train import TRAINING_JOB
from services.tasks.check_in import save_check_ins
from services.tasks.incoming_events import PURCHASE, VIEW
from services.tasks.progress import save_progress, tasks_by_id

_HERE = Path(__file__).parent
_SEED = 2026
_UNLIMITED = 1_000_000
_VIEW = (
    "event_id",
    "user_id",
    "type",
    "occurred_at",
    "attributes",
    "viewed_item_id",
    "recorded_at",
)
_DELIVER = text(
    """
    UPDATE exchanges
    SET status = CASE WHEN created_at < CAST(:now AS timestamptz) - interval '7 days'
                      THEN 'completed' ELSE 'shipped' END,
        updated_at = created_at + interval '2 days'
    WHERE status = 'pending' AND created_at < CAST(:now AS timestamptz) - interval '2 days'
    """
)


async def is_empty(session: AsyncSession) -> bool:
    """Whether the mall has neither users nor items."""
    for table in (User, ExchangeItem):
        if (await session.execute(select(func.count()).select_from(table))).scalar_one():
            return False
    return True


async def load_demo(session: AsyncSession, now: datetime, zone: ZoneInfo) -> History:
    """Fill an empty mall: items, tasks, members, and months of what they did, ending now."""
    random = Random(_SEED)
    entries = json.loads((_HERE / "items.json").read_text())
    stocks = await _load_items(session, entries, now, random)
    await _load_tasks(session, json.loads((_HERE / "tasks.json").read_text()), now)
    members = make_members(now, sorted({entry["category"] for entry in entries}), random)
    await session.execute(insert(User), [member.row for member in members])
    items = await items_by_id(session, stocks)
    tasks = await tasks_by_id(session, range(1, 100))
    on_sale = {key: item for key, item in items.items() if item.is_on_sale(now)}
    running = open_tasks([task for task in tasks.values() if task.is_running(now)])
    history = simulate(members, on_sale, running, now, zone, random)
    await _save(session, history, now, zone)
    await _save_interest(session, history)
    await _set_stocks(session, stocks, history)
    await session.execute(_DELIVER, {"now": now})
    await recover_member_days(session, zone)
    await _restart_ids(session)
    return history


async def _load_items(
    session: AsyncSession, entries: Sequence[Mapping[str, Any]], now: datetime, random: Random
) -> dict[int, int]:
    """Insert the items; returns the stock each is to have in the end, by id."""
    ages = list(range(len(entries)))
    random.shuffle(ages)  # else the newest would all be of one category
    rows = [
        _item_row(number, entry, now, timedelta(hours=7 * age))
        for number, (entry, age) in enumerate(zip(entries, ages, strict=True), 1)
    ]
    await session.execute(insert(ExchangeItem), rows)
    return {row["id"]: entry["stock"] for row, entry in zip(rows, entries, strict=True)}


def _item_row(
    item_id: int, entry: Mapping[str, Any], now: datetime, age: timedelta
) -> dict[str, Any]:
    limit = entry.get("per_user_limit")
    return {
        "id": item_id,
        "name": entry["name"],
        "description": entry["description"],
        "points": entry["points"],
        "stock": _UNLIMITED,
        "total_stock": _UNLIMITED,
        "category": entry["category"],
        "tags": entry["tags"],
        "type": entry["type"].lower(),
        "is_active": entry.get("is_active", True),
        "available_from": _from_today(now, entry.get("available_from_days")),
        "available_until": _from_today(now, entry.get("available_until_days")),
        "per_user_limit_count": limit and limit["count"],
        "per_user_limit_period": limit and limit["period"].lower(),
        "config": entry["config"],
        "search": search_document(
            entry["name"], entry["description"], entry["category"], entry["tags"]
        ),
        "created_at": now - age,
        "updated_at": now - age,
    }


def _from_today(now: datetime, days: int | None) -> datetime | None:
    return None if days is None else now + timedelta(days=days)


async def _load_tasks(
    session: AsyncSession, entries: Sequence[Mapping[str, Any]], now: datetime
) -> None:
    rows = [
        {
            "id": number,
            "name": entry["name"],
            "description": entry["description"],
            "points_reward": entry["points_reward"],
            "frequency": entry["frequency"].lower(),
            "starts_at": _from_today(now, entry.get("available_from_days")),
            "ends_at": _from_today(now, entry.get("available_until_days")),
            "config": entry["config"],
        }
        for number, entry in enumerate(entries, 1)
    ]
    await session.execute(insert(TaskTable), rows)


async def _save(session: AsyncSession, history: History, now: datetime, zone: ZoneInfo) -> None:
    writes = Writes()
    save_accounts(writes, history.accounts, zone)
    lots = (lot for account in history.accounts for lot in account.new_lots)
    name_grants(writes, (lot for lot in lots if lot.source == PURCHASE))
    save_check_ins(writes, history.check_ins)
    save_progress(writes, list(history.progress.values()))
    save_exchanges(writes, history.placed, history.memberships)
    counts = [(day, item, count) for (day, item), count in sorted(history.sold_by_day.items())]
    columns = ("day", "item_id", "exchanges")
    writes.insert(ItemDailyExchanges, columns, counts)
    for job in (CATCH_UP_JOB, TRAINING_JOB):  # what the history led to, once there is a worker
        enqueue(writes, job, [{}], now)
    await writes.flush(session)
    visits = [
        {"id": user_id, "last_login_at": moment}
        for user_id, moment in sorted(history.last_visits.items())
    ]
    await session.execute(update(User), visits)


async def _save_interest(session: AsyncSession, history: History) -> None:
    """What members looked at and wish for, as other systems and members tell the mall."""
    writes = Writes()
    views = [
        (f"demo-view-{number}", user_id, VIEW, seen_at, _naming(item_id), item_id, seen_at)
        for number, (user_id, item_id, seen_at) in enumerate(history.views, 1)
    ]
    writes.insert(Event, _VIEW, views)
    wishes = [(*pair, wished_at) for pair, wished_at in history.wishes.items()]
    writes.insert(Wish, ("user_id", "item_id", "created_at"), wishes)
    await writes.flush(session)


def _naming(item_id: int) -> dict[str, Any]:
    return {"itemId": global_id("ExchangeItem", item_id)}


async def _set_stocks(session: AsyncSession, stocks: Mapping[int, int], history: History) -> None:
    """The stock that the catalogue names is what is left after the history."""
    rows = [
        {"id": item_id, "stock": stock, "total_stock": stock + history.sold[item_id]}
        for item_id, stock in stocks.items()
    ]
    await session.execute(update(ExchangeItem), rows)


async def _restart_ids(session: AsyncSession) -> None:
    """Ids were given by hand: let the next ones follow them."""
    for table in ("users", "exchange_items", "tasks"):
        sequence = f"pg_get_serial_sequence('{table}', 'id')"
        await session.execute(text(f"SELECT setval({sequence}, max(id)) FROM {table}"))
