"""Boards from PostgreSQL: how long an answer is good for, and what a failure costs."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace

import pytest
from sqlalchemy import text

from models.leaderboard import LeaderboardPeriod
from services.errors import ServiceUnavailable
from services.leaderboard.boards import Board, board_at
from services.leaderboard.ranking import LONGEST_GOOD_S, Ranking
from services.mall import Mall, open_mall
from settings import Settings
from tests.factories import execute

_RANKING_NOW = """
    SELECT count(*) FROM pg_stat_activity
    WHERE datname = current_database() AND state = 'active' AND pid <> pg_backend_pid()
      AND query LIKE '%row_number()%'
"""


@pytest.fixture
def board(mall: Mall) -> Board:
    return board_at(LeaderboardPeriod.ALL_TIME, mall.clock(), mall.zone)


@asynccontextmanager
async def held_up(mall: Mall) -> AsyncIterator[None]:
    """Nobody is ranked while the block runs."""
    async with mall.stores.write() as session:
        await session.execute(text("LOCK TABLE users IN ACCESS EXCLUSIVE MODE"))
        yield
        await session.rollback()


async def test_an_answer_is_good_for_as_long_as_it_took(
    mall: Mall, board: Board, monkeypatch: pytest.MonkeyPatch
) -> None:
    """So that ranking keeps PostgreSQL busy half of the time at most, while all ask the same."""
    monkeypatch.setattr("services.leaderboard.ranking.GOOD_FOR_S", 0.1)
    ranking = Ranking(mall.stores.bulk, mall.zone)
    async with held_up(mall):
        asked = asyncio.create_task(ranking.lines(board))
        await asyncio.sleep(0.6)
    first = await asked
    assert 0.6 <= ranking.good_for_s < LONGEST_GOOD_S
    await asyncio.sleep(0.2)
    assert await ranking.lines(board) is first
    await asyncio.sleep(ranking.good_for_s)
    assert await ranking.lines(board) is not first


async def test_the_dearest_board_says_when_to_look_again(
    mall: Mall, board: Board, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whichever was ranked last: sooner, that one would be asked for in vain."""
    monkeypatch.setattr("services.leaderboard.ranking.GOOD_FOR_S", 0.1)
    ranking = Ranking(mall.stores.bulk, mall.zone)
    async with held_up(mall):
        asked = asyncio.create_task(ranking.lines(board))
        await asyncio.sleep(0.6)
    await asked
    await ranking.lines(board_at(LeaderboardPeriod.DAILY, mall.clock(), mall.zone))
    assert ranking.good_for_s >= 0.6


async def test_one_statement_at_a_time_ranks(mall: Mall) -> None:
    """Whatever boards are asked for, and a place is left for those who do not rank."""
    ranking, now = Ranking(mall.stores.bulk, mall.zone), mall.clock()
    async with held_up(mall):
        boards = [board_at(period, now, mall.zone) for period in LeaderboardPeriod]
        asked = [asyncio.create_task(ranking.lines(board)) for board in boards * 20]
        await asyncio.sleep(0.3)
        assert await execute(mall, _RANKING_NOW) == [(1,)]
    assert {lines.total for lines in await asyncio.gather(*asked)} == {0}


async def test_whoever_would_wait_too_long_is_told(mall: Mall, settings: Settings) -> None:
    """Everybody, though nobody was answered: they do not pile up."""
    hasty = settings.stores.model_copy(update={"database_statement_timeout_s": 0.5})
    async with open_mall(replace(settings, stores=hasty), mall.clock) as other:
        ranking, now = other.ranking, mall.clock()
        boards = [board_at(period, now, mall.zone) for period in LeaderboardPeriod]
        async with held_up(mall):
            asked = [ranking.lines(board, [user]) for board in boards for user in range(20)]
            answers = await asyncio.gather(*asked, return_exceptions=True)
        assert {isinstance(answer, ServiceUnavailable) for answer in answers} == {True}


async def test_an_answer_is_good_for_a_while(
    mall: Mall, board: Board, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("services.leaderboard.ranking.GOOD_FOR_S", 60)
    ranking = Ranking(mall.stores.bulk, mall.zone)
    assert await ranking.lines(board) is await ranking.lines(board)


async def test_a_failure_is_not_repeated_at_once(
    mall: Mall, board: Board, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It may have taken ten seconds of PostgreSQL's time; other boards are asked for."""
    monkeypatch.setattr("services.leaderboard.ranking.FAILED_FOR_S", 60)
    ranking = Ranking(mall.stores.bulk, mall.zone)
    await execute(mall, "ALTER TABLE users RENAME TO moved")
    with pytest.raises(Exception, match="users") as failed:
        await ranking.lines(board)
    await execute(mall, "ALTER TABLE moved RENAME TO users")
    with pytest.raises(type(failed.value)) as again:
        await ranking.lines(board)
    assert again.value is failed.value
    other = board_at(LeaderboardPeriod.DAILY, mall.clock(), mall.zone)
    assert (await ranking.lines(other)).total == 0


async def test_a_failure_is_forgotten(
    mall: Mall, board: Board, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("services.leaderboard.ranking.FAILED_FOR_S", 0)
    ranking = Ranking(mall.stores.bulk, mall.zone)
    await execute(mall, "ALTER TABLE users RENAME TO moved")
    with pytest.raises(Exception, match="users"):
        await ranking.lines(board)
    await execute(mall, "ALTER TABLE moved RENAME TO users")
    await asyncio.sleep(0.5)  # for it is left alone for as long as it took, too
    assert (await ranking.lines(board)).total == 0
