"""Whether boards are computed from what the books say: a part of `ledger verify`."""

from services.leaderboard.earnings import RANKED_CHANGES

RANKING_CHECKS: dict[str, str] = {
    "ranked points are not what was earned and not taken back": f"""
        SELECT 'user ' || users.id AS place,
               'ranked ' || ranked_points || ' at ' || coalesce(ranked_at::text, 'never')
               || ', books ' || coalesce(books.points, 0) || ' at '
               || coalesce(books.last_at::text, 'never') AS finding
        FROM users
        LEFT JOIN (SELECT user_id, sum(points) AS points, max(created_at) AS last_at
                   FROM ({RANKED_CHANGES}) ranked GROUP BY user_id) books
            ON books.user_id = users.id
        WHERE (ranked_points, ranked_at)
              IS DISTINCT FROM (coalesce(books.points, 0), books.last_at)
    """,
    "ranked points are not the earnings of the days": """
        SELECT 'user ' || users.id AS place,
               'ranked ' || ranked_points || ' at ' || coalesce(ranked_at::text, 'never')
               || ', days ' || coalesce(days.points, 0) || ' at '
               || coalesce(days.last_at::text, 'never') AS finding
        FROM users
        LEFT JOIN (SELECT user_id, sum(points) AS points, max(last_at) AS last_at
                   FROM daily_earnings GROUP BY user_id) days ON days.user_id = users.id
        WHERE (ranked_points, ranked_at) IS DISTINCT FROM (coalesce(days.points, 0), days.last_at)
    """,
    "sums of a period are not the earnings of its days": """
        WITH days AS (
            SELECT kept.period, user_id, sum(points) AS points, max(last_at) AS last_at
            FROM period_earnings_kept kept
            JOIN daily_earnings ON day >= kept.first AND day < kept.until
            GROUP BY kept.period, user_id
        ), sums AS (
            SELECT period, user_id, points, last_at
            FROM period_earnings JOIN period_earnings_kept USING (period)
        )
        SELECT 'user ' || user_id AS place,
               period || ' ' || coalesce(sums.points, 0) || ' at '
               || coalesce(sums.last_at::text, 'never') || ', days ' || coalesce(days.points, 0)
               || ' at ' || coalesce(days.last_at::text, 'never') AS finding
        FROM sums FULL JOIN days USING (period, user_id)
        WHERE (sums.points, sums.last_at) IS DISTINCT FROM (days.points, days.last_at)
    """,
}
"""By rule, a query for (place, finding) of every row that breaks it.

Sums are those of the zone in which they were added up. From a move of the mall to a zone further
west until the next night what members earn may count on a day that is in them already: that is
found, though boards of the new zone do not look at them.
"""
