-- The plain way: one transaction per exchange on the mall's own tables. Lock the user, draw lots, take
-- stock, insert the exchange, update the balance, outbox; the audit row comes before the draws that refer to it.
-- Variables: users, items (1 for everyone on one item).
\set user random(1, :users)
\set item random(1, :items)
BEGIN;
SELECT points, audit_sequence FROM users WHERE id = :user FOR NO KEY UPDATE \gset
SELECT points AS price FROM exchange_items WHERE id = :item \gset
\set next_sequence :audit_sequence + 1
\set points_left :points - :price
INSERT INTO points_audit_log (user_id, sequence, action, amount, points_before, points_after, source, reference, details, created_at, created_by) VALUES (:user, :next_sequence, 'redeem', -CAST(:price AS bigint), :points, :points_left, 'exchange', NULL, '{}', now(), 'bench');
WITH ordered AS (
    SELECT id, points, sum(points) OVER (ORDER BY expires_at, created_at, id) AS running
    FROM points_records WHERE user_id = :user AND status = 'active' AND expires_at > now()
), taken AS (
    SELECT id, least(points, CAST(:price AS bigint) - (running - points)) AS amount, row_number() OVER (ORDER BY running) AS position
    FROM ordered WHERE running - points < CAST(:price AS bigint)
), drawn AS (
    UPDATE points_records lot SET points = lot.points - taken.amount,
        status = CASE WHEN lot.points = taken.amount THEN 'used' ELSE 'active' END
    FROM taken WHERE lot.id = taken.id RETURNING lot.id, taken.amount, taken.position
)
INSERT INTO lot_draws (user_id, sequence, position, points_record_id, points) SELECT :user, :next_sequence, position, id, amount FROM drawn;
UPDATE exchange_items SET stock = stock - 1 WHERE id = :item AND stock > 0;
INSERT INTO exchanges (id, user_id, item_id, audit_sequence, points, status, created_at, updated_at) VALUES (uuidv7(), :user, :item, :next_sequence, :price, 'completed', now(), now());
UPDATE users SET points = :points_left, lifetime_redeemed = lifetime_redeemed + CAST(:price AS bigint), audit_sequence = :next_sequence WHERE id = :user;
INSERT INTO outbox (job, payload) VALUES ('exchange_confirmation', '{"exchange_id": "bench"}');
COMMIT;
