"""The demo mall: what is loaded can be found, and has something to recommend by."""

import csv
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import pytest

from dev.demo.load import load_demo
from services.achievements.catch_up import CATCH_UP_JOB
from services.catalogue.browse import ItemFilter, count_items
from services.mall import Mall
from services.recommendations.dataset import Split
from services.recommendations.evaluate import Question, evaluate
from services.recommendations.files import read_interactions_file, read_items_file
from services.recommendations.train import TRAINING_JOB
from services.transaction import transaction
from tests.client import Client
from tests.factories import execute
from tests.jobs.due import jobs_named, run_due


async def test_demo_members_have_achievements(mall: Mall) -> None:
    """As soon as a worker runs; the history made them reach some."""
    async with transaction(mall.stores.bulk) as session:
        await load_demo(session, mall.clock(), mall.zone)
    await run_due(mall, jobs_named(CATCH_UP_JOB))
    held = await execute(
        mall,
        "SELECT DISTINCT key FROM user_achievements JOIN achievements ON achievements.id ="
        " achievement_id",
    )
    assert {"first_exchange", "week_streak"} <= {row.key for row in held}


async def test_every_demo_item_can_be_searched(mall: Mall) -> None:
    """By its category, which each has."""
    async with transaction(mall.stores.bulk) as session:
        await load_demo(session, mall.clock(), mall.zone)
    categories = await execute(
        mall,
        "SELECT category, count(*) FROM exchange_items WHERE is_active"
        " AND (available_until IS NULL OR available_until > :now) GROUP BY 1",
        now=mall.clock(),
    )
    assert len(categories) > 5
    for category, count in categories:
        async with mall.stores.read() as session:
            found = ItemFilter(search=category, category=category)
            assert await count_items(session, found, mall.clock()) == count


async def test_the_demo_mall_has_something_to_recommend_by(mall: Mall, client: Client) -> None:
    """As soon as a worker runs: by what members took, not by what is popular alone."""
    async with transaction(mall.stores.bulk) as session:
        await load_demo(session, mall.clock(), mall.zone)
    await run_due(mall, jobs_named(TRAINING_JOB))
    query = "{ recommendations { item { points canExchange } score reason } }"
    found = (await client.data(query, as_="alice"))["recommendations"]
    assert len(found) == 5
    assert all(each["item"]["canExchange"] for each in found)
    assert "SIMILAR_USERS" in {each["reason"] for each in found}


_INTERACTIONS = """
    SELECT user_id, item_id, CAST(extract(epoch FROM created_at) AS bigint), 3 FROM exchanges
    WHERE status <> 'cancelled'
    UNION ALL
    SELECT user_id, item_id, CAST(extract(epoch FROM created_at) AS bigint), 2 FROM wishes
    UNION ALL
    SELECT user_id, viewed_item_id, CAST(extract(epoch FROM occurred_at) AS bigint), 1
    FROM events WHERE viewed_item_id IS NOT NULL
"""
_ITEMS = "SELECT id, name, array_to_string(tags, '|'), category FROM exchange_items"


def _write(path: Path, header: str, rows: Iterable[Sequence[Any]]) -> Path:
    with path.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(header.split(","))
        writer.writerows(rows)
    return path


@pytest.mark.parametrize("split", Split)
async def test_on_the_demo_mall_the_hybrid_is_best(
    mall: Mall, tmp_path: Path, split: Split
) -> None:
    """Better than popularity and than each part; and interests alone are better than popularity."""
    async with transaction(mall.stores.bulk) as session:
        await load_demo(session, mall.clock(), mall.zone)
    interactions = _write(
        tmp_path / "interactions.csv",
        "user,item,timestamp,weight",
        await execute(mall, _INTERACTIONS),
    )
    items = _write(tmp_path / "items.csv", "item,name,tags,category", await execute(mall, _ITEMS))
    dataset, texts = read_interactions_file(interactions), read_items_file(items)
    report = evaluate(dataset, texts, Question(split=split))
    hybrid = report.methods["hybrid"].ndcg
    for name in ("collaborative", "content", "popularity"):
        assert hybrid > 1.05 * report.methods[name].ndcg, report.methods
    assert report.cold_start is not None
    assert report.cold_start.interests.ndcg > 1.1 * report.cold_start.popularity.ndcg
