-- The install script. The control file has the version.

-- Stop psql users who source this file instead of running CREATE EXTENSION.
\echo Use "CREATE EXTENSION idempotency" to load this file. \quit

------------------------------------------------------------------------------
-- Data
------------------------------------------------------------------------------

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
	'data of the extension idempotency: operations of payments, holds, currencies and requests';

-- One row for each keyed operation. The functions insert rows and never update them.
-- The table has no CHECK, foreign key or trigger: each of them would cost a good part
-- of a whole call, and the functions check what they write. Columns of fixed width
-- come first, so that there is no padding between columns. The unique index starts
-- with the key: one comparison then tells two rows apart, which saves a tenth of a
-- whole call. The primary key starts with the scope, to list the payments of a tenant
-- in the order of time.
CREATE TABLE idempotency.operation (
	payment_id		uuid NOT NULL,
	created_at		timestamptz NOT NULL,
	seq				integer NOT NULL,
	whole			boolean NOT NULL DEFAULT false,
	final			boolean,
	expired			boolean,
	prolonged		boolean,
	scope			text COLLATE "C" NOT NULL,
	key				text COLLATE "C" NOT NULL,
	kind			text COLLATE "C" NOT NULL,
	amount			numeric NOT NULL,
	currency		text COLLATE "C",
	authorized		numeric NOT NULL,
	captured		numeric NOT NULL,
	released		numeric NOT NULL,
	refunded		numeric NOT NULL,
	from_account	text COLLATE "C",
	to_account		text COLLATE "C",
	reference		text,
	metadata		jsonb,
	expires_at		timestamptz,
	role			text COLLATE "C" NOT NULL,
	owner			text COLLATE "C",
	sqlstate		text COLLATE "C",
	message			text,
	PRIMARY KEY (scope, payment_id, seq),
	UNIQUE (key, scope)
);
COMMENT ON TABLE idempotency.operation IS
	'one immutable row for each keyed operation of a payment';
COMMENT ON COLUMN idempotency.operation.payment_id IS
	'ID of the payment that the operation belongs to, a UUID of version 7';
COMMENT ON COLUMN idempotency.operation.created_at IS
	'time of the operation, by the clock and not the start of its transaction';
COMMENT ON COLUMN idempotency.operation.seq IS
	'number of the operation within its payment, from 1';
COMMENT ON COLUMN idempotency.operation.whole IS
	'true if the request meant all that was left, and so had no amount of its own';
COMMENT ON COLUMN idempotency.operation.final IS
	'of a capture: true if the request was to release the rest of the hold';
COMMENT ON COLUMN idempotency.operation.expired IS
	'true if this operation or an earlier one released the hold because it had expired';
COMMENT ON COLUMN idempotency.operation.prolonged IS
	'of an increase: true if the request was to let the hold expire later';
COMMENT ON COLUMN idempotency.operation.scope IS
	'namespace of the key, empty by default';
COMMENT ON COLUMN idempotency.operation.key IS
	'idempotency key, unique in its scope';
COMMENT ON COLUMN idempotency.operation.kind IS
	'kind of the operation: pay, authorize, increase, capture, void, refund, reversal or expire; cancel if the key was cancelled before it was used';
COMMENT ON COLUMN idempotency.operation.amount IS
	'amount of the operation in the major unit of the currency; the requested amount if the operation was declined';
COMMENT ON COLUMN idempotency.operation.currency IS
	'code of the currency, from ISO 4217 or the table idempotency.currency; null if the key was cancelled before it was used';
COMMENT ON COLUMN idempotency.operation.authorized IS
	'total authorized for the payment, after the operation';
COMMENT ON COLUMN idempotency.operation.captured IS
	'total captured of what was authorized, after the operation';
COMMENT ON COLUMN idempotency.operation.released IS
	'total released of what was authorized, after the operation';
COMMENT ON COLUMN idempotency.operation.refunded IS
	'total refunded of what was captured, after the operation';
COMMENT ON COLUMN idempotency.operation.from_account IS
	'account that the money comes from, or null';
COMMENT ON COLUMN idempotency.operation.to_account IS
	'account that the money goes to, or null';
COMMENT ON COLUMN idempotency.operation.reference IS
	'text that the caller gave, such as an order number';
COMMENT ON COLUMN idempotency.operation.metadata IS
	'other data that the caller gave';
COMMENT ON COLUMN idempotency.operation.expires_at IS
	'when the hold expires, or null if there is none';
COMMENT ON COLUMN idempotency.operation.role IS
	'name of the role that made the operation; of an expire, the role that started the payment';
COMMENT ON COLUMN idempotency.operation.owner IS
	'name of the role that started the payment, or null if the column role has it';
COMMENT ON COLUMN idempotency.operation.sqlstate IS
	'SQLSTATE of the refusal, or null if the operation was not declined';
COMMENT ON COLUMN idempotency.operation.message IS
	'message of the refusal, or null if the operation was not declined';

-- The authorizations in the order in which they are due. idem_expire() deletes their
-- rows. An index of the table above would do, but it would cost payments without a
-- hold, too.
CREATE TABLE idempotency.hold (
	due_at			timestamptz NOT NULL,
	expires_at		timestamptz NOT NULL,
	payment_id		uuid NOT NULL,
	scope			text COLLATE "C" NOT NULL,
	key				text COLLATE "C" NOT NULL,
	PRIMARY KEY (due_at, payment_id, scope)
);
COMMENT ON TABLE idempotency.hold IS
	'authorizations whose holds idem_expire() releases when they expire';
COMMENT ON COLUMN idempotency.hold.due_at IS
	'when idem_expire() looks at the hold next: when the hold expires, or later if it could not be released then';
COMMENT ON COLUMN idempotency.hold.expires_at IS
	'when the hold expires';
COMMENT ON COLUMN idempotency.hold.payment_id IS
	'ID of the payment';
COMMENT ON COLUMN idempotency.hold.scope IS
	'scope of the payment';
COMMENT ON COLUMN idempotency.hold.key IS
	'key of the authorization';

CREATE TABLE idempotency.currency (
	code			text COLLATE "C" PRIMARY KEY
					CHECK (code ~ '^[A-Z0-9]{3,12}$'),
	exponent		smallint NOT NULL
					CHECK (exponent BETWEEN 0 AND 18)
);
COMMENT ON TABLE idempotency.currency IS
	'currencies that are added to those of ISO 4217 or replace them; those of ISO 4217 are built in';
COMMENT ON COLUMN idempotency.currency.code IS
	'code of the currency, of 3 to 12 capital letters and digits';
COMMENT ON COLUMN idempotency.currency.exponent IS
	'number of decimals, from 0 to 18';

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

-- The table has one row, or none before the first purge.
CREATE TABLE idempotency.request_purge (
	purged_until	timestamptz PRIMARY KEY
);
COMMENT ON TABLE idempotency.request_purge IS
	'how far requests have been purged; the clock of requests never goes back before that time';
COMMENT ON COLUMN idempotency.request_purge.purged_until IS
	'time of the last purge that removed a row';

CREATE FUNCTION idempotency.table_changed()
RETURNS trigger
LANGUAGE C
AS 'MODULE_PATHNAME', 'idem_table_changed';
COMMENT ON FUNCTION idempotency.table_changed() IS
	'trigger that makes all sessions reread the rows that they cache of a table';

-- The triggers also fire for logical replication. It fires only triggers that are
-- enabled ALWAYS: row triggers, and the statement triggers of TRUNCATE.
CREATE TRIGGER currency_changed
	AFTER INSERT OR UPDATE OR DELETE ON idempotency.currency
	FOR EACH ROW EXECUTE FUNCTION idempotency.table_changed();
CREATE TRIGGER currency_truncated
	AFTER TRUNCATE ON idempotency.currency
	FOR EACH STATEMENT EXECUTE FUNCTION idempotency.table_changed();
ALTER TABLE idempotency.currency ENABLE ALWAYS TRIGGER currency_changed;
ALTER TABLE idempotency.currency ENABLE ALWAYS TRIGGER currency_truncated;

CREATE TRIGGER request_purged
	AFTER INSERT OR UPDATE OR DELETE ON idempotency.request_purge
	FOR EACH ROW EXECUTE FUNCTION idempotency.table_changed();
ALTER TABLE idempotency.request_purge ENABLE ALWAYS TRIGGER request_purged;

SELECT pg_catalog.pg_extension_config_dump('idempotency.operation', '');
SELECT pg_catalog.pg_extension_config_dump('idempotency.hold', '');
SELECT pg_catalog.pg_extension_config_dump('idempotency.currency', '');
SELECT pg_catalog.pg_extension_config_dump('idempotency.request_0', '');
SELECT pg_catalog.pg_extension_config_dump('idempotency.request_1', '');
SELECT pg_catalog.pg_extension_config_dump('idempotency.request_2', '');
SELECT pg_catalog.pg_extension_config_dump('idempotency.request_purge', '');

------------------------------------------------------------------------------
-- Payments
------------------------------------------------------------------------------

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
	reference		text,
	metadata		jsonb,
	expires_at		timestamptz,
	created_at		timestamptz,
	sqlstate		text COLLATE "C",
	message			text,
	replayed		boolean
);
COMMENT ON TYPE @extschema@.idem_receipt IS
	'stored answer to a keyed operation of a payment';
COMMENT ON COLUMN @extschema@.idem_receipt.key IS 'idempotency key';
COMMENT ON COLUMN @extschema@.idem_receipt.payment_id IS 'ID of the payment that the operation belongs to';
COMMENT ON COLUMN @extschema@.idem_receipt.seq IS 'number of the operation within its payment, from 1';
COMMENT ON COLUMN @extschema@.idem_receipt.kind IS 'kind of the operation: pay, authorize, increase, capture, void, refund, reversal or expire; cancel if the key was cancelled before it was used';
COMMENT ON COLUMN @extschema@.idem_receipt.status IS 'state of the payment after the operation: authorized, partially_captured, succeeded, voided, expired, partially_refunded or refunded; or of the operation: declined or cancelled';
COMMENT ON COLUMN @extschema@.idem_receipt.amount IS 'amount of the operation, in the major unit of the currency';
COMMENT ON COLUMN @extschema@.idem_receipt.currency IS 'code of the currency';
COMMENT ON COLUMN @extschema@.idem_receipt.authorized IS 'total authorized for the payment, after the operation';
COMMENT ON COLUMN @extschema@.idem_receipt.captured IS 'total captured of what was authorized, after the operation';
COMMENT ON COLUMN @extschema@.idem_receipt.refunded IS 'total refunded of what was captured, after the operation';
COMMENT ON COLUMN @extschema@.idem_receipt.capturable IS 'amount that can still be captured';
COMMENT ON COLUMN @extschema@.idem_receipt.refundable IS 'amount that can still be refunded';
COMMENT ON COLUMN @extschema@.idem_receipt.from_account IS 'account that the money comes from, or null';
COMMENT ON COLUMN @extschema@.idem_receipt.to_account IS 'account that the money goes to, or null';
COMMENT ON COLUMN @extschema@.idem_receipt.reference IS 'text that the caller gave';
COMMENT ON COLUMN @extschema@.idem_receipt.metadata IS 'other data that the caller gave';
COMMENT ON COLUMN @extschema@.idem_receipt.expires_at IS 'when the hold expires, or null if there is none';
COMMENT ON COLUMN @extschema@.idem_receipt.created_at IS 'time of the operation';
COMMENT ON COLUMN @extschema@.idem_receipt.sqlstate IS 'SQLSTATE of the refusal, or null if the operation was not declined';
COMMENT ON COLUMN @extschema@.idem_receipt.message IS 'message of the refusal, or null if the operation was not declined';
COMMENT ON COLUMN @extschema@.idem_receipt.replayed IS 'true if an earlier call stored the receipt and this call did nothing';

CREATE FUNCTION idempotency.shorten_call(internal)
RETURNS internal
LANGUAGE C STRICT
AS 'MODULE_PATHNAME', 'idem_shorten_call';
COMMENT ON FUNCTION idempotency.shorten_call(internal) IS
	'planner support function that removes trailing null arguments from a call';

CREATE FUNCTION @extschema@.idem_pay(
	key text,
	amount numeric,
	currency text DEFAULT NULL,
	from_account text DEFAULT NULL,
	to_account text DEFAULT NULL,
	reference text DEFAULT NULL,
	metadata anycompatible DEFAULT NULL::text,
	scope text DEFAULT NULL)
RETURNS @extschema@.idem_receipt
LANGUAGE C VOLATILE PARALLEL UNSAFE SUPPORT idempotency.shorten_call
AS 'MODULE_PATHNAME';
COMMENT ON FUNCTION @extschema@.idem_pay(text, numeric, text, text, text, text, anycompatible, text) IS
	'pays an amount, once per key; a repeated call returns the same receipt';

CREATE FUNCTION @extschema@.idem_authorize(
	key text,
	amount numeric,
	currency text DEFAULT NULL,
	from_account text DEFAULT NULL,
	to_account text DEFAULT NULL,
	expires_in interval DEFAULT '7 days',
	reference text DEFAULT NULL,
	metadata anycompatible DEFAULT NULL::text,
	scope text DEFAULT NULL)
RETURNS @extschema@.idem_receipt
LANGUAGE C VOLATILE PARALLEL UNSAFE SUPPORT idempotency.shorten_call
AS 'MODULE_PATHNAME';
COMMENT ON FUNCTION @extschema@.idem_authorize(text, numeric, text, text, text, interval, text, anycompatible, text) IS
	'holds an amount to be captured before the hold expires, once per key';

CREATE FUNCTION @extschema@.idem_increase(
	key text,
	payment_id uuid,
	amount numeric DEFAULT 0,
	expires_in interval DEFAULT NULL,
	reference text DEFAULT NULL,
	metadata anycompatible DEFAULT NULL::text,
	scope text DEFAULT NULL,
	currency text DEFAULT NULL,
	declines text DEFAULT NULL)
RETURNS @extschema@.idem_receipt
LANGUAGE C VOLATILE PARALLEL UNSAFE SUPPORT idempotency.shorten_call
AS 'MODULE_PATHNAME';
COMMENT ON FUNCTION @extschema@.idem_increase(text, uuid, numeric, interval, text, anycompatible, text, text, text) IS
	'raises a payment''s hold by an amount, lets it expire later, or both, once per key';

CREATE FUNCTION @extschema@.idem_capture(
	key text,
	payment_id uuid,
	amount numeric DEFAULT 'Infinity',
	final boolean DEFAULT true,
	reference text DEFAULT NULL,
	metadata anycompatible DEFAULT NULL::text,
	scope text DEFAULT NULL,
	currency text DEFAULT NULL,
	declines text DEFAULT NULL)
RETURNS @extschema@.idem_receipt
LANGUAGE C VOLATILE PARALLEL UNSAFE SUPPORT idempotency.shorten_call
AS 'MODULE_PATHNAME';
COMMENT ON FUNCTION @extschema@.idem_capture(text, uuid, numeric, boolean, text, anycompatible, text, text, text) IS
	'captures all or part of a payment''s hold, once per key, and releases the rest unless final is false';

CREATE FUNCTION @extschema@.idem_void(
	key text,
	payment_id uuid,
	reference text DEFAULT NULL,
	metadata anycompatible DEFAULT NULL::text,
	scope text DEFAULT NULL,
	currency text DEFAULT NULL,
	declines text DEFAULT NULL)
RETURNS @extschema@.idem_receipt
LANGUAGE C VOLATILE PARALLEL UNSAFE SUPPORT idempotency.shorten_call
AS 'MODULE_PATHNAME';
COMMENT ON FUNCTION @extschema@.idem_void(text, uuid, text, anycompatible, text, text, text) IS
	'releases what is left of a payment''s hold, once per key';

CREATE FUNCTION @extschema@.idem_refund(
	key text,
	payment_id uuid,
	amount numeric DEFAULT 'Infinity',
	reference text DEFAULT NULL,
	metadata anycompatible DEFAULT NULL::text,
	scope text DEFAULT NULL,
	currency text DEFAULT NULL,
	declines text DEFAULT NULL)
RETURNS @extschema@.idem_receipt
LANGUAGE C VOLATILE PARALLEL UNSAFE SUPPORT idempotency.shorten_call
AS 'MODULE_PATHNAME';
COMMENT ON FUNCTION @extschema@.idem_refund(text, uuid, numeric, text, anycompatible, text, text, text) IS
	'refunds all or part of what a payment captured, once per key';

CREATE FUNCTION @extschema@.idem_cancel(
	key text,
	scope text DEFAULT NULL)
RETURNS @extschema@.idem_receipt
LANGUAGE C VOLATILE PARALLEL UNSAFE SUPPORT idempotency.shorten_call
AS 'MODULE_PATHNAME';
COMMENT ON FUNCTION @extschema@.idem_cancel(text, text) IS
	'undoes the operation of a key, or makes sure that an unused key never has an effect';

CREATE FUNCTION @extschema@.idem_pay_batch(
	keys text[],
	amounts numeric[],
	currencies text[] DEFAULT NULL,
	refs text[] DEFAULT NULL,
	metadatas anycompatiblearray DEFAULT NULL::text[],
	scope text DEFAULT NULL)
RETURNS TABLE (
	item integer,
	key text,
	outcome text,
	payment_id uuid,
	status text,
	sqlstate text,
	message text,
	detail text)
LANGUAGE C VOLATILE PARALLEL UNSAFE SUPPORT idempotency.shorten_call
AS 'MODULE_PATHNAME';
COMMENT ON FUNCTION @extschema@.idem_pay_batch(text[], numeric[], text[], text[], anycompatiblearray, text) IS
	'makes many payments, each once per key, and returns the outcome of each in the order given';

CREATE FUNCTION @extschema@.idem_capture_batch(
	keys text[],
	payment_ids uuid[],
	amounts numeric[],
	final boolean DEFAULT true,
	refs text[] DEFAULT NULL,
	metadatas anycompatiblearray DEFAULT NULL::text[],
	scope text DEFAULT NULL,
	currencies text[] DEFAULT NULL,
	declines text DEFAULT NULL)
RETURNS TABLE (
	item integer,
	key text,
	outcome text,
	payment_id uuid,
	status text,
	sqlstate text,
	message text,
	detail text)
LANGUAGE C VOLATILE PARALLEL UNSAFE SUPPORT idempotency.shorten_call
AS 'MODULE_PATHNAME';
COMMENT ON FUNCTION @extschema@.idem_capture_batch(text[], uuid[], numeric[], boolean, text[], anycompatiblearray, text, text[], text) IS
	'captures many times, each once per key, and returns the outcome of each in the order given';

CREATE FUNCTION @extschema@.idem_refund_batch(
	keys text[],
	payment_ids uuid[],
	amounts numeric[],
	refs text[] DEFAULT NULL,
	metadatas anycompatiblearray DEFAULT NULL::text[],
	scope text DEFAULT NULL,
	currencies text[] DEFAULT NULL,
	declines text DEFAULT NULL)
RETURNS TABLE (
	item integer,
	key text,
	outcome text,
	payment_id uuid,
	status text,
	sqlstate text,
	message text,
	detail text)
LANGUAGE C VOLATILE PARALLEL UNSAFE SUPPORT idempotency.shorten_call
AS 'MODULE_PATHNAME';
COMMENT ON FUNCTION @extschema@.idem_refund_batch(text[], uuid[], numeric[], text[], anycompatiblearray, text, text[], text) IS
	'refunds many times, each once per key, and returns the outcome of each in the order given';

CREATE FUNCTION @extschema@.idem_lookup(
	key text,
	scope text DEFAULT NULL)
RETURNS SETOF @extschema@.idem_receipt
LANGUAGE C STABLE PARALLEL RESTRICTED ROWS 1 SUPPORT idempotency.shorten_call
AS 'MODULE_PATHNAME';
COMMENT ON FUNCTION @extschema@.idem_lookup(text, text) IS
	'returns the receipt stored under a key, or no row; writes nothing';

CREATE FUNCTION @extschema@.idem_payment(
	payment_id uuid,
	scope text DEFAULT NULL)
RETURNS @extschema@.idem_receipt
LANGUAGE C STABLE PARALLEL RESTRICTED SUPPORT idempotency.shorten_call
AS 'MODULE_PATHNAME';
COMMENT ON FUNCTION @extschema@.idem_payment(uuid, text) IS
	'returns the newest operation of a payment with the payment''s state as of now';

CREATE FUNCTION @extschema@.idem_history(
	payment_id uuid,
	scope text DEFAULT NULL)
RETURNS SETOF @extschema@.idem_receipt
LANGUAGE C STABLE PARALLEL RESTRICTED ROWS 5 SUPPORT idempotency.shorten_call
AS 'MODULE_PATHNAME';
COMMENT ON FUNCTION @extschema@.idem_history(uuid, text) IS
	'returns the receipts of all operations of a payment, in their order';

CREATE FUNCTION @extschema@.idem_payments(
	since timestamptz DEFAULT NULL,
	until timestamptz DEFAULT NULL,
	after uuid DEFAULT NULL,
	max integer DEFAULT 100,
	scope text DEFAULT NULL)
RETURNS SETOF @extschema@.idem_receipt
LANGUAGE C STABLE PARALLEL RESTRICTED ROWS 100 SUPPORT idempotency.shorten_call
AS 'MODULE_PATHNAME';
COMMENT ON FUNCTION @extschema@.idem_payments(timestamptz, timestamptz, uuid, integer, text) IS
	'returns the newest operation of each payment with the payment''s state as of now, in the order in which the payments were started, at most max of them';

CREATE FUNCTION idempotency.payment_status(
	kind text,
	authorized numeric,
	captured numeric,
	released numeric,
	refunded numeric,
	expires_at timestamptz,
	expired boolean,
	at timestamptz)
RETURNS text
LANGUAGE C IMMUTABLE PARALLEL SAFE
AS 'MODULE_PATHNAME', 'idem_payment_status';
COMMENT ON FUNCTION idempotency.payment_status(text, numeric, numeric, numeric, numeric, timestamptz, boolean, timestamptz) IS
	'computes the status of a payment with these totals, and a newest operation of this kind, at a time; reads no table, so anyone may call it';

-- A condition on scope and payment_id reaches the index, because they are the columns
-- of DISTINCT ON.
CREATE VIEW idempotency.payment WITH (security_invoker) AS
SELECT n.scope,
	n.payment_id,
	f.key,
	f.reference,
	f.metadata,
	idempotency.payment_status(n.kind, n.authorized, n.captured, n.released, n.refunded,
		n.expires_at, n.expired, pg_catalog.statement_timestamp()) AS status,
	n.currency,
	n.authorized,
	n.captured,
	n.released,
	n.refunded,
	CASE WHEN n.expires_at <= pg_catalog.statement_timestamp() THEN n.authorized - n.authorized
		ELSE n.authorized - n.captured - n.released END AS capturable,
	n.captured - n.refunded AS refundable,
	n.from_account,
	n.to_account,
	n.expires_at,
	f.created_at,
	n.created_at AS changed_at,
	coalesce(n.owner, n.role) AS owner
FROM (
	SELECT DISTINCT ON (o.scope, o.payment_id) o.*
	FROM idempotency.operation o
	WHERE o.sqlstate IS NULL AND o.kind <> 'cancel'
	ORDER BY o.scope, o.payment_id, o.seq DESC) n
LEFT JOIN idempotency.operation f ON f.scope = n.scope AND f.payment_id = n.payment_id AND f.seq = 1;
COMMENT ON VIEW idempotency.payment IS
	'state of each payment as of now';

-- What was held before an operation is in no column of its row: a capture that
-- releases the rest of a hold does not say how much that was. So the row before is
-- looked up. The planner leaves that out of queries that do not ask for "held".
CREATE VIEW idempotency.movement WITH (security_invoker) AS
SELECT o.scope,
	o.payment_id,
	o.seq,
	o.key,
	o.kind,
	o.created_at,
	o.currency,
	(o.authorized - o.captured - o.released) - coalesce(b.authorized - b.captured - b.released, 0) AS held,
	CASE
		WHEN o.kind IN ('pay', 'capture', 'reversal') THEN o.amount
		WHEN o.kind = 'refund' THEN -o.amount
		ELSE o.amount - o.amount
	END AS moved,
	o.from_account,
	o.to_account,
	o.reference,
	o.metadata,
	o.role,
	coalesce(o.owner, o.role) AS owner
FROM idempotency.operation o
LEFT JOIN idempotency.operation b ON b.scope = o.scope AND b.payment_id = o.payment_id AND b.seq = o.seq - 1
WHERE o.sqlstate IS NULL AND o.amount <> numeric '0';
COMMENT ON VIEW idempotency.movement IS
	'each change of what payments hold and have taken, in signed amounts';

CREATE FUNCTION @extschema@.idem_expire(max_holds integer DEFAULT 1000)
RETURNS integer
LANGUAGE C VOLATILE PARALLEL UNSAFE
AS 'MODULE_PATHNAME';
COMMENT ON FUNCTION @extschema@.idem_expire(integer) IS
	'looks at up to max_holds expired holds, releases what is left of them, and returns how many it looked at';

------------------------------------------------------------------------------
-- Requests
------------------------------------------------------------------------------

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
COMMENT ON COLUMN @extschema@.idem_request.key IS 'idempotency key';
COMMENT ON COLUMN @extschema@.idem_request.status IS 'status of the request: started, released, completed or failed';
COMMENT ON COLUMN @extschema@.idem_request.attempt IS 'number of the current attempt';
COMMENT ON COLUMN @extschema@.idem_request.response IS 'answer of the request, or null unless it is completed or failed';
COMMENT ON COLUMN @extschema@.idem_request.checkpoint IS 'name of the last checkpoint, or null';
COMMENT ON COLUMN @extschema@.idem_request.checkpoint_data IS 'data of the last checkpoint, or null';
COMMENT ON COLUMN @extschema@.idem_request.lease_until IS 'when the lease of the current attempt ends, or null if it has none';
COMMENT ON COLUMN @extschema@.idem_request.begun_at IS 'when the request was begun';
COMMENT ON COLUMN @extschema@.idem_request.created_at IS 'when the request last changed';
COMMENT ON COLUMN @extschema@.idem_request.expires_at IS 'when the request expires';

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

------------------------------------------------------------------------------
-- Checks
------------------------------------------------------------------------------

-- The function reads the table and no index: a damaged index must not hide a fault.
CREATE FUNCTION @extschema@.idem_check(
	OUT invariant text,
	OUT ok boolean,
	OUT detail text)
RETURNS SETOF record
LANGUAGE sql STABLE
SET search_path = pg_catalog, pg_temp
SET enable_indexscan = off
SET enable_indexonlyscan = off
SET enable_bitmapscan = off
SET row_security = off
AS $$
	WITH undone AS (
		SELECT c.scope, c.key, min(o.kind) AS kind, min(o.amount) AS amount
		FROM idempotency.operation c
		JOIN idempotency.operation o ON o.scope = c.scope AND 'idem_cancel:' || o.key = c.key
		WHERE c.key ^@ 'idem_cancel:' AND o.payment_id = c.payment_id AND o.seq < c.seq AND o.sqlstate IS NULL
		GROUP BY c.scope, c.key
	), step AS (
		SELECT o.*,
			o.sqlstate IS NOT NULL AS declined,
			count(*) OVER (PARTITION BY o.scope, o.key) AS uses,
			lag(o.seq) OVER payment AS old_seq,
			lag(o.currency) OVER payment AS old_currency,
			lag(o.expires_at) OVER payment AS old_expires_at,
			lag(o.expired) OVER payment AS old_expired,
			lead(o.seq) OVER payment AS next_seq,
			lag(o.from_account) OVER payment AS old_from_account,
			lag(o.to_account) OVER payment AS old_to_account,
			lag(coalesce(o.owner, o.role)) OVER payment AS old_owner,
			lag(o.authorized) OVER payment AS old_authorized,
			lag(o.captured) OVER payment AS old_captured,
			lag(o.released) OVER payment AS old_released,
			lag(o.refunded) OVER payment AS old_refunded,
			h.due_at,
			u.kind AS undone_kind,
			u.amount AS undone_amount
		FROM idempotency.operation o
		LEFT JOIN undone u ON u.scope = o.scope AND u.key = o.key
		LEFT JOIN (SELECT payment_id, scope, min(due_at) AS due_at FROM idempotency.hold GROUP BY payment_id, scope) h
			ON h.payment_id = o.payment_id AND h.scope = o.scope
		WINDOW payment AS (PARTITION BY o.scope, o.payment_id ORDER BY o.seq)
	)
	SELECT u.invariant, count(s.key) = 0,
		CASE WHEN count(s.key) > 0
			THEN format('broken in %s of the operations, such as %s', count(s.key),
				min(format('key %L of scope %L', s.key, s.scope))) END
	-- The join adds a row of nulls, so that invariants that nothing breaks are shown, too.
	FROM step s FULL JOIN (SELECT) AS nothing ON false,
		LATERAL (VALUES
			(1, 'a key has one operation',
				s.uses = 1),
			(2, 'keys and scopes are well formed',
				octet_length(s.key) BETWEEN 1 AND CASE WHEN s.key ^@ 'idem_cancel:' OR s.key ^@ 'idem_expire:' THEN 279 ELSE 255 END
					AND octet_length(s.scope) <= 255 AND s.key !~ '[[:cntrl:]]' AND s.scope !~ '[[:cntrl:]]'
					AND (NOT s.key ^@ 'idem_cancel:' OR s.kind IN ('void', 'refund', 'reversal'))
					AND (s.key ^@ 'idem_cancel:' OR s.kind <> 'reversal')
					AND (s.key ^@ 'idem_expire:') = (s.kind = 'expire')),
			(3, 'the operations of a payment are numbered from 1 without a gap',
				s.seq = coalesce(s.old_seq, 0) + 1),
			(4, '0 <= refunded <= captured, and captured + released <= authorized',
				0 <= s.refunded AND s.refunded <= s.captured AND s.captured + s.released <= s.authorized
					AND 0 <= s.released AND s.authorized <> 'NaN' AND s.authorized < 1e18),
			(5, 'amounts are not negative and have the decimals of their payment',
				CASE WHEN s.kind IN ('pay', 'cancel', 'increase') OR s.declined OR s.key ^@ 'idem_cancel:' THEN s.amount >= 0 ELSE s.amount > 0 END
					AND scale(s.authorized) <= 18 AND (s.declined OR scale(s.amount) = scale(s.authorized))
					AND scale(s.captured) = scale(s.authorized) AND scale(s.released) = scale(s.authorized)
					AND scale(s.refunded) = scale(s.authorized)),
			(6, 'operations have the columns of their kind',
				s.declined = (s.message IS NOT NULL)
					AND (s.kind = 'cancel') = (s.currency IS NULL)
					AND (s.kind = 'capture') = (s.final IS NOT NULL)
					AND (s.kind = 'increase') = (s.prolonged IS NOT NULL)
					AND (NOT s.declined OR s.kind IN ('increase', 'capture', 'void', 'refund'))
					AND (s.kind NOT IN ('pay', 'authorize', 'cancel') OR NOT s.whole AND s.owner IS NULL)
					AND (s.kind NOT IN ('increase', 'reversal') OR NOT s.whole)
					AND (s.kind NOT IN ('pay', 'cancel') OR s.expires_at IS NULL)
					AND isfinite(s.created_at) AND isfinite(coalesce(s.expires_at, s.created_at))),
			(7, 'the operations of a payment agree in currency, accounts, expiry and owner',
				s.old_seq IS NULL OR ROW(s.currency, CASE WHEN s.prolonged AND NOT s.declined THEN s.old_expires_at ELSE s.expires_at END, s.from_account, s.to_account, coalesce(s.owner, s.role))
					IS NOT DISTINCT FROM ROW(s.old_currency, s.old_expires_at, s.old_from_account, s.old_to_account, s.old_owner)),
			(8, 'totals follow from the amounts of the operations',
				CASE
					WHEN s.kind = 'pay' THEN s.old_seq IS NULL AND NOT s.declined
						AND ROW(s.authorized, s.captured, s.released, s.refunded) = ROW(s.amount, s.amount, 0, 0)
					WHEN s.kind = 'authorize' THEN s.old_seq IS NULL AND NOT s.declined
						AND ROW(s.authorized, s.captured, s.released, s.refunded) = ROW(s.amount, 0, 0, 0)
						AND s.expires_at > s.created_at
					WHEN s.kind = 'cancel' THEN s.old_seq IS NULL AND NOT s.declined
						AND ROW(s.authorized, s.captured, s.released, s.refunded) = ROW(0, 0, 0, 0)
					WHEN s.declined THEN ROW(s.authorized, s.captured, s.released, s.refunded)
						= ROW(s.old_authorized, s.old_captured, s.old_released, s.old_refunded)
					WHEN s.kind = 'increase' THEN s.created_at < s.old_expires_at AND s.expires_at >= s.old_expires_at
						AND (s.amount > 0 OR s.prolonged)
						AND ROW(s.authorized, s.captured, s.released, s.refunded)
							= ROW(s.old_authorized + s.amount, s.old_captured, s.old_released, s.old_refunded)
						AND s.old_authorized > s.old_captured + s.old_released
					WHEN s.kind = 'capture' THEN s.created_at < s.expires_at
						AND ROW(s.authorized, s.captured, s.refunded)
							= ROW(s.old_authorized, s.old_captured + s.amount, s.old_refunded)
						AND s.released = CASE WHEN s.final THEN s.authorized - s.captured ELSE s.old_released END
						AND (NOT s.whole OR s.amount = s.old_authorized - s.old_captured - s.old_released)
					WHEN s.key ^@ 'idem_cancel:' AND s.amount = 0 THEN
						ROW(s.authorized, s.captured, s.released, s.refunded)
							= ROW(s.old_authorized, s.old_captured, s.old_released, s.old_refunded)
					WHEN s.kind = 'void' THEN s.created_at < s.expires_at AND (s.whole OR s.key ^@ 'idem_cancel:')
						AND ROW(s.authorized, s.captured, s.released, s.refunded)
							= ROW(s.old_authorized, s.old_captured, s.old_released + s.amount, s.old_refunded)
						AND (NOT s.whole OR s.amount = s.old_authorized - s.old_captured - s.old_released)
					WHEN s.kind = 'expire' THEN s.created_at >= s.expires_at AND s.whole AND s.expired
						AND ROW(s.authorized, s.captured, s.released, s.refunded)
							= ROW(s.old_authorized, s.old_captured, s.old_released + s.amount, s.old_refunded)
						AND s.amount = s.old_authorized - s.old_captured - s.old_released
					WHEN s.kind = 'refund' THEN
						ROW(s.authorized, s.captured, s.released, s.refunded)
							= ROW(s.old_authorized, s.old_captured, s.old_released, s.old_refunded + s.amount)
						AND (NOT s.whole OR s.amount = s.old_captured - s.old_refunded)
					WHEN s.kind = 'reversal' THEN
						ROW(s.authorized, s.captured, s.released, s.refunded)
							= ROW(s.old_authorized, s.old_captured, s.old_released, s.old_refunded - s.amount)
					ELSE false
				END),
			(9, 'only an expire operation marks a payment as expired',
				s.kind = 'expire' OR s.expired IS NOT DISTINCT FROM s.old_expired),
			(10, 'idem_expire() finds every hold that is left',
				-- A hold that cannot be released is put off by a day at most. Clocks may differ by another.
				s.next_seq IS NOT NULL OR s.expires_at IS NULL OR s.authorized - s.captured - s.released = 0
					OR s.due_at <= greatest(s.expires_at, statement_timestamp()) + interval '2 days'),
			(11, 'a cancellation undoes what its key names, and no more',
				CASE
					WHEN NOT s.key ^@ 'idem_cancel:' THEN true
					WHEN s.declined THEN false
					WHEN s.kind = 'reversal' THEN s.undone_kind = 'refund' AND s.amount = s.undone_amount
					WHEN s.kind = 'refund' THEN s.undone_kind IN ('pay', 'capture')
						AND s.amount = least(s.undone_amount, s.old_captured - s.old_refunded)
					WHEN s.kind = 'void' THEN s.undone_kind = CASE WHEN s.whole THEN 'authorize' ELSE 'increase' END
						AND (NOT s.whole OR s.old_captured = 0)
						AND s.amount = CASE WHEN s.created_at >= s.expires_at THEN 0
							WHEN s.whole THEN s.old_authorized - s.old_captured - s.old_released
							ELSE least(s.undone_amount, s.old_authorized - s.old_captured - s.old_released) END
				END)
		) AS u(number, invariant, holds)
	WHERE s.key IS NULL OR u.holds IS NOT TRUE
	GROUP BY u.number, u.invariant
	ORDER BY u.number
$$;
COMMENT ON FUNCTION @extschema@.idem_check() IS
	'returns a row for each invariant of the data, with an example if it is broken';

------------------------------------------------------------------------------
-- Rights of application roles
------------------------------------------------------------------------------

-- rights.c has the list of the rights that these functions grant.
CREATE FUNCTION @extschema@.idem_grant(
	role regrole,
	kind text DEFAULT NULL)
RETURNS void
LANGUAGE C VOLATILE PARALLEL UNSAFE
AS 'MODULE_PATHNAME';
COMMENT ON FUNCTION @extschema@.idem_grant(regrole, text) IS
	'grants a role the rights of kind application (the default), maintenance or auditor, and USAGE on the schema of the functions';

CREATE FUNCTION @extschema@.idem_revoke(role regrole)
RETURNS void
LANGUAGE C VOLATILE PARALLEL UNSAFE
AS 'MODULE_PATHNAME';
COMMENT ON FUNCTION @extschema@.idem_revoke(regrole) IS
	'revokes all rights of a role on the extension, except USAGE on the schema of the functions';

------------------------------------------------------------------------------
-- Rights of the installer. This block comes last, because it covers all objects above.
------------------------------------------------------------------------------

-- The extension is trusted. If its installer is not a superuser, the objects belong
-- to the bootstrap superuser. The installer gets the rights below, and may grant
-- them to others.
GRANT USAGE ON SCHEMA idempotency TO @extowner@ WITH GRANT OPTION;
GRANT SELECT ON idempotency.payment, idempotency.movement, idempotency.request TO @extowner@ WITH GRANT OPTION;
-- INSERT is for restoring a dump. Nobody gets UPDATE or DELETE.
GRANT SELECT, INSERT ON idempotency.operation, idempotency.hold, idempotency.request_0, idempotency.request_1, idempotency.request_2,
	idempotency.request_purge
	TO @extowner@ WITH GRANT OPTION;
GRANT SELECT, INSERT, UPDATE, DELETE ON idempotency.currency TO @extowner@ WITH GRANT OPTION;

-- PUBLIC gets no right on functions. The installer gets EXECUTE on the functions
-- outside the schema idempotency. The owner of the database gets the rights of the
-- installer on everything (see rights.c).
CREATE FUNCTION idempotency.set_rights(installer regrole)
RETURNS void
LANGUAGE C
AS 'MODULE_PATHNAME', 'idem_set_rights';
-- The role comes from the catalog. @extowner@ in a string would be unsafe: a role's
-- name could end the string, and what follows would run as a superuser.
SELECT idempotency.set_rights(e.extowner)
FROM pg_catalog.pg_extension e WHERE e.extname OPERATOR(pg_catalog.=) 'idempotency';
DROP FUNCTION idempotency.set_rights(regrole);

-- Roles that read the view idempotency.payment need this right.
GRANT EXECUTE ON FUNCTION idempotency.payment_status TO PUBLIC;
