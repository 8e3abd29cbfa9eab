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

-- The types of the answers, as the extension idempotency has them.
CREATE TYPE @extschema@.idem_receipt AS (
	key				text COLLATE "C",
	payment_id		uuid,
	seq				integer,
	kind			text COLLATE "C",
	status			text COLLATE "C",
	amount			numeric,
	currency		text COLLATE "C",
	authorized		numeric,
	captured		numeric,
	refunded		numeric,
	capturable		numeric,
	refundable		numeric,
	from_account	text COLLATE "C",
	to_account		text COLLATE "C",
	from_seq		bigint,
	to_seq			bigint,
	legs			jsonb,
	reference		text,
	metadata		jsonb,
	expires_at		timestamptz,
	created_at		timestamptz,
	sqlstate		text COLLATE "C",
	message			text,
	replayed		boolean
);
COMMENT ON TYPE @extschema@.idem_receipt IS
	'answer of a payment function: the stored operation, and the state of the payment after it';

CREATE TYPE @extschema@.idem_entry AS (
	account			text COLLATE "C",
	amount			numeric
);
COMMENT ON TYPE @extschema@.idem_entry IS
	'what an account gets or, if it is negative, gives';

CREATE TYPE @extschema@.idem_account AS (
	name			text COLLATE "C",
	currency		text COLLATE "C",
	floor			numeric,
	ceiling			numeric,
	closed			boolean,
	metadata		jsonb,
	owner			text COLLATE "C",
	created_at		timestamptz
);
COMMENT ON TYPE @extschema@.idem_account IS
	'an account with its limits';

CREATE TYPE @extschema@.idem_request AS (
	key				text COLLATE "C",
	status			text COLLATE "C",
	attempt			integer,
	response		json,
	checkpoint		text,
	checkpoint_data	json,
	lease_until		timestamptz,
	begun_at		timestamptz,
	created_at		timestamptz,
	expires_at		timestamptz
);
COMMENT ON TYPE @extschema@.idem_request IS
	'state of a request';

