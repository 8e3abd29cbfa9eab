-- One line about a call that is made in two ways: the microseconds of processor time of each, and ratios by processor time and by
-- elapsed time: the median of the rounds, the least and the most. A ratio is other / ours: less than 1 means that ours costs more.
-- Variables: what; title; ours, other: the ways.
\set ON_ERROR_STOP on
WITH total AS (
	SELECT percentile_cont(0.5) WITHIN GROUP (ORDER BY ours.cpu) AS ours, percentile_cont(0.5) WITHIN GROUP (ORDER BY other.cpu) AS other,
		percentile_cont(0.5) WITHIN GROUP (ORDER BY other.cpu / ours.cpu) AS cpu,
		min(other.cpu / ours.cpu) AS cpu_least, max(other.cpu / ours.cpu) AS cpu_most,
		percentile_cont(0.5) WITHIN GROUP (ORDER BY other.elapsed / ours.elapsed) AS elapsed,
		min(other.elapsed / ours.elapsed) AS elapsed_least, max(other.elapsed / ours.elapsed) AS elapsed_most
	FROM routed AS ours JOIN routed AS other USING (what, round)
	WHERE what = :'what' AND ours.way = :'ours' AND other.way = :'other'
)
SELECT rpad(:'title', 52) || to_char(ours, '9990.0') || to_char(other, '9990.0')
	|| to_char(cpu, '990.000') || format(' (%s to %s)', to_char(cpu_least, 'FM990.000'), to_char(cpu_most, 'FM990.000'))
	|| to_char(elapsed, '990.000') || format(' (%s to %s)', to_char(elapsed_least, 'FM990.000'), to_char(elapsed_most, 'FM990.000'))
FROM total WHERE ours IS NOT NULL;
