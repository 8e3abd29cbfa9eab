------------------------------------------------------------------------------
-- On all partitions
------------------------------------------------------------------------------

SELECT idempotency_router.define_remote('idem_check', '{}',
	'{OUT place text,OUT number bigint,OUT invariant text,OUT ok boolean,OUT detail text}', 'SETOF record',
	'SELECT current_database()::text AS place, c.number, c.invariant, c.ok, c.detail FROM @extschema@.idem_check() WITH ORDINALITY c(invariant, ok, detail, number)',
	'RUN ON ALL;');
SELECT idempotency_router.define_public('idem_check',
	'OUT invariant text, OUT ok boolean, OUT detail text',
	'SETOF record ROWS 30',
	$$RETURN QUERY
	SELECT c.invariant, pg_catalog.bool_and(c.ok),
		pg_catalog.string_agg(pg_catalog.format('database "%s": %s', c.place, c.detail), '; ' ORDER BY c.place) FILTER (WHERE c.detail IS NOT NULL)
	FROM idempotency_router.idem_check() c
	GROUP BY c.invariant
	ORDER BY pg_catalog.min(c.number);$$,
	'checks each invariant of all operations on all partitions; ok is false if some operation breaks it');

SELECT idempotency_router.define_remote('idem_expire', '{integer}', '{}', 'SETOF integer', 'SELECT @extschema@.idem_expire($1)', 'RUN ON ALL;');
SELECT idempotency_router.define_public('idem_expire',
	'max_holds integer DEFAULT 1000',
	'integer',
	'RETURN (SELECT pg_catalog.sum(n) FROM idempotency_router.idem_expire($1) n);',
	'looks at up to max_holds expired holds on each partition, releases what is left of them, and returns how many it looked at');

SELECT idempotency_router.define_remote('idem_purge', '{}', '{}', 'SETOF integer', 'SELECT @extschema@.idem_purge()', 'RUN ON ALL;');
SELECT idempotency_router.define_public('idem_purge',
	'',
	'integer',
	'RETURN (SELECT pg_catalog.sum(n) FROM idempotency_router.idem_purge() n);',
	'empties the tables of requests whose rows have all expired, on all partitions, and returns how many it emptied');

-- The mark of a partition: see partitions.sql.
SELECT idempotency_router.define_remote('mark', '{}', '{}', 'text',
	$$SELECT (SELECT substr(c, strpos(c, '=') + 1) FROM pg_db_role_setting s JOIN pg_database d ON d.oid = s.setdatabase, unnest(s.setconfig) c
		WHERE d.datname = current_database() AND s.setrole = 0 AND c LIKE 'idempotency_router.partition=%')$$);
-- Of two routers that mark it at the same time, one gets ID422: the key is that of the database.
SELECT idempotency_router.define_remote('set_mark', '{text}', '{}', 'boolean',
	$$SELECT e.replayed FROM pg_database d, @extschema@.idem_execute('idem_router_mark:' || d.oid,
		format('ALTER DATABASE %I SET idempotency_router.partition = %L', d.datname, $1), scope => 'idem_router_mark', declines => 'raise') e
		WHERE d.datname = current_database()$$);

