-- One line about the rates of two ways: their medians, and the ratio ours / other: the median of the rounds, the least and the
-- most. Variables: waits; title; ours, other: the ways; target, for the ratio, or empty.
\set ON_ERROR_STOP on
WITH round AS (
	SELECT ours.rate AS ours, other.rate AS other, ours.rate / nullif(other.rate, 0) AS ratio
	FROM rate AS ours JOIN rate AS other USING (waits, round)
	WHERE waits = :'waits' AND ours.way = :'ours' AND other.way = :'other'
), total AS (
	SELECT percentile_cont(0.5) WITHIN GROUP (ORDER BY ours) AS ours, percentile_cont(0.5) WITHIN GROUP (ORDER BY other) AS other,
		percentile_cont(0.5) WITHIN GROUP (ORDER BY ratio)::numeric AS ratio, min(ratio) AS least, max(ratio) AS most
	FROM round
)
SELECT rpad(:'title', 58) || to_char(ours, '999990') || to_char(other, '999990') || to_char(ratio, '990.000')
	|| format(' (%s to %s)', to_char(least, 'FM990.000'), to_char(most, 'FM990.000'))
	|| CASE WHEN :'target' = '' THEN ''
		ELSE format('  %s %s', CASE WHEN round(ratio, 3) >= nullif(:'target', '')::numeric THEN 'at least' ELSE 'MISSES' END, :'target') END
FROM total WHERE ratio IS NOT NULL;
