-- The same, with items in all scopes.
\set n (:first + random(0, :keys - 1)) * 1000000000 + random(0, 999999999)
SELECT count(*) / (count(*) = 1000)::integer FROM (
	SELECT array_agg('r' || :n || '-' || to_char(g, 'FM0000')) AS keys, array_agg(50.00) AS amounts,
		array_agg('s' || 1 + g % :scopes) AS scopes FROM generate_series(1, 1000) g) t,
LATERAL idem_pay_batch(keys, amounts, scopes => scopes) WHERE outcome = 'new';
