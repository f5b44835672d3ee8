"""What the books say was given and earned, against what was: a part of `ledger verify`."""

from services.catalogue.items import DRAWS_CODES

REWARD_CHECKS: dict[str, str] = {
    "an exchange was not paid as booked": """
        SELECT 'exchange ' || exchange.id AS place,
               'costs ' || exchange.points || ', paid '
               || coalesce((-log.amount)::text, 'nothing') AS finding
        FROM exchanges exchange
        LEFT JOIN points_audit_log log
            ON log.user_id = exchange.user_id AND log.sequence = exchange.audit_sequence
           AND log.action = 'redeem' AND log.reference = exchange.id::text
        WHERE log.amount IS DISTINCT FROM -exchange.points
    """,
    "points were redeemed without an exchange": """
        SELECT 'user ' || log.user_id || ' row ' || log.sequence AS place,
               log.amount || ' for ' || coalesce(log.source, 'no source') || ' '
               || coalesce(log.reference, 'nothing') AS finding
        FROM points_audit_log log
        LEFT JOIN exchanges exchange
            ON exchange.user_id = log.user_id AND exchange.audit_sequence = log.sequence
        WHERE log.action = 'redeem'
          AND (exchange.id IS NULL OR log.source IS DISTINCT FROM 'exchange')
    """,
    "stock does not tie to exchanges": """
        SELECT 'item ' || item.id AS place,
               'put in ' || item.total_stock || ', left ' || item.stock || ', exchanged '
               || coalesce(taken.exchanges, 0) AS finding
        FROM exchange_items item
        LEFT JOIN (SELECT item_id, count(*) AS exchanges FROM exchanges
                   WHERE status <> 'cancelled' GROUP BY item_id) taken ON taken.item_id = item.id
        WHERE item.total_stock - item.stock <> coalesce(taken.exchanges, 0)
          AND NOT EXISTS (SELECT FROM coupon_codes WHERE item_id = item.id)
    """,
    "stock is not the number of unused codes": f"""
        SELECT 'item ' || item.id AS place,
               'put in ' || item.total_stock || ', left ' || item.stock || '; codes unused '
               || coalesce(codes.unused, 0) || ', issued ' || coalesce(codes.issued, 0) AS finding
        FROM exchange_items item
        LEFT JOIN (SELECT item_id, count(*) FILTER (WHERE status = 'unused') AS unused,
                     count(*) FILTER (WHERE status = 'issued') AS issued
              FROM coupon_codes GROUP BY item_id) codes ON codes.item_id = item.id
        WHERE (codes.item_id IS NOT NULL OR {DRAWS_CODES})
          AND (item.stock <> coalesce(codes.unused, 0)
               OR item.total_stock - item.stock <> coalesce(codes.issued, 0))
    """,
    "a coupon of a pool is not a code that was issued": f"""
        SELECT 'exchange ' || coupon.exchange_id AS place,
               'its code is ' || coalesce(code.status, 'not there') AS finding
        FROM user_coupons coupon
        JOIN exchanges exchange ON exchange.id = coupon.exchange_id
        JOIN exchange_items item ON item.id = exchange.item_id
        LEFT JOIN coupon_codes code ON code.item_id = item.id AND code.code = coupon.code
        WHERE {DRAWS_CODES} AND (code.status IS DISTINCT FROM 'issued'
                                  OR code.exchange_id <> exchange.id)
    """,
    "a coupon is not the code that was issued": """
        SELECT 'code ' || code.code AS place,
               'issued to ' || code.exchange_id || ', which holds '
               || coalesce(coupon.code, 'none') AS finding
        FROM coupon_codes code
        LEFT JOIN user_coupons coupon ON coupon.exchange_id = code.exchange_id
        WHERE code.status = 'issued' AND coupon.code IS DISTINCT FROM code.code
    """,
    "a completed task has no lot of its user": """
        SELECT 'user ' || done.user_id || ' task ' || done.task_id AS place,
               'lot ' || coalesce(lot.id::text, 'missing') || ' of '
               || coalesce(lot.original_points, 0) || ' for ' || done.points_earned AS finding
        FROM user_tasks done LEFT JOIN points_records lot ON lot.id = done.points_record_id
        WHERE done.completed_at IS NOT NULL
          AND (lot.user_id IS DISTINCT FROM done.user_id
               OR lot.original_points IS DISTINCT FROM done.points_earned)
    """,
    "a check-in has no lot of its user": """
        SELECT 'user ' || done.user_id || ' day ' || done.day AS place,
               'lot ' || coalesce(lot.id::text, 'missing') || ' of '
               || coalesce(lot.original_points, 0) || ' for ' || done.points AS finding
        FROM check_ins done LEFT JOIN points_records lot ON lot.id = done.points_record_id
        WHERE lot.user_id IS DISTINCT FROM done.user_id
           OR lot.original_points IS DISTINCT FROM done.points
    """,
    "an exchange lacks its reward": """
        SELECT 'exchange ' || exchange.id AS place, 'no reward of a ' || item.type AS finding
        FROM exchanges exchange
        JOIN exchange_items item ON item.id = exchange.item_id
        LEFT JOIN user_coupons coupon ON coupon.exchange_id = exchange.id
        LEFT JOIN shipments shipment ON shipment.exchange_id = exchange.id
        WHERE num_nonnulls(coupon.id, shipment.exchange_id, exchange.vip_level,
                           exchange.delivery_note) <> 1
           OR (coupon.id IS NOT NULL AND coupon.user_id <> exchange.user_id)
    """,
    "a membership does not end where its exchanges say": """
        SELECT 'user ' || coalesce(held.user_id, bought.user_id) || ' level '
               || coalesce(held.level, bought.level) AS place,
               'ends ' || coalesce(held.expires_at::text, 'never began') || ', bought until '
               || coalesce(bought.expires_at::text, 'nothing') AS finding
        FROM user_vip held
        FULL JOIN (SELECT user_id, vip_level AS level, max(vip_expires_at) AS expires_at
                   FROM exchanges WHERE vip_level IS NOT NULL AND status <> 'cancelled'
                   GROUP BY user_id, vip_level) bought
            ON bought.user_id = held.user_id AND bought.level = held.level
        WHERE held.expires_at IS DISTINCT FROM bought.expires_at
    """,
    "daily counts do not tie to exchanges": """
        SELECT 'item ' || coalesce(counted.item_id, taken.item_id) AS place,
               'counted ' || coalesce(counted.exchanges, 0) || ', exchanged '
               || coalesce(taken.exchanges, 0) AS finding
        FROM (SELECT item_id, sum(exchanges) AS exchanges FROM item_daily_exchanges
              GROUP BY item_id) counted
        FULL JOIN (SELECT item_id, count(*) AS exchanges FROM exchanges
                   WHERE status <> 'cancelled' GROUP BY item_id) taken
            ON taken.item_id = counted.item_id
        WHERE coalesce(counted.exchanges, 0) <> coalesce(taken.exchanges, 0)
    """,
}
"""By rule, a query for (place, finding) of every row that breaks it."""
