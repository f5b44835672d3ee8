"""More ways to spoil the books: where points came from, how lots ended, what pools gave out."""

from tests.services.points.corruptions import Corruption

_EXTENSION = (
    "WITH extension AS (SELECT user_id, sequence FROM points_audit_log WHERE action = 'extend'"
    " AND reference = CAST(CAST(:franks_lot AS uuid) AS text) AND NOT details ? 'exchange')"
)
SOURCE_CORRUPTIONS = (
    Corruption(
        "a lot was not earned by one completion or check-in",
        "lot {check_in_lot} of user {dave}",
        "INSERT INTO check_ins SELECT user_id, day - 1, streak, points, bonus_points,"
        " points_record_id, created_at FROM check_ins WHERE user_id = :dave",
        without=("check_ins.uq_check_ins_points_record_id",),
        alone=True,
    ),
    Corruption(
        "a lot was not earned by one completion or check-in",
        "lot {check_in_lot} of user {dave}",
        "WITH gone AS (DELETE FROM check_ins WHERE user_id = :dave)"
        " UPDATE users SET best_streak = 0 WHERE id = :dave",
        alone=True,
    ),
    Corruption(
        "a lot was not earned by one completion or check-in",
        "lot {task_lot} of user {alice}",
        "WITH gone AS (DELETE FROM user_tasks WHERE user_id = :alice)"
        " UPDATE users SET tasks_completed = 0 WHERE id = :alice",
        alone=True,
    ),
    Corruption(
        "a lot did not expire as the audit log says",
        "lot {expired_lot} of user {alice}",
        "UPDATE points_audit_log SET created_at = created_at - interval '2 days'"
        " WHERE user_id = :alice AND action = 'expire'",
        alone=True,
    ),
    Corruption(
        "a lot did not expire as the audit log says",
        "lot {expired_lot} of user {alice}",
        "UPDATE points_audit_log SET details = jsonb_build_object('lots', jsonb_build_object())"
        " WHERE user_id = :alice AND action = 'expire'",
        alone=True,
    ),
    Corruption(
        "a lot was not extended on the terms",
        "lot {franks_lot} of user {frank}",
        f"{_EXTENSION}, moved AS (UPDATE points_audit_log log"
        " SET amount = amount - CASE WHEN log.sequence = extension.sequence THEN 3 ELSE 0 END,"
        " points_before = points_before"
        " - CASE WHEN log.sequence = extension.sequence THEN 0 ELSE 3 END,"
        " points_after = points_after - 3 FROM extension"
        " WHERE log.user_id = extension.user_id AND log.sequence >= extension.sequence),"
        " paid AS (UPDATE users SET points = points - 3, lifetime_redeemed = lifetime_redeemed + 3"
        " FROM extension WHERE users.id = extension.user_id),"
        " drawn AS (UPDATE lot_draws draw SET points = points + 3 FROM extension"
        " WHERE (draw.user_id, draw.sequence) = (extension.user_id, extension.sequence))"
        " UPDATE points_records SET points = points - 3 WHERE id = :franks_lot",
        alone=True,
    ),
    Corruption(
        "a lot was not extended on the terms",
        "lot {franks_lot} of user {frank}",
        f"{_EXTENSION}, later AS (UPDATE points_records SET expires_at = expires_at"
        " + interval '1 day' WHERE id = :franks_lot RETURNING expires_at)"
        " UPDATE points_audit_log log"
        " SET details = log.details || jsonb_build_object('expires_at', later.expires_at)"
        " FROM extension, later"
        " WHERE (log.user_id, log.sequence) = (extension.user_id, extension.sequence)",
        alone=True,
    ),
    Corruption(
        "points were redeemed without an exchange",
        "user {bob} row {bobs_payment}",
        "UPDATE points_audit_log SET source = 'gift'"
        " WHERE user_id = :bob AND sequence = :bobs_payment",
        alone=True,
    ),
    Corruption(
        "stock is not the number of unused codes",
        "item {pool}",
        "DELETE FROM coupon_codes WHERE item_id = :pool",
        alone=True,
    ),
    Corruption(
        "a coupon of a pool is not a code that was issued",
        "exchange {pooled}",
        "WITH freed AS (UPDATE coupon_codes SET status = 'unused', exchange_id = NULL"
        " WHERE exchange_id = :pooled RETURNING item_id)"
        " UPDATE exchange_items item SET stock = item.stock + 1 FROM freed"
        " WHERE item.id = freed.item_id",
        alone=True,
    ),
)
