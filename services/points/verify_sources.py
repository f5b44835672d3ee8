"""Where points came from and went, lot by lot: a part of `ledger verify`."""

from services.points.extension_terms import EXTENSION_DAYS, EXTENSION_FEE_PERCENT

SOURCE_CHECKS: dict[str, str] = {
    "a lot was not earned by one completion or check-in": """
        SELECT 'lot ' || lot.id || ' of user ' || lot.user_id AS place,
               lot.source || ' with ' || coalesce(tasks.rows, 0) || ' completion(s), '
               || coalesce(days.rows, 0) || ' check-in(s)' AS finding
        FROM points_records lot
        LEFT JOIN (SELECT points_record_id, count(*) AS rows FROM user_tasks
                   WHERE completed_at IS NOT NULL GROUP BY points_record_id) tasks
            ON tasks.points_record_id = lot.id
        LEFT JOIN (SELECT points_record_id, count(*) AS rows FROM check_ins
                   GROUP BY points_record_id) days ON days.points_record_id = lot.id
        WHERE coalesce(tasks.rows, 0) <> (lot.source = 'task')::int
           OR coalesce(days.rows, 0) <> (lot.source = 'check_in')::int
    """,
    "a lot did not expire as the audit log says": """
        SELECT 'lot ' || coalesce(lot.id::text, said.lot) || ' of user '
               || coalesce(lot.user_id, said.user_id) AS place,
               coalesce(lot.points || ' until ' || coalesce(lot.expires_at::text, 'never'),
                        'not expired') || ', log '
               || coalesce(said.points || ' at ' || said.created_at, 'nothing') AS finding
        FROM (SELECT id, user_id, points, expires_at FROM points_records
              WHERE status = 'expired') lot
        FULL JOIN (SELECT log.user_id, log.created_at, ended.key AS lot,
                          ended.value::bigint AS points
                   FROM points_audit_log log
                   CROSS JOIN LATERAL jsonb_each_text(log.details -> 'lots') ended
                   WHERE log.action = 'expire') said ON said.lot = lot.id::text
        WHERE lot.user_id IS DISTINCT FROM said.user_id
           OR lot.points IS DISTINCT FROM said.points
           OR lot.expires_at IS NULL OR said.created_at < lot.expires_at
    """,
    # 30 calendar days of the mall are an hour more or less where its clocks change meanwhile.
    "a lot was not extended on the terms": f"""
        SELECT 'lot ' || id || ' of user ' || user_id AS place,
               'fee ' || paid || ' of ' || held || ', from ' || coalesce(previous_end, 'never')
               || ' to ' || coalesce(new_end, 'never') AS finding
        FROM (SELECT lot.id, lot.user_id, -log.amount AS paid,
                     log.details ->> 'expires_at' AS new_end,
                     (SELECT earned.details ->> 'expires_at' FROM points_audit_log earned
                      WHERE earned.user_id = log.user_id AND earned.sequence < log.sequence
                        AND earned.details ->> 'lot' = lot.id::text) AS previous_end,
                     lot.original_points - lot.withheld_points
                     - (SELECT coalesce(sum(draw.points), 0)::bigint FROM lot_draws draw
                        WHERE draw.points_record_id = lot.id AND draw.sequence < log.sequence)
                         AS held
              FROM points_audit_log log
              JOIN points_records lot
                  ON lot.user_id = log.user_id AND lot.id::text = log.reference
              WHERE log.action = 'extend' AND NOT log.details ? 'exchange') extended
        WHERE paid <> greatest(1, held * {EXTENSION_FEE_PERCENT} / 100)
           OR (new_end::timestamptz - previous_end::timestamptz
               BETWEEN interval '{EXTENSION_DAYS * 24 - 2} hours'
                   AND interval '{EXTENSION_DAYS * 24 + 2} hours') IS NOT TRUE
    """,
}
"""By rule, a query for (place, finding) of every row that breaks it."""
