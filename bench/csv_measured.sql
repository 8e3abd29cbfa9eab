-- The rows of a CSV file for the pairs that were measured. The times are those of a statement, or of an item of a batch. A
-- round's number is the median of its blocks.
WITH block AS (
	SELECT pair, round, ours_cpu / 1000.0 / statements AS ours_cpu, bare_cpu / 1000.0 / statements AS bare_cpu,
		extract(epoch FROM ours_elapsed)::float8 * 1000000 / statements AS ours_elapsed,
		extract(epoch FROM bare_elapsed)::float8 * 1000000 / statements AS bare_elapsed
	FROM measured
), value AS (
	SELECT pair, round, place, way, unit, percentile_cont(0.5) WITHIN GROUP (ORDER BY value) AS value
	FROM block, LATERAL (VALUES
		(1, 'ours', 'us processor', ours_cpu), (2, 'bare', 'us processor', bare_cpu),
		(3, 'bare / ours', 'ratio processor', bare_cpu / ours_cpu),
		(4, 'ours', 'us elapsed', ours_elapsed), (5, 'bare', 'us elapsed', bare_elapsed),
		(6, 'bare / ours', 'ratio elapsed', bare_elapsed / ours_elapsed)) AS v(place, way, unit, value)
	GROUP BY pair, round, place, way, unit
)
SELECT :'bench', pair, way, unit, round(percentile_cont(0.5) WITHIN GROUP (ORDER BY value)::numeric, 3),
	round(min(value)::numeric, 3), round(max(value)::numeric, 3), count(*)
FROM value GROUP BY pair, place, way, unit ORDER BY pair, place;
