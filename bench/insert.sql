-- a new key, between the existing ones
\set n (:first + random(0, :keys - 1)) * 1000000000 + random(0, 999999999)
INSERT INTO bare
VALUES (uuid7(), now(), 1, false, NULL, NULL, NULL, '', 'r' || :n, 'pay', 50.00, 'USD', 50.00, 50.00, 0.00, 0.00,
	NULL, NULL, NULL, NULL, NULL, NULL, NULL, current_user, NULL, NULL, NULL)
RETURNING *;
