-- Who installs the extension, and where: in a database whose schema idempotency is taken; by a role that leaves.
CREATE DATABASE regress_idem_install;
CREATE ROLE regress_idem_installer;
GRANT CREATE ON DATABASE regress_idem_install TO regress_idem_installer;
SELECT current_database() AS here \gset
\c regress_idem_install
\getenv srcdir PG_ABS_SRCDIR
\set include :srcdir '/include/error.psql'
\i :include

-- The schema's name is taken: the error says what to do, for a superuser and for others, whatever the schema of the
-- functions. Nothing is left behind.
CREATE SCHEMA idempotency;
CREATE TABLE idempotency.record (key text);
CREATE FUNCTION idempotency.keys() RETURNS bigint LANGUAGE plpgsql AS 'BEGIN RETURN (SELECT count(*) FROM idempotency.record); END';
SELECT pg_temp.error('CREATE EXTENSION idempotency');
SELECT pg_temp.error('CREATE EXTENSION idempotency SCHEMA idempotency');
SET ROLE regress_idem_installer;
CREATE SCHEMA billing;
SELECT pg_temp.error('CREATE EXTENSION idempotency SCHEMA billing');
-- no function of the installer's is run in its place
CREATE FUNCTION billing.idem_check_schema(really boolean DEFAULT true) RETURNS void LANGUAGE plpgsql AS 'BEGIN RAISE ''as %'', current_user; END';
SELECT split_part(pg_temp.error('CREATE EXTENSION idempotency SCHEMA billing'), E'\n', 1) AS error;
CREATE FUNCTION billing.idem_check_schema() RETURNS void LANGUAGE plpgsql AS 'BEGIN RAISE ''as %'', current_user; END';
SELECT pg_temp.error('CREATE EXTENSION idempotency SCHEMA billing');
DROP FUNCTION billing.idem_check_schema();
DROP FUNCTION billing.idem_check_schema(boolean);
RESET ROLE;
SELECT proname FROM pg_proc WHERE proname ~ '^idem_';

-- The way out: the schema is renamed, and so is what spells its name.
ALTER SCHEMA idempotency RENAME TO old_idempotency;
SET ROLE regress_idem_installer;
CREATE EXTENSION idempotency SCHEMA billing;
SELECT replayed FROM billing.idem_pay('installed', 10);
RESET ROLE;
SELECT pg_temp.error('SELECT old_idempotency.keys()');
CREATE OR REPLACE FUNCTION old_idempotency.keys() RETURNS bigint LANGUAGE plpgsql AS 'BEGIN RETURN (SELECT count(*) FROM old_idempotency.record); END';
SELECT old_idempotency.keys();
SELECT proname FROM pg_proc WHERE proname = 'idem_check_schema';

-- The script runs as a superuser, with the installer's schema in its search path. So nothing that it makes may use an
-- operator or function which the installer has put there. An operator of the very types beats one of pg_catalog that
-- needs a cast, so there is one for each pair of types.
CREATE DATABASE regress_idem_traps;
GRANT CREATE ON DATABASE regress_idem_traps TO regress_idem_installer;
\c regress_idem_traps
SET ROLE regress_idem_installer;
CREATE SCHEMA traps;
DO $do$
DECLARE
	types regtype[] := '{int2,int4,int8,numeric,float8,text,varchar,name,"char",bool,timestamptz,timestamp,date,interval,uuid,json,jsonb,bytea,oid,regclass}';
	body text := $$RETURNS bool LANGUAGE plpgsql AS 'BEGIN RAISE ''a trap''; END'$$;
	a regtype;
	b regtype;
	o text;
BEGIN
	FOREACH a IN ARRAY types LOOP
		FOREACH b IN ARRAY types LOOP
			EXECUTE format('CREATE FUNCTION traps.trap(%s, %s) %s', a, b, body);
			FOREACH o IN ARRAY '{=,<>,<,<=,>,>=,+,-,*,/,%,||,~,^@}'::text[] LOOP
				CONTINUE WHEN EXISTS (SELECT FROM pg_operator
					WHERE oprname = o AND oprleft = a AND oprright = b AND oprnamespace = 'pg_catalog'::regnamespace);
				EXECUTE format('CREATE OPERATOR traps.%s (LEFTARG = %s, RIGHTARG = %s, FUNCTION = traps.trap)', o, a, b);
			END LOOP;
		END LOOP;
		FOREACH o IN ARRAY '{max,min,sum,count,lower,upper,format,scale,isfinite,octet_length,abs,statement_timestamp}'::text[] LOOP
			EXECUTE format('CREATE FUNCTION traps.%I(%s) %s', o, a, body);
		END LOOP;
	END LOOP;
END
$do$;
CREATE EXTENSION idempotency SCHEMA traps;
SELECT status FROM traps.idem_pay('trapped', 5);
RESET ROLE;
SELECT count(*) > 4000 AS many_traps FROM pg_operator WHERE oprnamespace = 'traps'::regnamespace;
SELECT pg_describe_object(d.classid, d.objid, d.objsubid) AS uses, pg_describe_object(d.refclassid, d.refobjid, 0) AS trap
FROM pg_depend d
WHERE d.classid <> 'pg_operator'::regclass
	AND (d.refclassid = 'pg_operator'::regclass AND d.refobjid IN (SELECT oid FROM pg_operator WHERE oprnamespace = 'traps'::regnamespace)
		OR d.refclassid = 'pg_proc'::regclass AND d.refobjid IN (SELECT oid FROM pg_proc WHERE pronamespace = 'traps'::regnamespace AND proname !~ '^idem_'));
SELECT count(*) FROM idempotency.payment;
SELECT count(*) FROM idempotency.movement;
SELECT count(*) FROM idempotency.request;
SELECT bool_and(ok) FROM traps.idem_check();
\c regress_idem_install
DROP DATABASE regress_idem_traps;

-- DROP OWNED BY the installer would drop all payments. After REASSIGN OWNED they stay, and so do the rights that
-- idem_grant() gave. Those that the installer gave by GRANT are gone.
CREATE ROLE regress_idem_app;
CREATE ROLE regress_idem_reader;
CREATE ROLE regress_idem_heir;
SET ROLE regress_idem_installer;
SELECT billing.idem_grant('regress_idem_app');
GRANT SELECT ON idempotency.payment TO regress_idem_reader;
RESET ROLE;
BEGIN;
DROP OWNED BY regress_idem_installer;
SELECT count(*) FROM pg_extension WHERE extname = 'idempotency';
SELECT to_regclass('idempotency.operation');
ROLLBACK;
REASSIGN OWNED BY regress_idem_installer TO regress_idem_heir;
DROP OWNED BY regress_idem_installer;
DROP ROLE regress_idem_installer;
SELECT extowner::regrole FROM pg_extension WHERE extname = 'idempotency';
SELECT replayed FROM billing.idem_pay('installed', 10);
SET ROLE regress_idem_app;
SELECT replayed FROM billing.idem_pay('application', 10);
RESET ROLE;
SELECT has_table_privilege('regress_idem_reader', 'idempotency.payment', 'SELECT') AS reader,
	has_table_privilege('regress_idem_heir', 'idempotency.payment', 'SELECT') AS heir;
DROP EXTENSION idempotency;

-- The same, if a superuser has installed the extension: the one that initdb made is spared.
CREATE ROLE regress_idem_superuser SUPERUSER;
SET ROLE regress_idem_superuser;
CREATE EXTENSION idempotency;
RESET ROLE;
SELECT replayed FROM idem_pay('superuser', 10);
BEGIN;
DROP OWNED BY regress_idem_superuser;
SELECT count(*) FROM pg_extension WHERE extname = 'idempotency';
ROLLBACK;
SELECT rolname AS initdb_made FROM pg_roles WHERE oid = 10 \gset
REASSIGN OWNED BY regress_idem_superuser TO :"initdb_made";
DROP OWNED BY regress_idem_superuser;
SELECT split_part(pg_temp.error(format('DROP OWNED BY %I', :'initdb_made')), ' ', 1) AS refused;
SELECT replayed FROM idem_pay('superuser', 10);
DROP EXTENSION idempotency;

\c :here
DROP DATABASE regress_idem_install;
DROP ROLE regress_idem_app, regress_idem_reader, regress_idem_heir, regress_idem_superuser;
