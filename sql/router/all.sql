------------------------------------------------------------------------------
-- On all partitions
------------------------------------------------------------------------------

-- Where a result says which partition it is from, each partition is told its number: PL/Proxy splits the array with all
-- numbers. The names of their databases may be equal.

SELECT idempotency_router.define_remote('idem_check', '{integer[]}',
	'{OUT partition integer,OUT number bigint,OUT invariant text,OUT ok boolean,OUT detail text}', 'SETOF record',
	'SELECT ($1::integer[])[1] AS partition, c.number, c.invariant, c.ok, c.detail FROM @extschema@.idem_check() WITH ORDINALITY c(invariant, ok, detail, number)',
	'SPLIT $1; RUN ON $1;');
SELECT idempotency_router.define_public('idem_check',
	'OUT invariant text, OUT ok boolean, OUT detail text',
	'SETOF record ROWS 30',
	$$RETURN QUERY
	SELECT c.invariant, pg_catalog.bool_and(c.ok),
		pg_catalog.string_agg(pg_catalog.format('partition %s: %s', c.partition, c.detail), '; ' ORDER BY c.partition) FILTER (WHERE c.detail IS NOT NULL)
	FROM idempotency_router.idem_check(idempotency_router.all_partitions()) c
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

SELECT idempotency_router.define_remote('idem_stat_reset', '{}', '{}', 'SETOF text', 'SELECT @extschema@.idem_stat_reset()', 'RUN ON ALL;');
SELECT idempotency_router.define_public('idem_stat_reset',
	'',
	'void',
	'PERFORM idempotency_router.idem_stat_reset();',
	'sets the counters of all partitions, which the view idempotency_router.stat shows, to zero');

SELECT idempotency_router.define_remote('idem_stat', '{integer[]}',
	'{OUT partition integer,OUT function text,OUT calls bigint,OUT new bigint,OUT replayed bigint,OUT declined bigint,OUT in_flight bigint,OUT mismatch bigint,'
	'OUT conflict bigint,OUT failed bigint,OUT waits bigint,OUT wait_time double precision,OUT durability_waits bigint,'
	'OUT durability_wait_time double precision,OUT stats_reset timestamptz}',
	'SETOF record', 'SELECT ($1::integer[])[1] AS partition, s.* FROM idempotency.stat s', 'SPLIT $1; RUN ON $1;');
CREATE VIEW idempotency_router.stat AS
SELECT * FROM idempotency_router.idem_stat(idempotency_router.all_partitions());
COMMENT ON VIEW idempotency_router.stat IS
	'the view idempotency.stat of each partition, with its number';

SELECT idempotency_router.define_remote('idem_activity', '{integer[]}',
	'{OUT partition integer,OUT kind text,OUT state text,OUT pid integer,OUT scope text,OUT key text,OUT payment_id uuid,OUT since timestamptz,'
	'OUT until timestamptz,OUT blocked_by integer[],OUT message text,OUT message_at timestamptz}',
	'SETOF record', 'SELECT ($1::integer[])[1] AS partition, a.* FROM idempotency.activity a', 'SPLIT $1; RUN ON $1;');
CREATE VIEW idempotency_router.activity AS
SELECT * FROM idempotency_router.idem_activity(idempotency_router.all_partitions());
COMMENT ON VIEW idempotency_router.activity IS
	'the view idempotency.activity of each partition, with its number';

-- The mark of a partition: see partitions.sql.
SELECT idempotency_router.define_remote('mark', '{}', '{}', 'text',
	$$SELECT (SELECT substr(c, strpos(c, '=') + 1) FROM pg_db_role_setting s JOIN pg_database d ON d.oid = s.setdatabase, unnest(s.setconfig) c
		WHERE d.datname = current_database() AND s.setrole = 0 AND c LIKE 'idempotency_router.partition=%')$$);
-- Of two routers that mark it at the same time, one gets ID422: the key is that of the database.
SELECT idempotency_router.define_remote('set_mark', '{text}', '{}', 'boolean',
	$$SELECT e.replayed FROM pg_database d, @extschema@.idem_execute('idem_router_mark:' || d.oid,
		format('ALTER DATABASE %I SET idempotency_router.partition = %L', d.datname, $1), scope => 'idem_router_mark', declines => 'raise') e
		WHERE d.datname = current_database()$$);

