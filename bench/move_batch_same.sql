-- The same, but both sessions use all the wallets.
\set n (:first + random(0, :keys - 1)) * 1000000000 + random(0, 999999999)
SELECT count(*) / (count(*) = 10000)::integer FROM (
	SELECT array_agg('r' || :n || '-' || to_char(g, 'FM00000')) AS keys, array_agg(50.00) AS amounts,
		array_agg('w' || 1 + a) AS from_accounts, array_agg('w' || 1 + (a + 1 + b) % :accounts) AS to_accounts
	FROM (SELECT g, floor(random() * :accounts)::integer AS a, floor(random() * (:accounts - 1))::integer AS b
		FROM generate_series(1, 10000) g) s) t,
LATERAL idem_pay_batch(keys, amounts, from_accounts => from_accounts, to_accounts => to_accounts) WHERE outcome = 'new';
