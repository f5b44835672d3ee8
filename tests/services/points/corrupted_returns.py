"""More ways to spoil the books: what came back, what can be taken back, what was extended."""

from tests.services.points.corruptions import Corruption

RETURN_CORRUPTIONS = (
    Corruption(
        "reversals of a grant are not what was taken back of it",
        "grant campaign order-1",
        "UPDATE points_reversals SET owed_points = 1 WHERE reference = 'order-1'",
        alone=True,
    ),
    Corruption(
        "reversals of a grant are not what was taken back of it",
        "grant campaign order-2",
        "DELETE FROM points_reversals WHERE reference = 'order-2'",
        alone=True,
    ),
    Corruption(
        "reversals of a grant are not what was taken back of it",
        "grant nobody's order",
        "INSERT INTO points_reversals SELECT uuidv7(), user_id, 'nobody''s', 'order', 1, 1, 0, 0,"
        " created_at FROM points_reversals WHERE reference = 'order-2'",
        alone=True,
    ),
    Corruption(
        "a refund into an extended lot did not pay its fee",
        "exchange {franks_exchange}",
        "UPDATE exchanges SET created_at = created_at + interval '1 day'"
        " WHERE id = :franks_exchange",
        alone=True,
    ),
    Corruption(
        "a refund into an extended lot did not pay its fee",
        "exchange {franks_exchange}",
        "WITH fee AS (SELECT user_id, sequence FROM points_audit_log"
        " WHERE details ->> 'exchange' = CAST(CAST(:franks_exchange AS uuid) AS text)),"
        " changed AS (UPDATE points_audit_log log SET amount = log.amount + 3,"
        " points_after = points_after + 3 FROM fee"
        " WHERE (log.user_id, log.sequence) = (fee.user_id, fee.sequence)),"
        " kept AS (UPDATE users SET points = points + 3, lifetime_redeemed = lifetime_redeemed - 3"
        " FROM fee WHERE users.id = fee.user_id),"
        " left_over AS (UPDATE points_records SET points = points + 3 WHERE id = :franks_lot)"
        " UPDATE lot_draws draw SET points = draw.points - 3 FROM fee"
        " WHERE (draw.user_id, draw.sequence) = (fee.user_id, fee.sequence)",
        alone=True,
    ),
    Corruption(
        "a refund is not what its exchange drew, lot by lot",
        "exchange {cancelled}",
        "WITH moved AS (UPDATE lot_draws draw SET points = draw.points"
        " + CASE points_record_id WHEN :extended_lot THEN 3 ELSE -3 END FROM points_audit_log log"
        " WHERE (log.user_id, log.sequence) = (draw.user_id, draw.sequence)"
        " AND log.user_id = :erin AND log.action = 'refund' RETURNING points_record_id AS id)"
        " UPDATE points_records lot"
        " SET points = points - CASE lot.id WHEN :extended_lot THEN 3 ELSE -3 END"
        " FROM moved WHERE moved.id = lot.id",
        alone=True,
    ),
    Corruption(
        "a lot that can be taken back has no grant",
        "lot {bought_lot} of user {erin}",
        "DELETE FROM points_grants WHERE points_record_id = :bought_lot",
        alone=True,
    ),
    Corruption(
        "a lot that can be taken back has no grant",
        "lot {withheld_lot} of user {erin}",
        "DELETE FROM points_grants WHERE points_record_id = :withheld_lot",
    ),
    Corruption(
        "an extended lot and the audit row that extended it differ",
        "lot {spare_lot} of user {alice}",
        "UPDATE points_records SET extended_at = now() WHERE id = :spare_lot",
        alone=True,
    ),
    Corruption(
        "an extended lot and the audit row that extended it differ",
        "lot {extended_lot} of user {erin}",
        "UPDATE points_records SET extended_at = NULL WHERE id = :extended_lot",
        alone=True,
    ),
    Corruption(
        "an extended lot and the audit row that extended it differ",
        "lot {extended_lot} of user {erin}",
        "UPDATE points_records SET extended_at = extended_at - interval '1 second'"
        " WHERE id = :extended_lot",
        alone=True,
    ),
    Corruption(
        "an extended lot and the audit row that extended it differ",
        "lot nothing of user {erin}",
        "INSERT INTO points_audit_log SELECT user_id, sequence + 1000, 'extend', 0, points_after,"
        " points_after, 'extension', 'nothing', details, created_at, created_by"
        " FROM points_audit_log WHERE user_id = :erin AND action = 'extend'",
    ),
)
