"""What achievements measure and what they granted: a part of `ledger verify`."""

ACHIEVEMENT_CHECKS: dict[str, str] = {
    "counts of a user are not those of the tables": """
        SELECT 'user ' || id AS place,
               'counted ' || concat_ws('/', exchanges_made, tasks_completed, best_streak)
               || ', found ' || concat_ws('/', exchanges, tasks, streak) AS finding
        FROM (SELECT users.*, coalesce(made.rows, 0) AS exchanges, coalesce(done.rows, 0) AS tasks,
                     coalesce(days.streak, 0) AS streak
              FROM users
              LEFT JOIN (SELECT user_id, count(*) AS rows FROM exchanges
                         WHERE status <> 'cancelled' GROUP BY user_id) made
                  ON made.user_id = users.id
              LEFT JOIN (SELECT user_id, count(*) AS rows FROM user_tasks
                         WHERE completed_at IS NOT NULL GROUP BY user_id) done
                  ON done.user_id = users.id
              LEFT JOIN (SELECT user_id, max(streak) AS streak FROM check_ins
                         GROUP BY user_id) days ON days.user_id = users.id) counted
        WHERE (exchanges_made, tasks_completed, best_streak)
              IS DISTINCT FROM (exchanges, tasks, streak)
    """,
    "an unlocked achievement and its lot differ": """
        SELECT 'user ' || coalesce(held.user_id, lot.user_id) || ' achievement '
               || coalesce(held.key, lot.source_reference, 'without a key') AS place,
               coalesce(held.points || ' granted', 'not unlocked') || ', '
               || coalesce('lot of ' || lot.original_points, 'no lot') AS finding
        FROM (SELECT user_achievements.*, key FROM user_achievements
              JOIN achievements ON achievements.id = achievement_id WHERE points > 0) held
        FULL JOIN (SELECT * FROM points_records WHERE source = 'achievement') lot
            ON lot.id = held.points_record_id
        WHERE (held.user_id, held.points, held.key)
              IS DISTINCT FROM (lot.user_id, lot.original_points, lot.source_reference)
    """,
}
"""By rule, a query for (place, finding) of every row that breaks it."""
