-- a new key, between the existing ones
\set n (:first + random(0, :keys - 1)) * 1000000000 + random(0, 999999999)
SELECT * FROM pay_by_hand('r' || :n, 50.00);
