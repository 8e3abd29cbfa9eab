-- One line about a pair. It has the medians of a statement's processor time in microseconds, ours and bare. It has the ratios
-- by processor time and by elapsed time: the median of the rounds, the least and the most. A ratio is bare / ours: more than 1
-- means that ours is faster. A round's ratio is the median of the ratios of its blocks.
-- Variables: pair; target; by, cpu or elapsed: the ratio that must reach the target.
\set ON_ERROR_STOP on
WITH block AS (
	SELECT round, statements, ours_cpu / 1000.0 AS ours_cpu, bare_cpu / 1000.0 AS bare_cpu,
		extract(epoch FROM ours_elapsed) AS ours_elapsed, extract(epoch FROM bare_elapsed) AS bare_elapsed
	FROM measured WHERE pair = :'pair'
), round AS (
	SELECT percentile_cont(0.5) WITHIN GROUP (ORDER BY ours_cpu / statements) AS ours,
		percentile_cont(0.5) WITHIN GROUP (ORDER BY bare_cpu / statements) AS bare,
		percentile_cont(0.5) WITHIN GROUP (ORDER BY bare_cpu / ours_cpu) AS cpu,
		percentile_cont(0.5) WITHIN GROUP (ORDER BY bare_elapsed / ours_elapsed) AS elapsed
	FROM block GROUP BY round
), total AS (
	SELECT percentile_cont(0.5) WITHIN GROUP (ORDER BY ours) AS ours, percentile_cont(0.5) WITHIN GROUP (ORDER BY bare) AS bare,
		percentile_cont(0.5) WITHIN GROUP (ORDER BY cpu) AS cpu, min(cpu) AS cpu_least, max(cpu) AS cpu_most,
		percentile_cont(0.5) WITHIN GROUP (ORDER BY elapsed) AS elapsed, min(elapsed) AS elapsed_least, max(elapsed) AS elapsed_most
	FROM round
)
SELECT rpad(:'pair', 52) || to_char(ours, '9990.0') || to_char(bare, '9990.0')
	|| to_char(cpu, '990.000') || format(' (%s to %s)', to_char(cpu_least, 'FM990.000'), to_char(cpu_most, 'FM990.000'))
	|| to_char(elapsed, '990.000') || format(' (%s to %s)', to_char(elapsed_least, 'FM990.000'), to_char(elapsed_most, 'FM990.000'))
	|| format('  %s %s %s', CASE :'by' WHEN 'cpu' THEN 'processor' ELSE 'elapsed' END,
		CASE WHEN round(CASE :'by' WHEN 'cpu' THEN cpu ELSE elapsed END::numeric, 3) >= :target THEN 'at least' ELSE 'MISSES' END, :target)
FROM total WHERE ours IS NOT NULL;
