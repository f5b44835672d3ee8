"""Whether boards are computed from what the books say: a part of `ledger verify`."""

RANKING_CHECKS: dict[str, str] = {
    "ranked points are not what the audit log says": """
        SELECT 'user ' || users.id AS place,
               'ranked ' || ranked_points || ' at ' || coalesce(ranked_at::text, 'never')
               || ', log ' || coalesce(log.points, 0) || ' at '
               || coalesce(log.last_at::text, 'never') AS finding
        FROM users
        LEFT JOIN (SELECT user_id, sum(amount) AS points, max(created_at) AS last_at
                   FROM points_audit_log
                   WHERE action IN ('earn', 'reverse')
                     AND source IS DISTINCT FROM 'opening_balance'
                   GROUP BY user_id) log ON log.user_id = users.id
        WHERE (ranked_points, ranked_at) IS DISTINCT FROM (coalesce(log.points, 0), log.last_at)
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
}
"""By rule, a query for (place, finding) of every row that breaks it."""
