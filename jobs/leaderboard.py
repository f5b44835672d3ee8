"""Boards: brought up to date after a crash, built anew when Redis has lost them, kept by day."""

import asyncio
from collections.abc import Sequence

from sqlalchemy.ext.asyncio import AsyncSession

from jobs.job import Payload, Queue, SetJob, StepJob
from services.calendar import local_day
from services.leaderboard.boards import CHANNEL, boards_at, encode_news
from services.leaderboard.earnings import REFRESH_JOB
from services.leaderboard.partitions import make_months_ahead
from services.leaderboard.period_sums import add_ended_day
from services.leaderboard.rebuild import (
    REBUILD_JOB,
    ask_for_rebuild,
    rebuild,
)
from services.leaderboard.refresh import refresh_users
from services.leaderboard.snapshot import take_snapshot
from services.leaderboard.whole import are_boards_whole, tidy_boards
from services.mall import Mall
from services.transaction import transaction

_WHILE_ANOTHER_BUILDS_S = 1.0
_ROWS_A_REFRESH = 20  # of up to a thousand users each


async def _refresh(session: AsyncSession, mall: Mall, payloads: Sequence[Payload]) -> None:
    user_ids = sorted({user_id for payload in payloads for user_id in payload["user_ids"]})
    redis = mall.stores.redis
    if await refresh_users(session, redis, user_ids, mall.clock(), mall.zone):
        # Whoever settled did not get to it: so nobody has been told either.
        await redis.publish(CHANNEL, encode_news(user_ids, is_ranked=True))


async def _rebuild(mall: Mall, _payload: Payload) -> bool:
    if await _are_whole(mall):  # asked for twice, or done by hand meanwhile
        return False
    if await rebuild(mall.stores, mall.clock, mall.zone) is None:
        await asyncio.sleep(_WHILE_ANOTHER_BUILDS_S)  # and may die of it
        return True
    return False


async def _check(mall: Mall, _payload: Payload) -> bool:
    if not await _are_whole(mall):
        async with transaction(mall.stores.write) as session:
            await ask_for_rebuild(session, mall.clock())
    await tidy_boards(mall.stores.redis, local_day(mall.clock(), mall.zone))
    return False


async def _are_whole(mall: Mall) -> bool:
    return await are_boards_whole(mall.stores.redis, boards_at(mall.clock(), mall.zone))


async def _snapshot(mall: Mall, _payload: Payload) -> bool:
    async with transaction(mall.stores.bulk) as session:  # what is added up first ranking is quick
        if await add_ended_day(session, mall.clock(), mall.zone) is not None:
            return True
    async with transaction(mall.stores.bulk) as session:
        await make_months_ahead(session, local_day(mall.clock(), mall.zone))
    async with transaction(mall.stores.bulk) as session:
        return await take_snapshot(session, mall.clock(), mall.zone) is not None


JOBS = (
    SetJob(REFRESH_JOB, _refresh, batch=_ROWS_A_REFRESH),
    StepJob(REBUILD_JOB, _rebuild, Queue.PROMPT),
    StepJob("check_leaderboard", _check),
    StepJob("snapshot_ranks", _snapshot),
)
