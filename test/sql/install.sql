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
