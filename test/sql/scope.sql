-- A setting cannot move a call into another scope where the administrator requires that calls name their scope.
\getenv srcdir PG_ABS_SRCDIR
\set include :srcdir '/include/error.psql'
\i :include
CREATE ROLE regress_idem_scope LOGIN;
SELECT idem_grant('regress_idem_scope');
SELECT current_database() AS here, current_user AS me \gset

-- One pooled connection: a client says SET, and the next one gets its setting. The retry is paid again.
SET idempotency.scope = 'tenant-a';
SELECT replayed FROM idem_pay('pooled', 10);
RESET ALL;
SELECT replayed FROM idem_pay('pooled', 10);
SELECT scope FROM idempotency.operation WHERE key = 'pooled' ORDER BY scope;

-- The administrator requires a scope. Then the call that relies on the setting is an error, and nothing is paid.
ALTER ROLE regress_idem_scope SET idempotency.require_scope = on;
\c :here regress_idem_scope
\i :include
SET idempotency.scope = 'tenant-a';
SELECT pg_temp.error($$SELECT idem_pay('required', 10)$$);
SELECT pg_temp.error($$SELECT idem_pay('required', 10, scope => NULL)$$);
SELECT pg_temp.error($$SELECT idem_pay_batch(ARRAY['required'], ARRAY[10])$$);
SELECT pg_temp.error($$SELECT idem_begin('required')$$);
RESET idempotency.scope;
SELECT pg_temp.error($$SELECT idem_pay('required', 10)$$);

-- A call that names its scope works, and so does the empty one.
SELECT replayed FROM idem_pay('required', 10, scope => 'tenant-b');
SET idempotency.scope = 'tenant-a';
SELECT replayed FROM idem_pay('required', 10, scope => 'tenant-b');
SELECT replayed FROM idem_pay('required', 10, scope => '');
SELECT outcome FROM idem_pay_batch(ARRAY['required'], ARRAY[10], scope => 'tenant-b');
BEGIN;
SELECT outcome FROM idem_begin('required', scope => '');
SELECT idem_release('required', scope => '');
COMMIT;
SELECT status FROM idem_lookup_request('required', scope => '');

-- Whoever may not set it cannot turn it off, also not before the library is loaded.
SET idempotency.require_scope = off;
\c
\i :include
SET idempotency.require_scope = off;
SELECT pg_temp.error($$SELECT idem_pay('required', 10)$$);
SHOW idempotency.require_scope;
-- A client's option comes before what the administrator has set for the role. It is refused when the library is loaded,
-- and then a scope is required: what the administrator wants is not known any more.
\setenv PGOPTIONS '-c idempotency.require_scope=off'
\c :here regress_idem_scope
\i :include
SELECT pg_temp.error($$SELECT idem_pay('required', 10)$$);
SHOW idempotency.require_scope;
RESET idempotency.require_scope;
SELECT pg_temp.error($$SELECT idem_pay('required', 10)$$);
\setenv PGOPTIONS
\c :here :me
GRANT SET ON PARAMETER idempotency.require_scope TO regress_idem_scope;
\c :here regress_idem_scope
SET idempotency.require_scope = off;
SELECT replayed FROM idem_pay('required', 10);

-- Every function with a scope asks for it. Listed is what does something else.
\c :here :me
SET idempotency.require_scope = on;
CREATE FUNCTION pg_temp.call(function regprocedure) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
	call text;
	answer text;
BEGIN
	SELECT format('SELECT %s(%s)', p.oid::regproc, string_agg(
		CASE p.proargnames[a.n] WHEN 'scope' THEN 'NULL' WHEN 'declines' THEN quote_literal('raise')
			ELSE quote_literal(CASE a.type
				WHEN 'text' THEN 'scopeless' WHEN 'text[]' THEN '{scopeless}' WHEN 'numeric[]' THEN '{10}'
				WHEN 'uuid[]' THEN '{00000000-0000-7000-8000-000000000000}' WHEN 'boolean[]' THEN '{true}'
				WHEN 'anycompatiblearray' THEN '{}' WHEN 'idem_entry[]' THEN '{}' WHEN 'uuid' THEN '00000000-0000-7000-8000-000000000000' WHEN 'interval' THEN '1 day' WHEN 'boolean' THEN 'true'
				WHEN 'timestamp with time zone' THEN '2026-01-01 00:00:00Z'
				WHEN 'numeric' THEN '10' WHEN 'integer' THEN '1' WHEN 'bigint' THEN '1' ELSE '[]' END) END
			|| CASE WHEN a.type LIKE 'any%' THEN '' ELSE '::' || a.type END, ', ' ORDER BY a.n))
	INTO call
	FROM pg_proc p, LATERAL (SELECT n, format_type(t, NULL) AS type FROM unnest(p.proargtypes::oid[]) WITH ORDINALITY u (t, n)) a
	WHERE p.oid = function GROUP BY p.oid;
	EXECUTE call;
	RETURN 'no error';
EXCEPTION WHEN OTHERS THEN
	GET STACKED DIAGNOSTICS answer = PG_EXCEPTION_DETAIL;
	RETURN SQLSTATE || ' ' || answer;
END
$$;
SELECT p.oid::regprocedure AS function, c.answer
FROM pg_proc p
JOIN pg_depend d ON d.classid = 'pg_proc'::regclass AND d.objid = p.oid AND d.deptype = 'e'
JOIN pg_extension e ON d.refclassid = 'pg_extension'::regclass AND d.refobjid = e.oid AND e.extname = 'idempotency',
	pg_temp.call(p.oid) AS c (answer)
WHERE 'scope' = ANY (p.proargnames[:p.pronargs]) AND c.answer <> '22004 The setting "idempotency.require_scope" is on.'
ORDER BY 1;
SELECT count(*) > 12 AS looked_at_them FROM pg_proc WHERE proname LIKE 'idem\_%' AND 'scope' = ANY (proargnames);
RESET idempotency.require_scope;

SELECT count(*) FROM idempotency.operation WHERE key = 'scopeless';
SELECT scope, count(*) FROM idempotency.operation WHERE key = 'required' GROUP BY scope ORDER BY scope;
REVOKE SET ON PARAMETER idempotency.require_scope FROM regress_idem_scope;
SELECT idem_revoke('regress_idem_scope');
DROP ROLE regress_idem_scope;
