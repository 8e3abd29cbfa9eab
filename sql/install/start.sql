-- The install script begins here. The Makefile makes one script of this file and the others of this folder, in its order.
-- The control file has the version.

-- Stop psql users who source this file instead of running CREATE EXTENSION.
\echo Use "CREATE EXTENSION idempotency" to load this file. \quit

-- If there is a schema of this name already, the error says what to do. A function in C raises it: no other language
-- has to be there. The script runs as a superuser, so it must not call a function of somebody else's. It cannot: CREATE
-- FUNCTION fails if there is the same function, and the call fails if it could also mean another one.
CREATE FUNCTION @extschema@.idem_check_schema()
RETURNS void
LANGUAGE C
AS 'MODULE_PATHNAME';
SELECT @extschema@.idem_check_schema();
DROP FUNCTION @extschema@.idem_check_schema();

CREATE SCHEMA idempotency;
COMMENT ON SCHEMA idempotency IS
	'data of the extension idempotency: operations of payments, holds, accounts, currencies and requests';

CREATE FUNCTION idempotency.table_changed()
RETURNS trigger
LANGUAGE C
AS 'MODULE_PATHNAME', 'idem_table_changed';
COMMENT ON FUNCTION idempotency.table_changed() IS
	'trigger that makes all sessions reread the rows that they cache of a table';

CREATE FUNCTION idempotency.shorten_call(internal)
RETURNS internal
LANGUAGE C STRICT
AS 'MODULE_PATHNAME', 'idem_shorten_call';
COMMENT ON FUNCTION idempotency.shorten_call(internal) IS
	'planner support function that removes trailing null arguments from a call';
