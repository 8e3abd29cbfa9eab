\set n random(1, 1000000000000000)
INSERT INTO bare VALUES (uuid7(), now(), 1, false, NULL, NULL, '', 'k' || :n, 'pay', 50.00, 'USD', 50.00, 50.00, 0.00, 0.00, NULL, NULL, NULL, NULL, NULL, current_user, NULL, NULL, NULL) RETURNING *;
