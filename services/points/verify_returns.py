"""What came back, against what the books say of it: a part of `ledger verify`."""

RETURN_CHECKS: dict[str, str] = {
    "a refund is not what its exchange says": """
        SELECT 'exchange ' || coalesce(exchange.id::text, log.reference, 'none') AS place,
               'refunded ' || coalesce(exchange.refunded_points::text, 'nothing') || ', log '
               || coalesce(log.points::text, 'nothing') AS finding
        FROM exchanges exchange
        FULL JOIN (SELECT user_id, reference, sum(amount) AS points FROM points_audit_log
                   WHERE action = 'refund' GROUP BY user_id, reference) log
            ON log.user_id = exchange.user_id AND log.reference = exchange.id::text
        WHERE coalesce(exchange.refunded_points, 0) <> coalesce(log.points, 0)
    """,
    "a coupon does not stand where its exchange says": """
        SELECT 'exchange ' || exchange.id AS place,
               exchange.status || ', its coupon ' || coupon.status AS finding
        FROM exchanges exchange JOIN user_coupons coupon ON coupon.exchange_id = exchange.id
        WHERE (exchange.status = 'cancelled') <> (coupon.status = 'revoked')
    """,
    "a grant that can be taken back is not its lot": """
        SELECT 'grant ' || granted.source || ' ' || granted.reference AS place,
               granted.points || ' of user ' || granted.user_id || ', lot of '
               || lot.original_points || ' of user ' || lot.user_id AS finding
        FROM points_grants granted JOIN points_records lot ON lot.id = granted.points_record_id
        WHERE granted.user_id <> lot.user_id OR granted.points <> lot.original_points
           OR granted.source <> lot.source
           OR granted.reference IS DISTINCT FROM lot.source_reference
    """,
    "what was taken back is neither taken nor owed": """
        SELECT 'user ' || users.id AS place,
               'reversed ' || coalesce(grants.points, 0)
               || ', withheld ' || coalesce(lots.points, 0)
               || ', taken ' || coalesce(log.points, 0) || ', owed ' || users.owed_points
               AS finding
        FROM users
        LEFT JOIN (SELECT user_id, sum(reversed_points - lapsed_points) AS points
                   FROM points_grants GROUP BY user_id) grants ON grants.user_id = users.id
        LEFT JOIN (SELECT user_id, sum(withheld_points) AS points
                   FROM points_records GROUP BY user_id) lots ON lots.user_id = users.id
        LEFT JOIN (SELECT user_id, -sum(amount) AS points FROM points_audit_log
                   WHERE action = 'reverse' GROUP BY user_id) log ON log.user_id = users.id
        WHERE coalesce(grants.points, 0)
              <> coalesce(lots.points, 0) + coalesce(log.points, 0) + users.owed_points
    """,
}
"""By rule, a query for (place, finding) of every row that breaks it."""
