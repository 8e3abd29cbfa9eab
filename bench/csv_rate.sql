-- The rows of a CSV file for the rates of payments. The ways are the names of scripts.
SELECT :'bench', CASE WHEN waits LIKE '%waited for' THEN 'commits ' || waits ELSE waits END, way, '1/s',
	round(percentile_cont(0.5) WITHIN GROUP (ORDER BY rate)::numeric, 1), round(min(rate), 1), round(max(rate), 1), count(*)
FROM rate GROUP BY waits, way ORDER BY waits, way;
