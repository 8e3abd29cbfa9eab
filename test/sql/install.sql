-- Who installs the extension, and where: a database whose schema idempotency is taken.
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
DROP EXTENSION idempotency;

\c :here
DROP DATABASE regress_idem_install;
DROP ROLE regress_idem_installer;
