-- The plain way: one transaction per exchange on the mall's own tables, in the order in which one
-- writes it down: lock the user (and take the points), draw lots, take stock, insert the audit row, the
-- draws and the exchange (which refers to the audit row), outbox.
-- Variables: users, items (1 for everyone on one item).
\set user random(1, :users)
\set item random(1, :items)
BEGIN;
SELECT points AS price FROM exchange_items WHERE id = :item \gset
UPDATE users SET points = points - CAST(:price AS bigint), lifetime_redeemed = lifetime_redeemed + CAST(:price AS bigint), audit_sequence = audit_sequence + 1 WHERE id = :user RETURNING points AS points_left, audit_sequence AS sequence \gset
WITH ordered AS (
    SELECT id, points, sum(points) OVER (ORDER BY expires_at, created_at, id) AS running
    FROM points_records WHERE user_id = :user AND status = 'active' AND expires_at > now()
), taken AS (
    SELECT id, least(points, CAST(:price AS bigint) - (running - points)) AS amount
    FROM ordered WHERE running - points < CAST(:price AS bigint)
), drawn AS (
    UPDATE points_records lot SET points = lot.points - taken.amount,
        status = CASE WHEN lot.points = taken.amount THEN 'used' ELSE 'active' END
    FROM taken WHERE lot.id = taken.id RETURNING lot.id, taken.amount
)
SELECT array_agg(id) AS lots, array_agg(amount) AS amounts FROM drawn \gset
UPDATE exchange_items SET stock = stock - 1 WHERE id = :item AND stock > 0;
INSERT INTO points_audit_log (user_id, sequence, action, amount, points_before, points_after, source, reference, details, created_at, created_by) VALUES (:user, :sequence, 'redeem', -CAST(:price AS bigint), CAST(:points_left AS bigint) + CAST(:price AS bigint), :points_left, 'exchange', NULL, '{}', now(), 'bench');
INSERT INTO lot_draws (user_id, sequence, position, points_record_id, points) SELECT :user, :sequence, row_number() OVER (), id, amount FROM unnest(CAST(:lots AS uuid[]), CAST(:amounts AS bigint[])) AS draw(id, amount);
INSERT INTO exchanges (id, user_id, item_id, audit_sequence, points, status, created_at, updated_at) VALUES (uuidv7(), :user, :item, :sequence, :price, 'completed', now(), now());
INSERT INTO outbox (job, payload) VALUES ('exchange_confirmation', '{"exchange_id": "bench"}');
COMMIT;
