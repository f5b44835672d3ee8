"""Ways to spoil what boards are computed from."""

from tests.services.points.corruptions import Corruption

RANKING_CORRUPTIONS = (
    Corruption(
        "ranked points are not what was earned and not taken back",
        "user {erin}",
        "UPDATE points_reversals SET points = points + 1, owed_points = 1"
        " WHERE reference = 'order-1'",
    ),
    Corruption(
        "ranked points are not what was earned and not taken back",
        "user {alice}",
        "WITH more AS (UPDATE users SET ranked_points = ranked_points + 1 WHERE id = :alice)"
        " UPDATE daily_earnings SET points = points + 1 WHERE (user_id, day) ="
        " (SELECT user_id, max(day) FROM daily_earnings WHERE user_id = :alice GROUP BY user_id)",
        alone=True,
    ),
    Corruption(
        "ranked points are not the earnings of the days",
        "user {alice}",
        "UPDATE daily_earnings SET points = points + 1 WHERE (user_id, day) ="
        " (SELECT user_id, max(day) FROM daily_earnings WHERE user_id = :alice GROUP BY user_id)",
        alone=True,
    ),
    Corruption(
        "ranked points are not the earnings of the days",
        "user {bob}",
        "DELETE FROM daily_earnings WHERE user_id = :bob",
        alone=True,
    ),
    Corruption(
        "sums of a period are not the earnings of its days",
        "user {alice}",
        "WITH kept AS (INSERT INTO period_earnings_kept SELECT 'monthly', 'UTC', min(day),"
        " max(day) + 1 FROM daily_earnings)"
        " INSERT INTO period_earnings SELECT 'monthly', user_id,"
        " sum(points) + 100 * CAST(user_id = :alice AS int), max(last_at)"
        " FROM daily_earnings GROUP BY user_id",
        alone=True,
    ),
    Corruption(
        "sums of a period are not the earnings of its days",
        "user {bob}",
        "WITH kept AS (INSERT INTO period_earnings_kept SELECT 'weekly', 'UTC', min(day),"
        " max(day) + 1 FROM daily_earnings)"
        " INSERT INTO period_earnings SELECT 'weekly', user_id, sum(points), max(last_at)"
        " FROM daily_earnings WHERE user_id <> :bob GROUP BY user_id",
        alone=True,
    ),
)
