"""Boards in tests: built, and ranked naively from the audit log and the reversals."""

from models.leaderboard import LeaderboardPeriod
from services.leaderboard.boards import Board, board_at
from services.leaderboard.read import read_ranks, read_top
from services.leaderboard.rebuild import Rebuilt, rebuild
from services.mall import Mall
from tests.factories import execute

PERIODS = tuple(LeaderboardPeriod)
MOST = 100

_RANKING = """
    SELECT row_number() OVER (ORDER BY points DESC, reached_at, user_id) AS rank, user_id, points
    FROM (
        SELECT user_id, CAST(sum(counted.points) AS bigint) AS points,
               max(counted.created_at) AS reached_at
        FROM (
            SELECT user_id, source, created_at, amount AS points FROM points_audit_log
            WHERE action = 'earn'
            UNION ALL
            SELECT user_id, source, created_at, -(points - withheld_points) FROM points_reversals
        ) counted
        JOIN users ON users.id = user_id AND erased_at IS NULL
        WHERE counted.points <> 0 AND source IS DISTINCT FROM 'opening_balance'
          AND counted.created_at >= coalesce(CAST(:starts AS timestamptz), '-infinity')
          AND counted.created_at < coalesce(CAST(:ends AS timestamptz), 'infinity')
        GROUP BY user_id HAVING sum(counted.points) > 0
    ) earned ORDER BY rank
"""


async def build(mall: Mall) -> Rebuilt | None:
    """Empty this test's Redis and build the boards in it."""
    await mall.stores.redis.flushdb()
    return await rebuild(mall.stores, mall.clock, mall.zone)


async def log_ranking(mall: Mall, board: Board) -> list[tuple[int, int, int]]:
    """(rank, user, points) by plain SQL over the audit log and the reversals."""
    starts, ends = board.starts_at(mall.zone), board.ends_at(mall.zone)
    rows = await execute(mall, _RANKING, starts=starts, ends=ends)
    return [tuple(row) for row in rows]


async def board_ranking(mall: Mall, period: LeaderboardPeriod) -> list[tuple[int, int, int]]:
    """(rank, user, points) of everybody, as the mall reads its board."""
    users = [row[0] for row in await execute(mall, "SELECT id FROM users")]
    ranks = await read_ranks(mall, period, users, mall.clock())
    found = [(place.rank, user, place.points) for user, place in ranks.standings.items()]
    assert len(found) == ranks.total
    return sorted(found)


async def require_ranks_of_the_log(mall: Mall) -> None:
    """All boards in Redis say of everybody what the audit log says; so do their first lines."""
    assert await is_built(mall)
    for period in PERIODS:
        expected = await log_ranking(mall, board_at(period, mall.clock(), mall.zone))
        assert await board_ranking(mall, period) == expected, period
        top = await read_top(mall, period, MOST, mall.clock())
        assert [(e.rank, e.user_id, e.points) for e in top.entries] == expected[:MOST]
        assert top.total == len(expected)


async def is_built(mall: Mall) -> bool:
    """Whether the boards in Redis count."""
    top = await read_top(mall, LeaderboardPeriod.ALL_TIME, 1, mall.clock())
    return top.profiles is not None
