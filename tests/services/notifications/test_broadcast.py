"""Planning a campaign page by page: whatever dies or comes twice, each member has one push."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import Engine, event

from models.notifications import DevicePlatform
from services.mall import Mall
from services.notifications.audience import Audience
from services.notifications.broadcast import PLAN_JOB, Broadcast, broadcast, plan_page
from services.notifications.campaigns import campaigns_page, progress_by_campaign
from services.transaction import transaction
from tests.factories import add_user, execute
from tests.jobs.due import PLANNING, run_due
from tests.services.notifications.test_plan import add_members


class KilledError(Exception):
    """The worker died."""


@pytest.fixture
async def olga(mall: Mall) -> int:
    """An operator, who speaks a language of her own."""
    return await add_user(mall, "olga", locale="fi")


async def begin(mall: Mall, olga: int, key: str = "key", **conditions: Any) -> UUID:
    """A campaign for everybody who speaks English, and fits the conditions."""
    wanted = Audience(**{"locale": "en", **conditions})
    asked = Broadcast(olga, "News", "For you", {"screen": "home"}, wanted, key)
    async with transaction(mall.stores.write) as session:
        return (await broadcast(session, asked, mall.clock())).campaign_id


async def plan(
    mall: Mall, campaign_id: UUID, most: int, looked_at: int = 100, *, is_killed: bool = False
) -> None:
    """Plan a page in a transaction of its own, which may die just before its commit."""
    async with transaction(mall.stores.write) as session:
        await plan_page(session, campaign_id, mall.clock(), most=most, looked_at=looked_at)
        if is_killed:
            raise KilledError


async def state(mall: Mall) -> tuple[int, int, bool]:
    """(planned, looked to, done) of the one campaign."""
    rows = await execute(
        mall, "SELECT planned, planned_to, planned_at IS NOT NULL AS is_done FROM campaigns"
    )
    return tuple(rows[0])


async def told(mall: Mall) -> list[int]:
    """Who has a push; nobody has two."""
    rows = await execute(mall, "SELECT user_id FROM push_records ORDER BY user_id")
    return [row.user_id for row in rows]


async def jobs_asked_for(mall: Mall) -> int:
    """How many pages were asked for so far."""
    rows = await execute(mall, "SELECT count(*) FROM outbox WHERE job = :job", job=PLAN_JOB)
    return rows[0].count


async def test_pages_follow_each_other(mall: Mall, olga: int) -> None:
    """Each in a transaction of its own, and no more of them than are needed."""
    members = await add_members(mall, 25)
    campaign_id = await begin(mall, olga)
    seen = [(await state(mall), len(await told(mall)), await jobs_asked_for(mall))]
    for _ in range(5):
        await plan(mall, campaign_id, 10)
        seen.append((await state(mall), len(await told(mall)), await jobs_asked_for(mall)))
    last = ((25, members[19], True), 25, 3)
    assert seen == [
        ((0, 0, False), 0, 1),
        ((10, members[9], False), 10, 2),
        ((20, members[19], False), 20, 3),
        *[last] * 3,
    ]
    assert await told(mall) == members


async def test_a_full_last_page_needs_another_look(mall: Mall, olga: int) -> None:
    """Nobody knows that nobody follows; an audience of nobody is done at once."""
    await add_members(mall, 20)
    campaign_id = await begin(mall, olga)
    for _ in range(2):
        await plan(mall, campaign_id, 10)
    assert (await state(mall))[2] is False
    await plan(mall, campaign_id, 10)
    assert (await state(mall))[::2] == (20, True)
    nobody = await begin(mall, olga, "other", locale="sv")
    await plan(mall, nobody, 10)
    async with mall.stores.read() as session:
        page = await campaigns_page(session, size=5, after=None)
    assert [(row.id, row.recipients, row.planned) for row in page.rows] == [
        (nobody, 0, 0),
        (campaign_id, 20, 20),
    ]
    assert all(row.planned_at == mall.clock() for row in page.rows)


async def test_more_members_than_a_page_holds(mall: Mall, olga: int) -> None:
    """By the job itself: pages of a thousand, delivered by jobs of a bounded size."""
    members = await add_members(mall, 2_345)
    campaign_id = await begin(mall, olga)
    assert await run_due(mall) == 3
    assert await told(mall) == members
    assert (await state(mall))[::2] == (2_345, True)
    async with mall.stores.read() as session:
        progress = (await progress_by_campaign(session, [campaign_id]))[campaign_id]
    assert (progress.queued, progress.suppressed) == (2_345, 0)
    rows = await execute(mall, "SELECT DISTINCT title, body, payload FROM push_records")
    assert rows == [("News", "For you", {"screen": "home"})]


async def test_a_worker_that_dies_between_or_within_pages(mall: Mall, olga: int) -> None:
    """What was not committed is planned again; what was, is not."""
    members = await add_members(mall, 30)
    campaign_id = await begin(mall, olga)
    for _ in range(4):
        with pytest.raises(KilledError):
            await plan(mall, campaign_id, 10, is_killed=True)
        await plan(mall, campaign_id, 10)
    assert await told(mall) == members
    assert (await state(mall))[::2] == (30, True)


async def test_a_page_that_comes_twice(mall: Mall, olga: int) -> None:
    """Jobs of one campaign beside each other, again and again, and once it is done."""
    members = await add_members(mall, 60)
    campaign_id = await begin(mall, olga)
    for _ in range(4):
        await asyncio.gather(*(plan(mall, campaign_id, 10) for _ in range(3)))
    assert await told(mall) == members
    assert (await state(mall))[::2] == (60, True)
    await run_due(mall)
    assert await told(mall) == members


async def test_campaigns_at_the_same_time(mall: Mall, olga: int) -> None:
    """Each member has one push of each; the fourth is over the cap."""
    members = await add_members(mall, 20)
    campaigns = [await begin(mall, olga, f"key {number}") for number in range(4)]
    for _ in range(4):
        await asyncio.gather(*(plan(mall, each, 7) for each in campaigns))
    rows = await execute(
        mall, "SELECT user_id, count(*), count(reason) AS held FROM push_records GROUP BY user_id"
    )
    assert {row.user_id: (row.count, row.held) for row in rows} == dict.fromkeys(members, (4, 1))


async def test_who_comes_meanwhile(mall: Mall, olga: int) -> None:
    """A member who registers while it is planned is told; once it is planned, not."""
    members = await add_members(mall, 15)
    campaign_id = await begin(mall, olga)
    await plan(mall, campaign_id, 10)
    early = await add_user(mall, "early", locale="en")
    await plan(mall, campaign_id, 10)
    await add_user(mall, "tardy", locale="en")
    await run_due(mall)
    assert await told(mall) == [*members, early]


async def test_who_does_not_fit_any_more(mall: Mall, olga: int) -> None:
    """Is not told, though they were counted."""
    members = await add_members(mall, 15)
    campaign_id = await begin(mall, olga, platform=DevicePlatform.IOS)
    await plan(mall, campaign_id, 10)
    await execute(mall, "DELETE FROM devices WHERE user_id = :id", id=members[12])
    await plan(mall, campaign_id, 10)
    assert await told(mall) == [*members[:12], *members[13:]]
    assert (await state(mall))[::2] == (14, True)


async def test_few_among_many(mall: Mall, olga: int) -> None:
    """A statement looks at so many members and no more; those chosen by id are found at once."""
    members = await add_members(mall, 30)
    few = [members[3], members[4], members[29]]
    await execute(mall, "UPDATE users SET locale = 'sv' WHERE id = ANY(:few)", few=few)
    campaign_id = await begin(mall, olga, locale="sv")
    pages = 0
    while not (await state(mall))[2]:
        await plan(mall, campaign_id, 10, 4)
        pages += 1
    assert (await told(mall), pages) == (few, 8)
    chosen = await begin(mall, olga, "other", user_ids=tuple(few), locale=None)
    await plan(mall, chosen, 10)
    rows = await execute(mall, "SELECT user_id FROM push_records WHERE campaign_id = :c", c=chosen)
    assert sorted(row.user_id for row in rows) == few


@asynccontextmanager
async def counting() -> AsyncIterator[list[str]]:
    """The statements that are sent meanwhile."""
    seen: list[str] = []

    def note(_c: Any, _cursor: Any, sql: str, *_: Any) -> None:
        seen.append(sql)

    event.listen(Engine, "before_cursor_execute", note)
    try:
        yield seen
    finally:
        event.remove(Engine, "before_cursor_execute", note)


@pytest.mark.parametrize("count", [1, 700])
async def test_a_page_takes_ten_statements(mall: Mall, olga: int, count: int) -> None:
    """However many it plans, under whatever conditions."""
    await add_members(mall, count)
    campaign_id = await begin(mall, olga, platform=DevicePlatform.IOS, min_available_points=0)
    async with counting() as seen:
        await plan(mall, campaign_id, 1_000, 1_000)
    assert len(seen) == 10, seen
    assert len(await told(mall)) == count


def test_planning_is_a_job() -> None:
    """One campaign a time, behind what members wait for."""
    job = PLANNING[PLAN_JOB]
    assert (job.batch, job.queue) == (1, "bulk")


_CONDITIONS = st.fixed_dictionaries(
    {},
    optional={
        "user_ids": st.lists(st.integers(1, 2**53), min_size=1, max_size=5).map(tuple),
        "min_available_points": st.integers(0, 2**53 - 1),
        "inactive_days": st.integers(1, 3_650),
        "platform": st.sampled_from(DevicePlatform),
        "locale": st.sampled_from(["en", "EN-us", "zh_hans_cn"]),
    },
)


@given(_CONDITIONS)
def test_an_audience_is_read_as_it_was_stored(conditions: dict[str, Any]) -> None:
    """Nothing that was set is lost, nothing that was not appears, and zero is not nothing."""
    audience = Audience(**conditions)
    assert set(audience.stored) == set(conditions)
    again = Audience.read(audience.stored)
    assert again.stored == audience.stored
    assert set(again.user_ids or ()) == set(audience.user_ids or ())
