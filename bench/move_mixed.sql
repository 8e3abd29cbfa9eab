-- payments of one account with a floor: one of ten out of it, the others into it
\set n (:first + random(0, :keys - 1)) * 1000000000 + random(0, 999999999)
\set other random(1, :accounts)
\set out random(1, 10)
SELECT * FROM idem_pay('r' || :n, 50.00, from_account => CASE WHEN :out = 1 THEN 'till' ELSE 'w' || :other END,
	to_account => CASE WHEN :out = 1 THEN 'w' || :other ELSE 'till' END);
