-- Rights: which roles may call the functions, and which may see a key.
CREATE ROLE regress_idem_app;
CREATE ROLE regress_idem_other;
CREATE ROLE regress_idem_team;
CREATE ROLE regress_idem_auditor;
CREATE ROLE regress_idem_cron;
GRANT regress_idem_app TO regress_idem_team;

-- a role without rights can do nothing
SET ROLE regress_idem_app;
SELECT * FROM idem_pay('role', 50);
SELECT * FROM idem_lookup('role');
SELECT * FROM idem_payment('00000000-0000-7000-8000-000000000000');
SELECT idem_grant('regress_idem_app');
SELECT idem_revoke('regress_idem_app');
SELECT * FROM idempotency.operation;
RESET ROLE;

-- PUBLIC may execute only what is listed here
SELECT p.oid::regprocedure AS open_to_public FROM pg_depend d JOIN pg_proc p ON p.oid = d.objid
WHERE d.refclassid = 'pg_extension'::regclass AND d.deptype = 'e' AND d.classid = 'pg_proc'::regclass
	AND d.refobjid = (SELECT oid FROM pg_extension WHERE extname = 'idempotency')
	AND has_function_privilege('regress_idem_app', p.oid, 'EXECUTE');

-- idem_grant gives an application the functions, and no table
SELECT idem_grant('regress_idem_app');
SELECT idem_grant('regress_idem_other');
SELECT idem_grant('regress_idem_team');
SELECT idem_grant('regress_idem_team');
SELECT p.oid::regprocedure AS granted FROM pg_proc p
WHERE has_function_privilege('regress_idem_app', p.oid, 'EXECUTE') AND p.proname LIKE 'idem%' ORDER BY 1;
SELECT c.oid::regclass AS table_rights FROM pg_class c
WHERE c.relnamespace = 'idempotency'::regnamespace AND c.relkind IN ('r', 'v')
	AND has_table_privilege('regress_idem_app', c.oid, 'SELECT, INSERT, UPDATE, DELETE, TRUNCATE, REFERENCES, TRIGGER');
SELECT has_schema_privilege('regress_idem_app', 'idempotency', 'USAGE, CREATE') AS schema_rights;

-- idem_grant gives other rights for maintenance and to auditors
SELECT idem_grant('regress_idem_cron', 'maintenance');
SELECT idem_grant('regress_idem_auditor', kind => 'auditor');
SELECT idem_grant('regress_idem_app', NULL);
SELECT idem_grant('regress_idem_app', 'Auditor');
SELECT kind, p.oid::regprocedure AS granted
FROM pg_proc p, (VALUES ('maintenance', 'regress_idem_cron'), ('auditor', 'regress_idem_auditor')) AS r(kind, role)
WHERE has_function_privilege(role, p.oid, 'EXECUTE') AND p.proname LIKE 'idem%' ORDER BY 1, 2;
SELECT kind, c.oid::regclass AS table_rights, has_table_privilege(role, c.oid, 'SELECT') AS reads,
	has_table_privilege(role, c.oid, 'INSERT, UPDATE, DELETE, TRUNCATE, REFERENCES, TRIGGER, SELECT WITH GRANT OPTION') AS more
FROM pg_class c, (VALUES ('maintenance', 'regress_idem_cron'), ('auditor', 'regress_idem_auditor')) AS r(kind, role)
WHERE c.relnamespace = 'idempotency'::regnamespace AND c.relkind IN ('r', 'v')
	AND has_any_column_privilege(role, c.oid, 'SELECT, INSERT, UPDATE') ORDER BY 1, 2;
SET ROLE regress_idem_auditor;
SELECT count(*) FROM idem_check() WHERE NOT ok;
SELECT count(*) >= 0 AS reads FROM idempotency.payment;
SELECT idem_expire();
SET ROLE regress_idem_cron;
SELECT idem_expire() >= 0 AS expires, idem_purge() >= 0 AS purges;
SELECT idem_check();
RESET ROLE;
-- functions that no kind of rights has
SELECT p.oid::regprocedure AS not_by_idem_grant FROM pg_depend d JOIN pg_proc p ON p.oid = d.objid
WHERE d.refclassid = 'pg_extension'::regclass AND d.deptype = 'e' AND d.classid = 'pg_proc'::regclass
	AND d.refobjid = (SELECT oid FROM pg_extension WHERE extname = 'idempotency')
	AND p.pronamespace <> 'idempotency'::regnamespace
	AND NOT EXISTS (SELECT FROM (VALUES ('regress_idem_app'), ('regress_idem_cron'), ('regress_idem_auditor')) AS r(role)
		WHERE has_function_privilege(role, p.oid, 'EXECUTE'));

-- another role's key: ID403, whatever was asked for
SET ROLE regress_idem_app;
SELECT amount, replayed FROM idem_pay('role', 50, reference => 'secret');
SELECT amount, replayed FROM idem_pay('role', 50, reference => 'secret');
SELECT * FROM idempotency.operation;
SET ROLE regress_idem_other;
SELECT * FROM idem_pay('role', 50, reference => 'secret');
SELECT * FROM idem_pay('role', 51);
SELECT * FROM idem_lookup('role');
\set VERBOSITY sqlstate
SELECT * FROM idem_lookup('role');
\set VERBOSITY default
RESET ROLE;
SELECT payment_id FROM idem_lookup('role') \gset
SET ROLE regress_idem_other;
SELECT * FROM idem_payment(:'payment_id');
SELECT amount, replayed FROM idem_pay('role', 50, scope => 'other');

-- a role with the privileges of the key's role gets the answer
SET ROLE regress_idem_team;
SELECT amount, replayed FROM idem_pay('role', 50, reference => 'secret');
SELECT amount FROM idem_lookup('role');
SELECT amount FROM idem_payment(:'payment_id');
SELECT amount, replayed FROM idem_pay('team', 50);
-- the key's role does not get the answers of such a role
SET ROLE regress_idem_app;
SELECT amount FROM idem_lookup('team');
RESET ROLE;

-- a superuser may see every key; the row has the role that made it
SELECT key, amount FROM idem_lookup('team');
SELECT scope, key, role FROM idempotency.operation WHERE key IN ('role', 'team') ORDER BY role;

-- inside a SECURITY DEFINER function, the key belongs to the function's owner
CREATE FUNCTION pay_as_owner(key text) RETURNS boolean LANGUAGE sql SECURITY DEFINER
	SET search_path = public, pg_temp AS 'SELECT replayed FROM idem_pay(key, 50)';
ALTER FUNCTION pay_as_owner OWNER TO regress_idem_app;
SET ROLE regress_idem_other;
SELECT pay_as_owner('by-owner');
SELECT pay_as_owner('by-owner');
SELECT * FROM idem_lookup('by-owner');
RESET ROLE;
DROP FUNCTION pay_as_owner;

-- the key's role was dropped: only a superuser may see the key
CREATE ROLE regress_idem_gone;
SELECT idem_grant('regress_idem_gone');
SET ROLE regress_idem_gone;
SELECT replayed FROM idem_pay('gone', 50);
RESET ROLE;
SELECT idem_revoke('regress_idem_gone');
DROP ROLE regress_idem_gone;
SELECT replayed FROM idem_pay('gone', 50);
SET ROLE regress_idem_app;
SELECT replayed FROM idem_pay('gone', 50);
RESET ROLE;

-- an auditor may read the table
SET ROLE regress_idem_auditor;
SELECT key, amount FROM idempotency.operation WHERE key = 'role' AND scope = '';
DELETE FROM idempotency.operation;
SELECT idem_lookup('role');
RESET ROLE;

-- whoever monitors sees what goes on, and nothing that is stored
CREATE ROLE regress_idem_monitor;
SELECT idem_grant('regress_idem_monitor', 'monitor');
SET ROLE regress_idem_monitor;
SELECT count(*) >= 0 AS seen FROM idempotency.activity;
SELECT key, amount FROM idempotency.operation;
SELECT idem_stat_reset();
RESET ROLE;
SELECT idem_revoke('regress_idem_monitor');
DROP ROLE regress_idem_monitor;

-- idem_revoke revokes all of it
SELECT idem_revoke('regress_idem_app');
SET ROLE regress_idem_app;
SELECT * FROM idem_lookup('role');
RESET ROLE;
SELECT idem_revoke('regress_idem_app');
SELECT idem_revoke('regress_idem_auditor');
SELECT idem_revoke('regress_idem_cron');
SELECT idem_grant(NULL);
SELECT idem_revoke(NULL);
SELECT idem_grant('regress_idem_nobody');
SELECT idem_grant('-');
SELECT idem_grant(1);
SELECT idem_revoke('-');

-- names that need quotes, and a search_path with traps
CREATE ROLE "regress_idem ""quoted""";
CREATE SCHEMA trap;
CREATE FUNCTION trap.format(text, VARIADIC "any") RETURNS text LANGUAGE internal AS 'text_format';
CREATE FUNCTION trap.has_schema_privilege(regrole, name, text) RETURNS boolean LANGUAGE plpgsql AS
	'BEGIN RAISE EXCEPTION ''trapped''; END';
CREATE OPERATOR trap.= (LEFTARG = text, RIGHTARG = text, FUNCTION = pg_catalog.textne);
CREATE TABLE trap.operation (payment_id integer);
SET search_path = trap, pg_catalog, public;
SELECT public.idem_grant('"regress_idem ""quoted"""');
SET ROLE "regress_idem ""quoted""";
SELECT replayed FROM public.idem_pay('trapped', 50);
SELECT replayed FROM public.idem_pay('trapped', 50);
RESET ROLE;
SELECT public.idem_revoke('"regress_idem ""quoted"""');
RESET search_path;
SELECT key, role FROM idempotency.operation WHERE key = 'trapped';
DROP SCHEMA trap CASCADE;

-- idem_grant gives USAGE on the schema of the functions
BEGIN;
DROP EXTENSION idempotency;
CREATE SCHEMA closed;
CREATE EXTENSION idempotency SCHEMA closed;
SELECT closed.idem_grant('regress_idem_app');
SET LOCAL ROLE regress_idem_app;
SELECT amount, replayed FROM closed.idem_pay('closed', 50);
ROLLBACK;

SELECT idem_revoke('regress_idem_other');
SELECT idem_revoke('regress_idem_team');
DROP ROLE regress_idem_app, regress_idem_other, regress_idem_team, regress_idem_auditor, regress_idem_cron, "regress_idem ""quoted""";
