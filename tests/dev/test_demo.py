"""The demo mall: what is loaded can be found."""

from dev.demo.load import load_demo
from services.achievements.catch_up import CATCH_UP_JOB
from services.catalogue.browse import ItemFilter, count_items
from services.mall import Mall
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
