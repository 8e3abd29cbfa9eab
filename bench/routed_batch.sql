-- 1,000 payments in one call, all in one scope. The keys are new and follow one another.
\set n (:first + random(0, :keys - 1)) * 1000000000 + random(0, 999999999)
\set scope random(1, :scopes)
SELECT count(*) / (count(*) = 1000)::integer FROM (
	SELECT array_agg('r' || :n || '-' || to_char(g, 'FM0000')) AS keys, array_agg(50.00) AS amounts FROM generate_series(1, 1000) g) t,
LATERAL idem_pay_batch(keys, amounts, scope => 's' || :scope) WHERE outcome = 'new';
