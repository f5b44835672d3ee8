"""What was held, against what operators decided: a part of `ledger verify`."""

HOLD_CHECKS: dict[str, str] = {
    "a held lot counts, and no operator released it": """
        SELECT 'lot ' || lot.id || ' of user ' || lot.user_id AS place,
               lot.status || ', held for ' || lot.hold_reason AS finding
        FROM points_records lot
        WHERE lot.hold_reason IS NOT NULL AND lot.status IN ('active', 'used', 'expired')
          AND NOT EXISTS (SELECT FROM operator_actions done
                          WHERE done.action = 'release_points' AND done.kind = 'PointsRecord'
                            AND done.key = lot.id::text)
    """,
    "points of a lot were rejected, and by no operator": """
        SELECT 'lot ' || lot.id || ' of user ' || lot.user_id AS place,
               lot.rejected_points || ' rejected' AS finding
        FROM points_records lot
        WHERE lot.rejected_points > 0
          AND NOT EXISTS (SELECT FROM operator_actions done
                          WHERE done.action = 'reject_points' AND done.kind = 'PointsRecord'
                            AND done.key = lot.id::text
                            AND (done.details ->> 'points')::bigint >= lot.rejected_points)
    """,
}
"""By rule, a query for (place, finding) of every row that breaks it."""
