------------------------------------------------------------------------------
-- Requests
------------------------------------------------------------------------------

-- The rows of requests. Three tables take turns, so that a whole table is emptied at
-- once when all its rows have expired. The row of a key with the highest seq has the
-- state of the request. Rows are never updated. A row with a lease is deleted when the
-- next row of its request is inserted.
CREATE TABLE idempotency.request_0 (
	created_at		timestamptz NOT NULL,
	expires_at		timestamptz NOT NULL,
	lease_until		timestamptz,
	begun_at		timestamptz NOT NULL DEFAULT now(),
	seq				integer NOT NULL,
	attempt			integer NOT NULL,
	scope			text COLLATE "C" NOT NULL,
	key				text COLLATE "C" NOT NULL,
	status			text COLLATE "C" NOT NULL,
	role			text COLLATE "C" NOT NULL,
	fingerprint		bytea,
	response		json,
	checkpoint		text,
	checkpoint_data	json,
	sqlstate		text COLLATE "C",
	message			text,
	UNIQUE (key, scope, seq)
);
CREATE INDEX ON idempotency.request_0 (expires_at);
-- This one finds abandoned requests. A row without a lease has no entry in it.
CREATE INDEX ON idempotency.request_0 (scope, lease_until) WHERE lease_until IS NOT NULL;
COMMENT ON TABLE idempotency.request_0 IS
	'rows of requests, in one of three tables that take turns; the view idempotency.request shows the requests';
COMMENT ON COLUMN idempotency.request_0.created_at IS 'when the row was inserted';
COMMENT ON COLUMN idempotency.request_0.expires_at IS 'when the row expires';
COMMENT ON COLUMN idempotency.request_0.lease_until IS 'when the lease of the attempt ends, or null if there is no lease';
COMMENT ON COLUMN idempotency.request_0.begun_at IS 'when the request was begun';
COMMENT ON COLUMN idempotency.request_0.seq IS 'number of the row among those of its key, from 1; the row with the highest number counts';
COMMENT ON COLUMN idempotency.request_0.attempt IS 'number of the attempt';
COMMENT ON COLUMN idempotency.request_0.scope IS 'namespace of the key, empty by default';
COMMENT ON COLUMN idempotency.request_0.key IS 'idempotency key';
COMMENT ON COLUMN idempotency.request_0.status IS 'status of the request: started, released, completed or failed';
COMMENT ON COLUMN idempotency.request_0.role IS 'name of the role that began the request';
COMMENT ON COLUMN idempotency.request_0.fingerprint IS 'SHA-256 of the content of the request, or null if it was not given';
COMMENT ON COLUMN idempotency.request_0.response IS 'answer of the request, or null if it has none';
COMMENT ON COLUMN idempotency.request_0.checkpoint IS 'name of the last checkpoint, or null';
COMMENT ON COLUMN idempotency.request_0.checkpoint_data IS 'data of the last checkpoint, or null';
COMMENT ON COLUMN idempotency.request_0.sqlstate IS 'SQLSTATE of a failed command of idem_execute(), or null';
COMMENT ON COLUMN idempotency.request_0.message IS 'message of a failed command of idem_execute(), or null';

CREATE TABLE idempotency.request_1 (LIKE idempotency.request_0 INCLUDING ALL);
COMMENT ON TABLE idempotency.request_1 IS
	'rows of requests, in one of three tables that take turns; the view idempotency.request shows the requests';
CREATE TABLE idempotency.request_2 (LIKE idempotency.request_0 INCLUDING ALL);
COMMENT ON TABLE idempotency.request_2 IS
	'rows of requests, in one of three tables that take turns; the view idempotency.request shows the requests';
-- Rows are also deleted. A publication needs a replica identity for that.
ALTER TABLE idempotency.request_0 REPLICA IDENTITY USING INDEX request_0_key_scope_seq_key;
ALTER TABLE idempotency.request_1 REPLICA IDENTITY USING INDEX request_1_key_scope_seq_key;
ALTER TABLE idempotency.request_2 REPLICA IDENTITY USING INDEX request_2_key_scope_seq_key;
SELECT pg_catalog.pg_extension_config_dump('idempotency.request_0', '');
SELECT pg_catalog.pg_extension_config_dump('idempotency.request_1', '');
SELECT pg_catalog.pg_extension_config_dump('idempotency.request_2', '');

-- The table has one row, or none before the first purge.
CREATE TABLE idempotency.request_purge (
	purged_until	timestamptz PRIMARY KEY
);
COMMENT ON TABLE idempotency.request_purge IS
	'how far requests have been purged; the clock of requests never goes back before that time';
COMMENT ON COLUMN idempotency.request_purge.purged_until IS
	'time of the last purge that removed a row';
SELECT pg_catalog.pg_extension_config_dump('idempotency.request_purge', '');

CREATE TRIGGER request_purged
	AFTER INSERT OR UPDATE OR DELETE ON idempotency.request_purge
	FOR EACH ROW EXECUTE FUNCTION idempotency.table_changed();
ALTER TABLE idempotency.request_purge ENABLE ALWAYS TRIGGER request_purged;

CREATE FUNCTION @extschema@.idem_begin(
	key text,
	request anycompatible DEFAULT NULL::text,
	lease interval DEFAULT NULL,
	takeover boolean DEFAULT true,
	scope text DEFAULT NULL,
	OUT outcome text,
	OUT attempt integer,
	OUT response json,
	OUT checkpoint text,
	OUT checkpoint_data json)
LANGUAGE C VOLATILE PARALLEL UNSAFE SUPPORT idempotency.shorten_call
AS 'MODULE_PATHNAME';
COMMENT ON FUNCTION @extschema@.idem_begin(text, anycompatible, interval, boolean, text) IS
	'begins a request or returns its answer; the outcome is new, resumed, completed, failed or unknown';

CREATE FUNCTION @extschema@.idem_checkpoint(
	key text,
	name text,
	data anycompatible,
	attempt integer,
	scope text DEFAULT NULL)
RETURNS void
LANGUAGE C VOLATILE PARALLEL UNSAFE SUPPORT idempotency.shorten_call
AS 'MODULE_PATHNAME';
COMMENT ON FUNCTION @extschema@.idem_checkpoint(text, text, anycompatible, integer, text) IS
	'records how far a request with a lease has come, for a worker that takes it over';

CREATE FUNCTION @extschema@.idem_renew(
	key text,
	lease interval,
	attempt integer,
	scope text DEFAULT NULL)
RETURNS timestamptz
LANGUAGE C VOLATILE PARALLEL UNSAFE SUPPORT idempotency.shorten_call
AS 'MODULE_PATHNAME';
COMMENT ON FUNCTION @extschema@.idem_renew(text, interval, integer, text) IS
	'gives the current attempt of a request a new lease, which counts from now, and returns when it ends';

CREATE FUNCTION @extschema@.idem_complete(
	key text,
	response anycompatible,
	attempt integer DEFAULT NULL,
	scope text DEFAULT NULL)
RETURNS void
LANGUAGE C VOLATILE PARALLEL UNSAFE SUPPORT idempotency.shorten_call
AS 'MODULE_PATHNAME';
COMMENT ON FUNCTION @extschema@.idem_complete(text, anycompatible, integer, text) IS
	'ends a request and stores its answer';

CREATE FUNCTION @extschema@.idem_fail(
	key text,
	response anycompatible,
	attempt integer DEFAULT NULL,
	scope text DEFAULT NULL)
RETURNS void
LANGUAGE C VOLATILE PARALLEL UNSAFE SUPPORT idempotency.shorten_call
AS 'MODULE_PATHNAME';
COMMENT ON FUNCTION @extschema@.idem_fail(text, anycompatible, integer, text) IS
	'ends a request and stores a failure as its answer';

CREATE FUNCTION @extschema@.idem_release(
	key text,
	attempt integer DEFAULT NULL,
	scope text DEFAULT NULL)
RETURNS void
LANGUAGE C VOLATILE PARALLEL UNSAFE SUPPORT idempotency.shorten_call
AS 'MODULE_PATHNAME';
COMMENT ON FUNCTION @extschema@.idem_release(text, integer, text) IS
	'gives up a request, so that a retry can start at once';

-- No planner support: it would take a null for the default of numbers.
CREATE FUNCTION @extschema@.idem_execute(
	key text,
	command text,
	args anycompatible DEFAULT NULL::text,
	numbers text DEFAULT 'number',
	scope text DEFAULT NULL,
	declines text DEFAULT NULL,
	OUT replayed boolean,
	OUT rows json,
	OUT sqlstate text,
	OUT message text)
LANGUAGE C VOLATILE PARALLEL UNSAFE
AS 'MODULE_PATHNAME';
COMMENT ON FUNCTION @extschema@.idem_execute(text, text, anycompatible, text, text, text) IS
	'runs an SQL command with the caller''s rights, once per key; a repeated call returns the same rows';

CREATE FUNCTION @extschema@.idem_lookup_request(
	key text,
	scope text DEFAULT NULL)
RETURNS SETOF @extschema@.idem_request
LANGUAGE C STABLE PARALLEL RESTRICTED ROWS 1 SUPPORT idempotency.shorten_call
AS 'MODULE_PATHNAME';
COMMENT ON FUNCTION @extschema@.idem_lookup_request(text, text) IS
	'returns the state of a request, or no row; writes nothing';

CREATE FUNCTION @extschema@.idem_abandoned(
	max integer DEFAULT 100,
	scope text DEFAULT NULL,
	OUT key text,
	OUT attempt integer,
	OUT checkpoint text,
	OUT checkpoint_data json,
	OUT lease_until timestamptz,
	OUT begun_at timestamptz)
RETURNS SETOF record
LANGUAGE C STABLE PARALLEL RESTRICTED ROWS 10 SUPPORT idempotency.shorten_call
AS 'MODULE_PATHNAME';
COMMENT ON FUNCTION @extschema@.idem_abandoned(integer, text) IS
	'returns up to max requests of a scope whose leases have lapsed, those that lapsed first before the others; writes nothing';

CREATE VIEW idempotency.request AS
SELECT n.scope,
	n.key,
	n.status,
	n.attempt,
	n.lease_until,
	n.begun_at,
	n.response,
	n.checkpoint,
	n.checkpoint_data,
	n.sqlstate,
	n.message,
	n.created_at,
	n.expires_at,
	n.role
FROM (
	SELECT DISTINCT ON (r.key, r.scope) r.*
	FROM (
		SELECT * FROM idempotency.request_0
		UNION ALL SELECT * FROM idempotency.request_1
		UNION ALL SELECT * FROM idempotency.request_2) r
	ORDER BY r.key, r.scope, r.seq DESC) n
WHERE n.expires_at > greatest(pg_catalog.statement_timestamp(), (SELECT max(purged_until) FROM idempotency.request_purge));
COMMENT ON VIEW idempotency.request IS
	'state of each request that has not expired, as of now';

CREATE FUNCTION @extschema@.idem_purge()
RETURNS integer
LANGUAGE C VOLATILE PARALLEL UNSAFE
AS 'MODULE_PATHNAME';
COMMENT ON FUNCTION @extschema@.idem_purge() IS
	'empties the tables of requests whose rows have all expired, and returns how many it emptied';
