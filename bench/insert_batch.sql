-- the rows of 10,000 operations with the same keys, in one INSERT
\set n (:first + random(0, :keys - 1)) * 1000000000 + random(0, 999999999)
INSERT INTO bare (payment_id, created_at, seq, whole, scope, key, kind, amount, currency, authorized, captured, released, refunded, role)
SELECT uuid7(), now(), 1, false, '', 'r' || :n || '-' || to_char(g, 'FM00000'), 'pay', 50.00, 'USD', 50.00, 50.00, 0.00, 0.00, current_user
FROM generate_series(1, 10000) g;
