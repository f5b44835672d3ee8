"""What came back, against what the books say of it: a part of `ledger verify`."""

from services.points.extension_terms import EXTENSION_FEE_PERCENT
from services.points.grant import OWN_SOURCES

_KEPT = ", ".join(f"'{name}'" for name in sorted(OWN_SOURCES - {"purchase", "opening_balance"}))

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
    "a refund is not what its exchange drew, lot by lot": """
        SELECT 'exchange ' || coalesce(moved.reference, 'none') AS place,
               string_agg('lot ' || lot.id || ': drew ' || moved.drawn || ', gave back '
                          || moved.back, ', ' ORDER BY lot.id) AS finding
        FROM (SELECT reference, points_record_id, min(cancelled_at) AS cancelled_at,
                     sum(drawn) AS drawn, sum(back) AS back
              FROM (SELECT exchange.id::text AS reference, points_record_id,
                           exchange.cancelled_at, draw.points AS drawn, 0 AS back
                    FROM exchanges exchange
                    JOIN lot_draws draw ON draw.user_id = exchange.user_id
                                       AND draw.sequence = exchange.audit_sequence
                    WHERE exchange.status = 'cancelled'
                    UNION ALL
                    SELECT log.reference, points_record_id, NULL, 0, -draw.points
                    FROM points_audit_log log JOIN lot_draws draw USING (user_id, sequence)
                    WHERE log.action = 'refund') draws
              GROUP BY reference, points_record_id) moved
        JOIN points_records lot ON lot.id = moved.points_record_id
        WHERE moved.back
              <> CASE WHEN lot.expires_at <= moved.cancelled_at THEN 0 ELSE moved.drawn END
        GROUP BY moved.reference
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
    "a lot that can be taken back has no grant": f"""
        SELECT 'lot ' || lot.id || ' of user ' || lot.user_id AS place,
               lot.source || ' ' || lot.source_reference AS finding
        FROM points_records lot
        WHERE lot.source_reference IS NOT NULL AND lot.source NOT IN ({_KEPT})
          AND NOT EXISTS (SELECT FROM points_grants WHERE points_record_id = lot.id)
    """,
    "an extended lot and the audit row that extended it differ": """
        SELECT 'lot ' || coalesce(lot.id::text, log.reference, 'none') || ' of user '
               || coalesce(lot.user_id, log.user_id) AS place,
               'extended ' || coalesce(lot.extended_at::text, 'never') || ', log '
               || coalesce(log.rows || ' row(s), last ' || log.extended_at, 'no row') AS finding
        FROM (SELECT id, user_id, extended_at FROM points_records
              WHERE extended_at IS NOT NULL) lot
        FULL JOIN (SELECT user_id, reference, count(*) AS rows, max(created_at) AS extended_at
                   FROM points_audit_log WHERE action = 'extend' AND NOT details ? 'exchange'
                   GROUP BY user_id, reference) log
            ON log.user_id = lot.user_id AND log.reference = lot.id::text
        WHERE log.rows IS DISTINCT FROM 1 OR lot.extended_at IS DISTINCT FROM log.extended_at
    """,
    "a refund into an extended lot did not pay its fee": f"""
        SELECT 'exchange ' || coalesce(due.reference, paid.reference, 'none') AS place,
               'lot ' || coalesce(due.lot, paid.lot, 'none') || ': due ' || coalesce(due.fee, 0)
               || ', paid ' || coalesce(paid.fee, 0) AS finding
        FROM (SELECT exchange.user_id, exchange.id::text AS reference, lot.id::text AS lot,
                     greatest(1, -draw.points * {EXTENSION_FEE_PERCENT} / 100) AS fee
              FROM exchanges exchange
              JOIN points_audit_log log ON log.user_id = exchange.user_id
                   AND log.action = 'refund' AND log.reference = exchange.id::text
              JOIN lot_draws draw ON draw.user_id = log.user_id AND draw.sequence = log.sequence
              JOIN points_records lot ON lot.id = draw.points_record_id
              JOIN points_audit_log extended
                  ON extended.user_id = log.user_id AND extended.sequence < log.sequence
                 AND extended.action = 'extend' AND extended.reference = lot.id::text
                 AND NOT extended.details ? 'exchange'
              WHERE exchange.status = 'cancelled' AND lot.extended_at > exchange.created_at) due
        FULL JOIN (SELECT log.user_id, details ->> 'exchange' AS reference, log.reference AS lot,
                          sum(draw.points) AS fee
                   FROM points_audit_log log LEFT JOIN lot_draws draw
                        ON draw.user_id = log.user_id AND draw.sequence = log.sequence
                       AND draw.points_record_id::text = log.reference
                   WHERE action = 'extend' AND details ? 'exchange'
                   GROUP BY log.user_id, details ->> 'exchange', log.reference) paid
            ON (paid.user_id, paid.reference, paid.lot) = (due.user_id, due.reference, due.lot)
        WHERE due.fee IS DISTINCT FROM paid.fee
    """,
    "reversals of a grant are not what was taken back of it": """
        SELECT 'grant ' || source || ' ' || reference AS place,
               'reversed ' || concat_ws('/', granted.reversed_points, granted.withheld_points,
                                        granted.lapsed_points)
               || ', reversals ' || concat_ws('/', done.points, done.withheld, done.lapsed)
               || ', taken ' || coalesce(done.taken, 0) || ', log ' || coalesce(log.points, 0)
               AS finding
        FROM (SELECT granted.*, withheld_points FROM points_grants granted
              JOIN points_records lot ON lot.id = points_record_id) granted
        FULL JOIN (SELECT user_id, source, reference, sum(points) AS points,
                          sum(withheld_points) AS withheld, sum(lapsed_points) AS lapsed,
                          sum(points - withheld_points - lapsed_points - owed_points) AS taken
                   FROM points_reversals GROUP BY user_id, source, reference) done
            USING (user_id, source, reference)
        LEFT JOIN (SELECT user_id, source, reference, -sum(amount) AS points
                   FROM points_audit_log WHERE action = 'reverse'
                   GROUP BY user_id, source, reference) log USING (user_id, source, reference)
        WHERE (granted.reversed_points, granted.withheld_points, coalesce(log.points, 0))
              IS DISTINCT FROM
              (coalesce(done.points, 0), coalesce(done.withheld, 0), coalesce(done.taken, 0))
           OR granted.lapsed_points < done.lapsed
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
