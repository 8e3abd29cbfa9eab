-- 10,000 payments in one call, each out of a wallet with a floor into another. Each session has its own half of the wallets. The keys
-- are new and follow one another.
\set n (:first + random(0, :keys - 1)) * 1000000000 + random(0, 999999999)
\set half :accounts / 2
\set skip :client_id * :half
SELECT count(*) / (count(*) = 10000)::integer FROM (
	SELECT array_agg('r' || :n || '-' || to_char(g, 'FM00000')) AS keys, array_agg(50.00) AS amounts,
		array_agg('w' || 1 + :skip + a) AS from_accounts,
		array_agg('w' || 1 + :skip + (a + 1 + b) % :half) AS to_accounts
	FROM (SELECT g, floor(random() * :half)::integer AS a, floor(random() * (:half - 1))::integer AS b
		FROM generate_series(1, 10000) g) s) t,
LATERAL idem_pay_batch(keys, amounts, from_accounts => from_accounts, to_accounts => to_accounts) WHERE outcome = 'new';
