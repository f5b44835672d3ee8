"""Boards from PostgreSQL: how long an answer is good for, and what a failure costs."""

import asyncio

import pytest
from sqlalchemy import text

from models.leaderboard import LeaderboardPeriod
from services.leaderboard.boards import Board, board_at
from services.leaderboard.ranking import Ranking
from services.mall import Mall
from tests.factories import execute


@pytest.fixture
def board(mall: Mall) -> Board:
    return board_at(LeaderboardPeriod.ALL_TIME, mall.clock(), mall.zone)


async def test_an_answer_is_as_old_as_its_question(
    mall: Mall, board: Board, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What committed while the statement ran may be missing in it."""
    monkeypatch.setattr("services.leaderboard.ranking.GOOD_FOR_S", 0.5)
    ranking = Ranking(mall.stores.read)
    async with mall.stores.write() as session:
        await session.execute(text("LOCK TABLE users IN ACCESS EXCLUSIVE MODE"))
        asked = asyncio.create_task(ranking.lines(board))
        await asyncio.sleep(0.6)
        await session.rollback()
    first = await asked
    assert await ranking.lines(board) is not first


async def test_an_answer_is_good_for_a_while(
    mall: Mall, board: Board, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("services.leaderboard.ranking.GOOD_FOR_S", 60)
    ranking = Ranking(mall.stores.read)
    assert await ranking.lines(board) is await ranking.lines(board)


async def test_a_failure_is_not_repeated_at_once(
    mall: Mall, board: Board, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It may have taken ten seconds of PostgreSQL's time; other boards are asked for."""
    monkeypatch.setattr("services.leaderboard.ranking.FAILED_FOR_S", 60)
    ranking = Ranking(mall.stores.read)
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
    ranking = Ranking(mall.stores.read)
    await execute(mall, "ALTER TABLE users RENAME TO moved")
    with pytest.raises(Exception, match="users"):
        await ranking.lines(board)
    await execute(mall, "ALTER TABLE moved RENAME TO users")
    assert (await ranking.lines(board)).total == 0
