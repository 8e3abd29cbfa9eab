-- The rows of a CSV file for the calls through a router.
SELECT :'bench', what, way, unit, round(percentile_cont(0.5) WITHIN GROUP (ORDER BY value)::numeric, 1), round(min(value), 1),
	round(max(value), 1), count(*)
FROM routed, LATERAL (VALUES ('us processor', cpu), ('us elapsed', elapsed)) AS v(unit, value)
GROUP BY what, way, unit ORDER BY what, way, unit DESC;
