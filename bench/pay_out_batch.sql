-- 10,000 payments in one call, out of one account with a floor into many. Each session has its own half of the accounts.
\set n (:first + random(0, :keys - 1)) * 1000000000 + random(0, 999999999)
\set half :accounts / 2
\set skip :client_id * :half
SELECT count(*) / (count(*) = 10000)::integer FROM (
	SELECT array_agg('r' || :n || '-' || to_char(g, 'FM00000')) AS keys, array_agg(50.00) AS amounts,
		array_agg('w' || 1 + :skip) AS from_accounts,
		array_agg('w' || 2 + :skip + g % (:half - 1)) AS to_accounts
	FROM generate_series(1, 10000) g) t,
LATERAL idem_pay_batch(keys, amounts, from_accounts => from_accounts, to_accounts => to_accounts) WHERE outcome = 'new';
