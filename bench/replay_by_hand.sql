\set n :first + random(0, :keys - 1)
SELECT * FROM pay_by_hand('r' || :n, 50.00);
