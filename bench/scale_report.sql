-- The cost of each statement with few payments in the table and with many: medians in microseconds, of processor time and of
-- elapsed time, and the growth as a ratio. Variables: small, large.
\set ON_ERROR_STOP on
SELECT rpad('', 24) || lpad('processor, us', 28) || lpad('elapsed, us', 28);
SELECT rpad('payments there', 24) || lpad(:'small', 10) || lpad(:'large', 10) || lpad('growth', 8)
	|| lpad(:'small', 10) || lpad(:'large', 10) || lpad('growth', 8);
CREATE TEMP VIEW cost AS
WITH block AS (
	SELECT split_part(pair, ' ', 1) AS payments, split_part(pair, ' ', 2)::integer AS clients, split_part(pair, ' ', 3) AS what, who,
		cpu / 1000.0 / statements AS cpu, extract(epoch FROM elapsed) * 1000000 / statements AS elapsed
	FROM measured, LATERAL (VALUES ('ours', ours_cpu, ours_elapsed), ('bare', bare_cpu, bare_elapsed)) AS v(who, cpu, elapsed)
), median AS (
	SELECT payments, clients, what, who, percentile_cont(0.5) WITHIN GROUP (ORDER BY cpu) AS cpu,
		percentile_cont(0.5) WITHIN GROUP (ORDER BY elapsed) AS elapsed
	FROM block GROUP BY payments, clients, what, who
)
SELECT clients, what, who, small.cpu AS small_cpu, large.cpu AS large_cpu, large.cpu / small.cpu AS cpu_growth,
	small.elapsed AS small_elapsed, large.elapsed AS large_elapsed, large.elapsed / small.elapsed AS elapsed_growth
FROM median AS small JOIN median AS large USING (clients, what, who)
WHERE small.payments = 'small' AND large.payments = 'large';

SELECT rpad(CASE what || who WHEN 'replayours' THEN 'replay' WHEN 'replaybare' THEN 'SELECT by key'
			WHEN 'newours' THEN 'new payment' ELSE 'INSERT' END
		|| format(', %s client%s', clients, CASE WHEN clients > 1 THEN 's' END), 24)
	|| to_char(small_cpu, '9999990.0') || to_char(large_cpu, '9999990.0') || to_char(cpu_growth, '990.000')
	|| to_char(small_elapsed, '9999990.0') || to_char(large_elapsed, '9999990.0') || to_char(elapsed_growth, '990.000')
FROM cost ORDER BY clients, what DESC, who DESC;
SELECT format('growth of %s, %s client%s, on a processor: %s, %s 1.03',
	CASE what WHEN 'replay' THEN 'a replay / of SELECT' ELSE 'a new payment / of INSERT' END,
	clients, CASE WHEN clients > 1 THEN 's' END, round((ours.cpu_growth / bare.cpu_growth)::numeric, 3),
	CASE WHEN ours.cpu_growth <= bare.cpu_growth * 1.03 THEN 'at most' ELSE 'MISSES' END)
FROM cost AS ours JOIN cost AS bare USING (clients, what)
WHERE ours.who = 'ours' AND bare.who = 'bare'
ORDER BY clients, what DESC;
