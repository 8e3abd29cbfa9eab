------------------------------------------------------------------------------
-- Requests
------------------------------------------------------------------------------

-- A request without a lease is given up when the transaction ends that has begun it. Here that is the call.
DO $do$
DECLARE
	outs constant text[] := '{OUT outcome text,OUT attempt integer,OUT response json,OUT checkpoint text,OUT checkpoint_data json}';
	type text;
BEGIN
	FOREACH type IN ARRAY ARRAY['text', 'json', 'bytea']
	LOOP
		PERFORM idempotency_router.define_remote('idem_begin_' || type, ARRAY['text', type, 'interval', 'boolean', 'text'], outs, 'record',
			'SELECT r.outcome, r.attempt, r.response, r.checkpoint, r.checkpoint_data FROM @extschema@.idem_begin($1, $2, $3, $4, $5) r');
	END LOOP;
	PERFORM idempotency_router.define_public('idem_begin',
		'key text, request anycompatible DEFAULT NULL::text, lease interval DEFAULT NULL, takeover boolean DEFAULT true, '
		'scope text DEFAULT NULL, ' || array_to_string(outs, ', '),
		'record',
		$$IF $3 IS NULL THEN
		RAISE EXCEPTION 'lease must not be null or left out' USING ERRCODE = 'feature_not_supported',
			DETAIL = 'Through a router each call is a transaction. A request without a lease would be given up at once.',
			HINT = 'Pass the argument "lease", or use idem_execute().';
	END IF;
	IF idempotency_router.base_type(pg_catalog.pg_typeof($2)) OPERATOR(pg_catalog.=) 'pg_catalog.bytea'::pg_catalog.regtype THEN
		SELECT * INTO $6, $7, $8, $9, $10
		FROM idempotency_router.idem_begin_bytea($1, $2::pg_catalog.text::pg_catalog.bytea, $3, $4, _scope, idempotency_router.hash(_scope));
	ELSIF idempotency_router.base_type(pg_catalog.pg_typeof($2)) OPERATOR(pg_catalog.=) ANY ('{pg_catalog.json,pg_catalog.jsonb}'::pg_catalog.regtype[]) THEN
		SELECT * INTO $6, $7, $8, $9, $10
		FROM idempotency_router.idem_begin_json($1, $2::pg_catalog.text::pg_catalog.json, $3, $4, _scope, idempotency_router.hash(_scope));
	ELSE
		SELECT * INTO $6, $7, $8, $9, $10
		FROM idempotency_router.idem_begin_text($1,
			CASE WHEN $2 IS NOT NULL THEN idempotency_router.json_text($2, 'request', 'text, json, jsonb or bytea') END,
			$3, $4, _scope, idempotency_router.hash(_scope));
	END IF;$$,
		'begins a request or returns its answer; the outcome is new, resumed, completed, failed or unknown');
END
$do$;

SELECT idempotency_router.define('idem_checkpoint',
	'key text, name text, data anycompatible, attempt integer, scope text DEFAULT NULL',
	'void',
	'records how far a request with a lease has come, for a worker that takes it over');
SELECT idempotency_router.define('idem_renew',
	'key text, lease interval, attempt integer, scope text DEFAULT NULL',
	'timestamptz',
	'gives the current attempt of a request a new lease, which counts from now, and returns when it ends');
SELECT idempotency_router.define('idem_complete',
	'key text, response anycompatible, attempt integer DEFAULT NULL, scope text DEFAULT NULL',
	'void',
	'ends a request and stores its answer');
SELECT idempotency_router.define('idem_fail',
	'key text, response anycompatible, attempt integer DEFAULT NULL, scope text DEFAULT NULL',
	'void',
	'ends a request and stores a failure as its answer');
SELECT idempotency_router.define('idem_release',
	'key text, attempt integer DEFAULT NULL, scope text DEFAULT NULL',
	'void',
	'gives up a request, so that a retry can start at once');
SELECT idempotency_router.define('idem_execute',
	'key text, command text, args anycompatible DEFAULT NULL::text, numbers text DEFAULT ''number'', scope text DEFAULT NULL, '
	'declines text DEFAULT NULL, OUT replayed boolean, OUT rows json, OUT sqlstate text, OUT message text',
	'record',
	'runs an SQL command with the caller''s rights, once per key; a repeated call returns the same rows');
SELECT idempotency_router.define('idem_lookup_request',
	'key text, scope text DEFAULT NULL',
	'SETOF @extschema@.idem_request ROWS 1',
	'returns the state of a request, or no row; writes nothing');
SELECT idempotency_router.define('idem_abandoned',
	'max integer DEFAULT 100, scope text DEFAULT NULL, OUT key text, OUT attempt integer, OUT checkpoint text, '
	'OUT checkpoint_data json, OUT lease_until timestamptz, OUT begun_at timestamptz',
	'SETOF record ROWS 10',
	'returns up to max requests of a scope whose leases have lapsed, those that lapsed first before the others; writes nothing');

