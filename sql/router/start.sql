-- The install script of the router begins here. The Makefile makes one script of the files of this folder, in its order.
--
-- A router is a database without data. It has the functions of the extension idempotency, and each passes its call on to
-- the partition that has the scope. PL/Proxy does that: a function in its language says where to run, and what.
--
-- Each public function is in the schema of the extension, and in PL/pgSQL. It finds the scope and the partition, and calls
-- the function of the same name in the schema idempotency_router, which is PL/Proxy's. If that fails, it raises the
-- partition's error as its own: see errors.sql.

-- Stop psql users who source this file instead of running CREATE EXTENSION.
\echo Use "CREATE EXTENSION idempotency_router CASCADE" to load this file. \quit

DO $do$
BEGIN
	IF EXISTS (SELECT FROM pg_catalog.pg_extension WHERE extname OPERATOR(pg_catalog.=) 'idempotency') THEN
		RAISE EXCEPTION 'this database keeps payments itself, so it cannot be a router'
			USING ERRCODE = 'object_not_in_prerequisite_state',
				DETAIL = 'The extension "idempotency" is installed in this database.',
				HINT = 'Create the router in a database of its own.';
	END IF;
END
$do$;

CREATE SCHEMA idempotency_router;
COMMENT ON SCHEMA idempotency_router IS
	'what the functions of the extension idempotency_router are made of';

