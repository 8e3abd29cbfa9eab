------------------------------------------------------------------------------
-- Seeing it run: counters, and who works on what
------------------------------------------------------------------------------

-- src/stat/view.c has the functions in C.

CREATE FUNCTION idempotency.stat_counters(
	OUT function text,
	OUT calls bigint,
	OUT new bigint,
	OUT replayed bigint,
	OUT declined bigint,
	OUT in_flight bigint,
	OUT mismatch bigint,
	OUT conflict bigint,
	OUT failed bigint,
	OUT waits bigint,
	OUT wait_time double precision,
	OUT durability_waits bigint,
	OUT durability_wait_time double precision,
	OUT stats_reset timestamptz)
RETURNS SETOF record
LANGUAGE C VOLATILE PARALLEL UNSAFE ROWS 23
AS 'MODULE_PATHNAME', 'idem_stat_counters';
COMMENT ON FUNCTION idempotency.stat_counters() IS
	'counters of the calls in this database, for the view idempotency.stat';

CREATE VIEW idempotency.stat AS
SELECT * FROM idempotency.stat_counters();
COMMENT ON VIEW idempotency.stat IS
	'how often each function was called in this database, what became of the requests, and how long they waited';
COMMENT ON COLUMN idempotency.stat.function IS 'name of the function';
COMMENT ON COLUMN idempotency.stat.calls IS 'calls that have ended; a batch is one call';
COMMENT ON COLUMN idempotency.stat.new IS 'requests that were carried out; of idem_expire, holds released; of idem_purge, tables emptied; of idem_relay, orders delivered';
COMMENT ON COLUMN idempotency.stat.replayed IS 'requests that got the stored answer';
COMMENT ON COLUMN idempotency.stat.declined IS 'requests that were refused: ID402 and ID412, raised or recorded; of idem_relay, orders returned';
COMMENT ON COLUMN idempotency.stat.in_flight IS 'requests whose key or payment was in use for too long: ID409 and 55P03';
COMMENT ON COLUMN idempotency.stat.mismatch IS 'requests whose key was used with a different request: ID422';
COMMENT ON COLUMN idempotency.stat.conflict IS 'calls whose transaction has to run again: 40001 and 40P01';
COMMENT ON COLUMN idempotency.stat.failed IS 'requests that failed with any other error; of idem_relay, deliveries that are tried again';
COMMENT ON COLUMN idempotency.stat.waits IS 'calls that waited for other transactions';
COMMENT ON COLUMN idempotency.stat.wait_time IS 'how long they waited, in seconds';
COMMENT ON COLUMN idempotency.stat.durability_waits IS 'replays that waited until their answer was durable';
COMMENT ON COLUMN idempotency.stat.durability_wait_time IS 'how long they waited, in seconds';
COMMENT ON COLUMN idempotency.stat.stats_reset IS 'since when calls are counted';

CREATE FUNCTION @extschema@.idem_stat_reset()
RETURNS void
LANGUAGE C VOLATILE PARALLEL UNSAFE
AS 'MODULE_PATHNAME';
COMMENT ON FUNCTION @extschema@.idem_stat_reset() IS
	'sets the counters of this database, which the view idempotency.stat shows, to zero';

CREATE FUNCTION idempotency.count_relays(delivered integer, returned integer, later integer)
RETURNS void
LANGUAGE C VOLATILE STRICT PARALLEL UNSAFE
AS 'MODULE_PATHNAME', 'idem_count_relays';
COMMENT ON FUNCTION idempotency.count_relays(integer, integer, integer) IS
	'counts orders of the extension idempotency_remit, for the view idempotency.stat';

CREATE FUNCTION idempotency.session_keys(
	OUT pid integer,
	OUT classid oid,
	OUT objid oid,
	OUT waiting_since timestamptz,
	OUT waits_for text,
	OUT scope text,
	OUT key text)
RETURNS SETOF record
LANGUAGE C VOLATILE PARALLEL UNSAFE ROWS 100
AS 'MODULE_PATHNAME', 'idem_session_keys';
COMMENT ON FUNCTION idempotency.session_keys() IS
	'the key that each session has used last, for the view idempotency.activity';

CREATE FUNCTION idempotency.worker_run(
	OUT started_at timestamptz,
	OUT ended_at timestamptz,
	OUT failed_at timestamptz,
	OUT message text)
RETURNS SETOF record
LANGUAGE C VOLATILE PARALLEL UNSAFE ROWS 1
AS 'MODULE_PATHNAME', 'idem_worker_run';
COMMENT ON FUNCTION idempotency.worker_run() IS
	'the last run of the maintenance worker in this database, for the view idempotency.activity';

-- Sessions come first, then what is stored.
--
-- A lock is known by a hash of its key. The key's text is that of a session that has used the key last. So it is known for
-- whoever waits, and mostly for who holds. A key that is waited for is held by a transaction that has it in a row, or
-- by its lock.
--
-- Where calls are not counted, there are no keys. Then waiters are known by their locks only.
CREATE VIEW idempotency.activity AS
WITH session AS MATERIALIZED (
	SELECT s.* FROM idempotency.session_keys() s
), lock AS MATERIALIZED (
	SELECT l.pid, l.classid, l.objid, l.objsubid, l.granted, l.waitstart
	FROM pg_catalog.pg_locks l
	WHERE l.locktype = 'advisory' AND l.objsubid IN (7486, 7487, 7488, 7489)
		AND l.database = (SELECT d.oid FROM pg_catalog.pg_database d WHERE d.datname = pg_catalog.current_database())
), waiter AS MATERIALIZED (
	SELECT s.waits_for, s.pid, s.classid, s.objid, s.scope, s.key, pg_catalog.pg_blocking_pids(s.pid) AS blocked_by,
		s.waiting_since AS since
	FROM session s
	WHERE s.waiting_since IS NOT NULL
		AND EXISTS (SELECT FROM pg_catalog.pg_stat_activity a WHERE a.pid = s.pid AND a.datname = pg_catalog.current_database())
)
SELECT w.waits_for AS kind,
	'waiting'::text AS state,
	w.pid,
	-- a call that waits for durability has used no lock, so the session's key is an older one
	CASE WHEN w.waits_for <> 'durability' THEN w.scope END AS scope,
	CASE WHEN w.waits_for <> 'durability' THEN w.key END AS key,
	NULL::uuid AS payment_id,
	w.since,
	NULL::timestamptz AS until,
	w.blocked_by,
	NULL::text AS message,
	NULL::timestamptz AS message_at
FROM waiter w
UNION ALL
SELECT 'key', 'held', h.pid, h.scope, h.key, NULL, a.xact_start, NULL, NULL,
	CASE WHEN h.pid IS NULL THEN 'a prepared transaction' END, NULL
FROM (
	SELECT l.pid, k.scope, k.key
	FROM lock l LEFT JOIN session k ON k.classid = l.classid AND k.objid = l.objid
	WHERE l.granted AND l.objsubid = 7486
	UNION
	-- pg_blocking_pids() has 0 for a prepared transaction
	SELECT NULLIF(b.pid, 0), w.scope, w.key
	FROM waiter w, pg_catalog.unnest(w.blocked_by) AS b(pid)
	WHERE w.waits_for = 'key'
		-- one that waits for the same key is only before it in the queue
		AND NOT EXISTS (SELECT FROM waiter o
			WHERE o.pid = b.pid AND o.waits_for = 'key' AND (o.classid, o.objid) = (w.classid, w.objid))
) h LEFT JOIN pg_catalog.pg_stat_activity a ON a.pid = h.pid
UNION ALL
SELECT CASE l.objsubid WHEN 7486 THEN 'key' WHEN 7487 THEN 'payment' ELSE 'account' END, CASE WHEN l.granted THEN 'held' ELSE 'waiting' END,
	l.pid, NULL, NULL, NULL, CASE WHEN l.granted THEN a.xact_start ELSE l.waitstart END, NULL,
	CASE WHEN NOT l.granted THEN pg_catalog.pg_blocking_pids(l.pid) END, NULL, NULL
FROM lock l LEFT JOIN pg_catalog.pg_stat_activity a ON a.pid = l.pid
-- 7489 is the first in the queue for an account, and not who holds it
WHERE CASE WHEN l.granted THEN l.objsubid IN (7487, 7488) ELSE NOT EXISTS (SELECT FROM waiter w WHERE w.pid = l.pid) END
UNION ALL
SELECT 'lease', CASE WHEN r.lease_until > pg_catalog.clock_timestamp() THEN 'running' ELSE 'lapsed' END,
	NULL, r.scope, r.key, NULL, r.begun_at, r.lease_until, NULL, NULL, NULL
FROM (
	SELECT * FROM idempotency.request_0 WHERE lease_until IS NOT NULL
	UNION ALL SELECT * FROM idempotency.request_1 WHERE lease_until IS NOT NULL
	UNION ALL SELECT * FROM idempotency.request_2 WHERE lease_until IS NOT NULL
	-- few rows have a lease, and an index has only these; without OFFSET, the planner takes the one that has all
	OFFSET 0) r
-- the view idempotency.request would read all rows
WHERE r.expires_at > greatest(pg_catalog.statement_timestamp(), (SELECT max(p.purged_until) FROM idempotency.request_purge p))
	AND NOT EXISTS (SELECT FROM idempotency.request_0 n WHERE n.key = r.key AND n.scope = r.scope AND n.seq > r.seq)
	AND NOT EXISTS (SELECT FROM idempotency.request_1 n WHERE n.key = r.key AND n.scope = r.scope AND n.seq > r.seq)
	AND NOT EXISTS (SELECT FROM idempotency.request_2 n WHERE n.key = r.key AND n.scope = r.scope AND n.seq > r.seq)
UNION ALL
SELECT 'hold', 'overdue', NULL, h.scope, h.key, h.payment_id, h.expires_at, h.due_at, NULL, NULL, NULL
FROM idempotency.hold h
-- One that could not be released is put off, by a day at most. The index on due_at finds both kinds. (It takes no
-- clock_timestamp(), which is volatile.)
WHERE h.due_at < pg_catalog.statement_timestamp() + '25 hours'::interval AND h.expires_at < pg_catalog.statement_timestamp()
UNION ALL
SELECT 'worker', CASE WHEN w.failed_at >= w.started_at THEN 'failed' WHEN w.ended_at IS NULL THEN 'running' ELSE 'done' END,
	NULL, NULL, NULL, NULL, w.started_at, w.ended_at, NULL, w.message, w.failed_at
FROM idempotency.worker_run() w;
COMMENT ON VIEW idempotency.activity IS
	'who holds or waits for which key, leases, holds that are overdue, and the last run of the maintenance worker';
COMMENT ON COLUMN idempotency.activity.kind IS 'key, payment, account: a session that holds it or waits for it; durability: a session whose answer is not yet as durable as it asks; lease: of a request; hold: one that is overdue; worker: its last run';
COMMENT ON COLUMN idempotency.activity.state IS 'held or waiting; of a lease, running or lapsed; of a hold, overdue; of the worker, running, done or failed';
COMMENT ON COLUMN idempotency.activity.pid IS 'process ID of the session, or null';
COMMENT ON COLUMN idempotency.activity.scope IS 'namespace of the key, or null if it is not known';
COMMENT ON COLUMN idempotency.activity.key IS 'idempotency key of the call, or the name of the account that it opens or changes; null if it is not known';
COMMENT ON COLUMN idempotency.activity.payment_id IS 'payment of the hold, or null';
COMMENT ON COLUMN idempotency.activity.since IS 'of a waiter, when its call began to wait; of a holder, when its transaction began; of a lease, when the request was begun; of a hold, when it expired; of the worker, when it started';
COMMENT ON COLUMN idempotency.activity.until IS 'when the lease ends, when idem_expire() tries the hold, or when the worker ended';
COMMENT ON COLUMN idempotency.activity.blocked_by IS 'process IDs of those that a waiter waits for; 0 is a prepared transaction';
COMMENT ON COLUMN idempotency.activity.message IS 'last error of the worker, since the server was started; or null';
COMMENT ON COLUMN idempotency.activity.message_at IS 'when the worker had this error';
