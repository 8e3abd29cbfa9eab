-- The install script. The version is the control file's.

-- complain if the script is sourced in psql, rather than by CREATE EXTENSION
\echo Use "CREATE EXTENSION idempotency" to load this file. \quit

------------------------------------------------------------------------------
-- Data
------------------------------------------------------------------------------

CREATE SCHEMA idempotency;
COMMENT ON SCHEMA idempotency IS
	'data of the extension idempotency: operations of payments, currencies, and requests';

-- One row for each keyed operation; written by the functions, never updated.
-- There is no CHECK, no foreign key and no trigger here: each of them costs a
-- good part of a whole call, and the functions check what they write. Columns
-- of fixed width come first, so that there is no padding between the columns.
-- The key comes first in its index: then one comparison tells two rows apart, and
-- a tenth of a whole call is saved. The scope comes first in the other, for those
-- who list a tenant's payments in the order of time.
CREATE TABLE idempotency.operation (
	payment_id		uuid NOT NULL,
	created_at		timestamptz NOT NULL,
	seq				integer NOT NULL,
	whole			boolean NOT NULL DEFAULT false,
	final			boolean,
	expired			boolean,
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
	'the payment that the operation belongs to, a UUID of version 7';
COMMENT ON COLUMN idempotency.operation.created_at IS
	'when the operation was made (clock time, not the start of its transaction)';
COMMENT ON COLUMN idempotency.operation.seq IS
	'number of the operation within its payment, from 1';
COMMENT ON COLUMN idempotency.operation.whole IS
	'true if the request named no amount, but asked for all that was left';
COMMENT ON COLUMN idempotency.operation.final IS
	'of a capture: whether it was to release what it leaves';
COMMENT ON COLUMN idempotency.operation.expired IS
	'true from the operation on that released a hold because it had run out';
COMMENT ON COLUMN idempotency.operation.scope IS
	'namespace of the key, empty by default';
COMMENT ON COLUMN idempotency.operation.key IS
	'the idempotency key, unique in its scope';
COMMENT ON COLUMN idempotency.operation.kind IS
	'kind of the operation: pay, authorize, capture, void, refund, expire; or cancel, for a key that was cancelled unused';
COMMENT ON COLUMN idempotency.operation.amount IS
	'amount of the operation (if it was declined, the amount that was asked for), in the major unit of the currency';
COMMENT ON COLUMN idempotency.operation.currency IS
	'code of the currency, ISO 4217 or of idempotency.currency; none for a key that was cancelled unused';
COMMENT ON COLUMN idempotency.operation.authorized IS
	'total of the payment after the operation: held';
COMMENT ON COLUMN idempotency.operation.captured IS
	'total of the payment after the operation: taken of what was held';
COMMENT ON COLUMN idempotency.operation.released IS
	'total of the payment after the operation: let go of what was held';
COMMENT ON COLUMN idempotency.operation.refunded IS
	'total of the payment after the operation: given back of what was taken';
COMMENT ON COLUMN idempotency.operation.from_account IS
	'account that the money comes from, if any';
COMMENT ON COLUMN idempotency.operation.to_account IS
	'account that the money goes to, if any';
COMMENT ON COLUMN idempotency.operation.reference IS
	'text of the caller''s, such as an order number';
COMMENT ON COLUMN idempotency.operation.metadata IS
	'whatever else the caller wants to keep with the operation';
COMMENT ON COLUMN idempotency.operation.expires_at IS
	'when the hold runs out, if there is one';
COMMENT ON COLUMN idempotency.operation.role IS
	'name of the role that made the operation; of an expire, of the role that started the payment';
COMMENT ON COLUMN idempotency.operation.owner IS
	'name of the role that started the payment, if it is another';
COMMENT ON COLUMN idempotency.operation.sqlstate IS
	'why the operation was declined: the SQLSTATE of the refusal; null if it was not';
COMMENT ON COLUMN idempotency.operation.message IS
	'why the operation was declined: the message of the refusal; null if it was not';

-- The authorizations, in the order in which they are due, until idem_expire() has
-- dealt with them. Not an index of the table above, which would cost payments
-- without a hold, too.
CREATE TABLE idempotency.hold (
	due_at			timestamptz NOT NULL,
	expires_at		timestamptz NOT NULL,
	payment_id		uuid NOT NULL,
	scope			text COLLATE "C" NOT NULL,
	key				text COLLATE "C" NOT NULL,
	PRIMARY KEY (due_at, payment_id, scope)
);
COMMENT ON TABLE idempotency.hold IS
	'authorizations whose holds idem_expire() will have to release, if something is left of them';
COMMENT ON COLUMN idempotency.hold.due_at IS
	'when idem_expire() looks at it next: when the hold runs out, or later if it could not be released then';
COMMENT ON COLUMN idempotency.hold.expires_at IS
	'when the hold runs out';
COMMENT ON COLUMN idempotency.hold.payment_id IS
	'the payment';
COMMENT ON COLUMN idempotency.hold.scope IS
	'its scope';
COMMENT ON COLUMN idempotency.hold.key IS
	'key of the authorization';

CREATE TABLE idempotency.currency (
	code			text COLLATE "C" PRIMARY KEY
					CHECK (code ~ '^[A-Z0-9]{3,12}$'),
	exponent		smallint NOT NULL
					CHECK (exponent BETWEEN 0 AND 18)
);
COMMENT ON TABLE idempotency.currency IS
	'currencies in addition to those of ISO 4217, which are built in, or instead of them';
COMMENT ON COLUMN idempotency.currency.code IS
	'code of the currency: three to twelve capital letters and digits';
COMMENT ON COLUMN idempotency.currency.exponent IS
	'number of decimals, 0 to 18';

-- The rows of a request, in three tables that take turns, so that each is emptied
-- at once when all that is in it has expired. The newest row of a key, by seq,
-- says what is known of the request; rows are never updated.
CREATE TABLE idempotency.request_0 (
	created_at		timestamptz NOT NULL,
	expires_at		timestamptz NOT NULL,
	lease_until		timestamptz,
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
COMMENT ON TABLE idempotency.request_0 IS
	'requests, in one of three tables that take turns; see the view idempotency.request';
COMMENT ON COLUMN idempotency.request_0.created_at IS 'when the row was written';
COMMENT ON COLUMN idempotency.request_0.expires_at IS 'when it is no longer valid';
COMMENT ON COLUMN idempotency.request_0.lease_until IS 'until when the worker has the request, if it has a lease';
COMMENT ON COLUMN idempotency.request_0.seq IS 'number of the row among those of its key, from 1; the newest counts';
COMMENT ON COLUMN idempotency.request_0.attempt IS 'number of the attempt';
COMMENT ON COLUMN idempotency.request_0.scope IS 'namespace of the key, empty by default';
COMMENT ON COLUMN idempotency.request_0.key IS 'the idempotency key';
COMMENT ON COLUMN idempotency.request_0.status IS 'started, released, completed or failed';
COMMENT ON COLUMN idempotency.request_0.role IS 'name of the role that began the request';
COMMENT ON COLUMN idempotency.request_0.fingerprint IS 'SHA-256 of what was asked for, if that was given';
COMMENT ON COLUMN idempotency.request_0.response IS 'the answer';
COMMENT ON COLUMN idempotency.request_0.checkpoint IS 'name of the last checkpoint';
COMMENT ON COLUMN idempotency.request_0.checkpoint_data IS 'what the worker noted there';
COMMENT ON COLUMN idempotency.request_0.sqlstate IS 'of a command that failed: its SQLSTATE';
COMMENT ON COLUMN idempotency.request_0.message IS 'of a command that failed: its message';

CREATE TABLE idempotency.request_1 (LIKE idempotency.request_0 INCLUDING ALL);
COMMENT ON TABLE idempotency.request_1 IS
	'as request_0';
CREATE TABLE idempotency.request_2 (LIKE idempotency.request_0 INCLUDING ALL);
COMMENT ON TABLE idempotency.request_2 IS
	'as request_0';
-- rows are also deleted, which may be published
ALTER TABLE idempotency.request_0 REPLICA IDENTITY USING INDEX request_0_key_scope_seq_key;
ALTER TABLE idempotency.request_1 REPLICA IDENTITY USING INDEX request_1_key_scope_seq_key;
ALTER TABLE idempotency.request_2 REPLICA IDENTITY USING INDEX request_2_key_scope_seq_key;

-- One row, or none before the first purge.
CREATE TABLE idempotency.request_purge (
	purged_until	timestamptz PRIMARY KEY
);
COMMENT ON TABLE idempotency.request_purge IS
	'how far requests have been purged: the clock of requests does not go back behind it';
COMMENT ON COLUMN idempotency.request_purge.purged_until IS
	'time of the last purge that found something';

CREATE FUNCTION idempotency.table_changed()
RETURNS trigger
LANGUAGE C
AS 'MODULE_PATHNAME', 'idem_table_changed';
COMMENT ON FUNCTION idempotency.table_changed() IS
	'makes all sessions read again what they keep of a table';

-- Also for what comes by logical replication: it fires row triggers that are
-- enabled always, and no statement triggers but those of TRUNCATE.
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
	'the stored answer to a keyed operation of a payment';
COMMENT ON COLUMN @extschema@.idem_receipt.key IS 'the idempotency key';
COMMENT ON COLUMN @extschema@.idem_receipt.payment_id IS 'the payment that the operation belongs to';
COMMENT ON COLUMN @extschema@.idem_receipt.seq IS 'number of the operation within its payment, from 1';
COMMENT ON COLUMN @extschema@.idem_receipt.kind IS 'kind of the operation: pay, authorize, capture, void, refund, expire; or cancel, for a key that was cancelled unused';
COMMENT ON COLUMN @extschema@.idem_receipt.status IS 'state of the payment after the operation: authorized, partially_captured, succeeded, voided, expired, partially_refunded, refunded; or of the operation: declined, cancelled';
COMMENT ON COLUMN @extschema@.idem_receipt.amount IS 'amount of the operation, in the major unit of the currency';
COMMENT ON COLUMN @extschema@.idem_receipt.currency IS 'code of the currency';
COMMENT ON COLUMN @extschema@.idem_receipt.authorized IS 'total of the payment after the operation: held';
COMMENT ON COLUMN @extschema@.idem_receipt.captured IS 'total of the payment after the operation: taken';
COMMENT ON COLUMN @extschema@.idem_receipt.refunded IS 'total of the payment after the operation: given back';
COMMENT ON COLUMN @extschema@.idem_receipt.capturable IS 'what can still be taken';
COMMENT ON COLUMN @extschema@.idem_receipt.refundable IS 'what can still be given back';
COMMENT ON COLUMN @extschema@.idem_receipt.from_account IS 'account that the money comes from, if any';
COMMENT ON COLUMN @extschema@.idem_receipt.to_account IS 'account that the money goes to, if any';
COMMENT ON COLUMN @extschema@.idem_receipt.reference IS 'text of the caller''s';
COMMENT ON COLUMN @extschema@.idem_receipt.metadata IS 'whatever else the caller gave';
COMMENT ON COLUMN @extschema@.idem_receipt.expires_at IS 'when the hold runs out, if there is one';
COMMENT ON COLUMN @extschema@.idem_receipt.created_at IS 'when the operation was made';
COMMENT ON COLUMN @extschema@.idem_receipt.sqlstate IS 'SQLSTATE of the refusal, if the operation was declined';
COMMENT ON COLUMN @extschema@.idem_receipt.message IS 'message of the refusal, if the operation was declined';
COMMENT ON COLUMN @extschema@.idem_receipt.replayed IS 'true if this call did nothing and the answer is an earlier call''s';

CREATE FUNCTION idempotency.shorten_call(internal)
RETURNS internal
LANGUAGE C STRICT
AS 'MODULE_PATHNAME', 'idem_shorten_call';
COMMENT ON FUNCTION idempotency.shorten_call(internal) IS
	'planner support: a call is made without the arguments at its end that are null';

CREATE FUNCTION @extschema@.idem_pay(
	key text,
	amount numeric,
	currency text DEFAULT NULL,
	from_account text DEFAULT NULL,
	to_account text DEFAULT NULL,
	reference text DEFAULT NULL,
	metadata jsonb DEFAULT NULL,
	scope text DEFAULT NULL)
RETURNS @extschema@.idem_receipt
LANGUAGE C VOLATILE PARALLEL UNSAFE SUPPORT idempotency.shorten_call
AS 'MODULE_PATHNAME';
COMMENT ON FUNCTION @extschema@.idem_pay(text, numeric, text, text, text, text, jsonb, text) IS
	'takes an amount once for a key, and gives the same receipt to whoever repeats the call';

CREATE FUNCTION @extschema@.idem_authorize(
	key text,
	amount numeric,
	currency text DEFAULT NULL,
	from_account text DEFAULT NULL,
	to_account text DEFAULT NULL,
	expires_in interval DEFAULT '7 days',
	reference text DEFAULT NULL,
	metadata jsonb DEFAULT NULL,
	scope text DEFAULT NULL)
RETURNS @extschema@.idem_receipt
LANGUAGE C VOLATILE PARALLEL UNSAFE SUPPORT idempotency.shorten_call
AS 'MODULE_PATHNAME';
COMMENT ON FUNCTION @extschema@.idem_authorize(text, numeric, text, text, text, interval, text, jsonb, text) IS
	'holds an amount once for a key, to be captured before the hold expires';

CREATE FUNCTION @extschema@.idem_capture(
	key text,
	payment_id uuid,
	amount numeric DEFAULT NULL,
	final boolean DEFAULT true,
	reference text DEFAULT NULL,
	metadata jsonb DEFAULT NULL,
	scope text DEFAULT NULL)
RETURNS @extschema@.idem_receipt
LANGUAGE C VOLATILE PARALLEL UNSAFE SUPPORT idempotency.shorten_call
AS 'MODULE_PATHNAME';
COMMENT ON FUNCTION @extschema@.idem_capture(text, uuid, numeric, boolean, text, jsonb, text) IS
	'takes of what a payment holds, once for a key: an amount, or all that is left; the rest is released unless final is false';

CREATE FUNCTION @extschema@.idem_void(
	key text,
	payment_id uuid,
	reference text DEFAULT NULL,
	metadata jsonb DEFAULT NULL,
	scope text DEFAULT NULL)
RETURNS @extschema@.idem_receipt
LANGUAGE C VOLATILE PARALLEL UNSAFE SUPPORT idempotency.shorten_call
AS 'MODULE_PATHNAME';
COMMENT ON FUNCTION @extschema@.idem_void(text, uuid, text, jsonb, text) IS
	'releases what a payment holds and has not captured, once for a key';

CREATE FUNCTION @extschema@.idem_refund(
	key text,
	payment_id uuid,
	amount numeric DEFAULT NULL,
	reference text DEFAULT NULL,
	metadata jsonb DEFAULT NULL,
	scope text DEFAULT NULL)
RETURNS @extschema@.idem_receipt
LANGUAGE C VOLATILE PARALLEL UNSAFE SUPPORT idempotency.shorten_call
AS 'MODULE_PATHNAME';
COMMENT ON FUNCTION @extschema@.idem_refund(text, uuid, numeric, text, jsonb, text) IS
	'gives back of what a payment captured, once for a key: an amount, or all that is left';

CREATE FUNCTION @extschema@.idem_cancel(
	key text,
	scope text DEFAULT NULL)
RETURNS @extschema@.idem_receipt
LANGUAGE C VOLATILE PARALLEL UNSAFE SUPPORT idempotency.shorten_call
AS 'MODULE_PATHNAME';
COMMENT ON FUNCTION @extschema@.idem_cancel(text, text) IS
	'sees to it that the operation of a key has no effect: undoes it, or keeps the key from being used';

CREATE FUNCTION @extschema@.idem_pay_batch(
	keys text[],
	amounts numeric[],
	currencies text[] DEFAULT NULL,
	refs text[] DEFAULT NULL,
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
COMMENT ON FUNCTION @extschema@.idem_pay_batch(text[], numeric[], text[], text[], text) IS
	'takes many amounts, each once for its key; a row for each, in the order given, says what came of it';

CREATE FUNCTION @extschema@.idem_lookup(
	key text,
	scope text DEFAULT NULL)
RETURNS SETOF @extschema@.idem_receipt
LANGUAGE C STABLE PARALLEL RESTRICTED ROWS 1 SUPPORT idempotency.shorten_call
AS 'MODULE_PATHNAME';
COMMENT ON FUNCTION @extschema@.idem_lookup(text, text) IS
	'the receipt stored under a key, or no row; writes nothing';

CREATE FUNCTION @extschema@.idem_payment(
	payment_id uuid,
	scope text DEFAULT NULL)
RETURNS @extschema@.idem_receipt
LANGUAGE C STABLE PARALLEL RESTRICTED SUPPORT idempotency.shorten_call
AS 'MODULE_PATHNAME';
COMMENT ON FUNCTION @extschema@.idem_payment(uuid, text) IS
	'the newest operation of a payment, with the payment''s state as of now';

CREATE FUNCTION @extschema@.idem_history(
	payment_id uuid,
	scope text DEFAULT NULL)
RETURNS SETOF @extschema@.idem_receipt
LANGUAGE C STABLE PARALLEL RESTRICTED ROWS 5 SUPPORT idempotency.shorten_call
AS 'MODULE_PATHNAME';
COMMENT ON FUNCTION @extschema@.idem_history(uuid, text) IS
	'the receipts of the operations of a payment, in their order';

CREATE FUNCTION idempotency.payment_status(
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
COMMENT ON FUNCTION idempotency.payment_status(numeric, numeric, numeric, numeric, timestamptz, boolean, timestamptz) IS
	'the status of a payment with these totals at a time; shows nothing but what it is given, so anyone may call it';

-- The scope and the payment id are the columns of DISTINCT ON, so a condition on
-- them reaches the index.
CREATE VIEW idempotency.payment WITH (security_invoker) AS
SELECT n.scope,
	n.payment_id,
	f.key,
	f.reference,
	idempotency.payment_status(n.authorized, n.captured, n.released, n.refunded,
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
	'one row for each payment: its state now';

CREATE FUNCTION @extschema@.idem_expire(max_holds integer DEFAULT 1000)
RETURNS integer
LANGUAGE C VOLATILE PARALLEL UNSAFE
AS 'MODULE_PATHNAME';
COMMENT ON FUNCTION @extschema@.idem_expire(integer) IS
	'releases what expired authorizations still hold, and returns how many of them it has looked at, at most so many';

------------------------------------------------------------------------------
-- Requests
------------------------------------------------------------------------------

CREATE FUNCTION @extschema@.idem_begin(
	key text,
	request json DEFAULT NULL,
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
COMMENT ON FUNCTION @extschema@.idem_begin(text, json, interval, boolean, text) IS
	'begins a request, or gives its answer: outcome new, resumed, completed, failed or unknown';

CREATE FUNCTION @extschema@.idem_checkpoint(
	key text,
	name text,
	data json,
	attempt integer,
	scope text DEFAULT NULL)
RETURNS void
LANGUAGE C VOLATILE PARALLEL UNSAFE SUPPORT idempotency.shorten_call
AS 'MODULE_PATHNAME';
COMMENT ON FUNCTION @extschema@.idem_checkpoint(text, text, json, integer, text) IS
	'notes how far a request with a lease has come, for whoever takes it over';

CREATE FUNCTION @extschema@.idem_complete(
	key text,
	response json,
	attempt integer DEFAULT NULL,
	scope text DEFAULT NULL)
RETURNS void
LANGUAGE C VOLATILE PARALLEL UNSAFE SUPPORT idempotency.shorten_call
AS 'MODULE_PATHNAME';
COMMENT ON FUNCTION @extschema@.idem_complete(text, json, integer, text) IS
	'ends a request with its answer';

CREATE FUNCTION @extschema@.idem_fail(
	key text,
	response json,
	attempt integer DEFAULT NULL,
	scope text DEFAULT NULL)
RETURNS void
LANGUAGE C VOLATILE PARALLEL UNSAFE SUPPORT idempotency.shorten_call
AS 'MODULE_PATHNAME';
COMMENT ON FUNCTION @extschema@.idem_fail(text, json, integer, text) IS
	'ends a request with a failure that is its answer';

CREATE FUNCTION @extschema@.idem_release(
	key text,
	attempt integer DEFAULT NULL,
	scope text DEFAULT NULL)
RETURNS void
LANGUAGE C VOLATILE PARALLEL UNSAFE SUPPORT idempotency.shorten_call
AS 'MODULE_PATHNAME';
COMMENT ON FUNCTION @extschema@.idem_release(text, integer, text) IS
	'gives a request up, so that a retry may start at once';

CREATE FUNCTION @extschema@.idem_execute(
	key text,
	command text,
	args jsonb DEFAULT NULL,
	scope text DEFAULT NULL,
	OUT replayed boolean,
	OUT rows json,
	OUT sqlstate text,
	OUT message text)
LANGUAGE C VOLATILE PARALLEL UNSAFE SUPPORT idempotency.shorten_call
AS 'MODULE_PATHNAME';
COMMENT ON FUNCTION @extschema@.idem_execute(text, text, jsonb, text) IS
	'runs an SQL command once for a key, with the caller''s rights, and gives its rows to whoever repeats the call';

CREATE TYPE @extschema@.idem_request AS (
	key				text COLLATE "C",
	status			text COLLATE "C",
	attempt			integer,
	response		json,
	checkpoint		text,
	checkpoint_data	json,
	lease_until		timestamptz,
	created_at		timestamptz,
	expires_at		timestamptz
);
COMMENT ON TYPE @extschema@.idem_request IS
	'what is known of a request';
COMMENT ON COLUMN @extschema@.idem_request.key IS 'the idempotency key';
COMMENT ON COLUMN @extschema@.idem_request.status IS 'started, released, completed or failed';
COMMENT ON COLUMN @extschema@.idem_request.attempt IS 'number of the current attempt';
COMMENT ON COLUMN @extschema@.idem_request.response IS 'the answer, once the request is completed or failed';
COMMENT ON COLUMN @extschema@.idem_request.checkpoint IS 'name of the last checkpoint';
COMMENT ON COLUMN @extschema@.idem_request.checkpoint_data IS 'data of the last checkpoint';
COMMENT ON COLUMN @extschema@.idem_request.lease_until IS 'when the lease of the current attempt ends, if it has one';
COMMENT ON COLUMN @extschema@.idem_request.created_at IS 'when the request last changed';
COMMENT ON COLUMN @extschema@.idem_request.expires_at IS 'when the request expires';

CREATE FUNCTION @extschema@.idem_lookup_request(
	key text,
	scope text DEFAULT NULL)
RETURNS SETOF @extschema@.idem_request
LANGUAGE C STABLE PARALLEL RESTRICTED ROWS 1 SUPPORT idempotency.shorten_call
AS 'MODULE_PATHNAME';
COMMENT ON FUNCTION @extschema@.idem_lookup_request(text, text) IS
	'what is known of a request, or no row; writes nothing';

CREATE VIEW idempotency.request AS
SELECT n.scope,
	n.key,
	n.status,
	n.attempt,
	n.lease_until,
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
	'one row for each request that has not expired: its state now';

CREATE FUNCTION @extschema@.idem_purge()
RETURNS integer
LANGUAGE C VOLATILE PARALLEL UNSAFE
AS 'MODULE_PATHNAME';
COMMENT ON FUNCTION @extschema@.idem_purge() IS
	'empties the tables of requests in which all have expired, and returns how many those are';

------------------------------------------------------------------------------
-- Checks
------------------------------------------------------------------------------

-- Reads the table itself and no index, so that a damaged index is not believed.
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
	WITH step AS (
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
			h.due_at
		FROM idempotency.operation o
		LEFT JOIN (SELECT payment_id, scope, min(due_at) AS due_at FROM idempotency.hold GROUP BY payment_id, scope) h
			ON h.payment_id = o.payment_id AND h.scope = o.scope
		WINDOW payment AS (PARTITION BY o.scope, o.payment_id ORDER BY o.seq)
	)
	SELECT u.invariant, count(s.key) = 0,
		CASE WHEN count(s.key) > 0
			THEN format('broken in %s of the operations, such as %s', count(s.key),
				min(format('key %L of scope %L', s.key, s.scope))) END
	-- a row of nulls is added: an invariant that nothing breaks is shown, too
	FROM step s FULL JOIN (SELECT) AS nothing ON false,
		LATERAL (VALUES
			(1, 'a key has one operation',
				s.uses = 1),
			(2, 'keys and scopes are well formed',
				octet_length(s.key) BETWEEN 1 AND CASE WHEN s.key ^@ 'idem_cancel:' OR s.key ^@ 'idem_expire:' THEN 267 ELSE 255 END
					AND octet_length(s.scope) <= 255 AND s.key !~ '[[:cntrl:]]' AND s.scope !~ '[[:cntrl:]]'
					AND (NOT s.key ^@ 'idem_cancel:' OR s.kind IN ('void', 'refund'))
					AND (s.key ^@ 'idem_expire:') = (s.kind = 'expire')),
			(3, 'the operations of a payment are numbered from 1 without a gap',
				s.seq = coalesce(s.old_seq, 0) + 1),
			(4, '0 <= refunded <= captured, and captured + released <= authorized',
				0 <= s.refunded AND s.refunded <= s.captured AND s.captured + s.released <= s.authorized
					AND 0 <= s.released AND s.authorized <> 'NaN' AND s.authorized < 1e18),
			(5, 'amounts are above zero, with the decimals of their payment',
				CASE WHEN s.kind = 'cancel' OR s.declined OR s.key ^@ 'idem_cancel:' THEN s.amount >= 0 ELSE s.amount > 0 END
					AND scale(s.authorized) <= 18 AND (s.declined OR scale(s.amount) = scale(s.authorized))
					AND scale(s.captured) = scale(s.authorized) AND scale(s.released) = scale(s.authorized)
					AND scale(s.refunded) = scale(s.authorized)),
			(6, 'operations have what belongs to their kind',
				s.declined = (s.message IS NOT NULL)
					AND (s.kind = 'cancel') = (s.currency IS NULL)
					AND (s.kind = 'capture') = (s.final IS NOT NULL)
					AND (NOT s.declined OR s.kind IN ('capture', 'void', 'refund'))
					AND (s.kind NOT IN ('pay', 'authorize', 'cancel') OR NOT s.whole AND s.owner IS NULL)
					AND (s.kind NOT IN ('pay', 'cancel') OR s.expires_at IS NULL)
					AND isfinite(s.created_at) AND isfinite(coalesce(s.expires_at, s.created_at))),
			(7, 'the operations of a payment agree in currency, accounts, expiry and owner',
				s.old_seq IS NULL OR ROW(s.currency, s.expires_at, s.from_account, s.to_account, coalesce(s.owner, s.role))
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
					WHEN s.kind = 'capture' THEN s.created_at < s.expires_at
						AND ROW(s.authorized, s.captured, s.refunded)
							= ROW(s.old_authorized, s.old_captured + s.amount, s.old_refunded)
						AND s.released = CASE WHEN s.final THEN s.authorized - s.captured ELSE s.old_released END
						AND (NOT s.whole OR s.amount = s.old_authorized - s.old_captured - s.old_released)
					WHEN s.key ^@ 'idem_cancel:' AND s.amount = 0 THEN
						ROW(s.authorized, s.captured, s.released, s.refunded)
							= ROW(s.old_authorized, s.old_captured, s.old_released, s.old_refunded)
					WHEN s.kind = 'void' THEN s.created_at < s.expires_at AND s.whole
						AND ROW(s.authorized, s.captured, s.released, s.refunded)
							= ROW(s.old_authorized, s.old_captured, s.old_released + s.amount, s.old_refunded)
						AND s.amount = s.old_authorized - s.old_captured - s.old_released
					WHEN s.kind = 'expire' THEN s.created_at >= s.expires_at AND s.whole AND s.expired
						AND ROW(s.authorized, s.captured, s.released, s.refunded)
							= ROW(s.old_authorized, s.old_captured, s.old_released + s.amount, s.old_refunded)
						AND s.amount = s.old_authorized - s.old_captured - s.old_released
					WHEN s.kind = 'refund' THEN
						ROW(s.authorized, s.captured, s.released, s.refunded)
							= ROW(s.old_authorized, s.old_captured, s.old_released, s.old_refunded + s.amount)
						AND (NOT s.whole OR s.amount = s.old_captured - s.old_refunded)
					ELSE false
				END),
			(9, 'a payment has expired from the operation on that says so',
				s.kind = 'expire' OR s.expired IS NOT DISTINCT FROM s.old_expired),
			(10, 'idem_expire() will find what is held',
				-- one that cannot be released is put off by a day at most; and clocks differ
				s.next_seq IS NOT NULL OR s.expires_at IS NULL OR s.authorized - s.captured - s.released = 0
					OR s.due_at <= greatest(s.expires_at, statement_timestamp()) + interval '2 days')
		) AS u(number, invariant, holds)
	WHERE s.key IS NULL OR u.holds IS NOT TRUE
	GROUP BY u.number, u.invariant
	ORDER BY u.number
$$;
COMMENT ON FUNCTION @extschema@.idem_check() IS
	'a row for each invariant of the data: whether it holds, and if not, where';

------------------------------------------------------------------------------
-- Rights of application roles
------------------------------------------------------------------------------

-- What they give is listed in rights.c.
CREATE FUNCTION @extschema@.idem_grant(
	role regrole,
	kind text DEFAULT NULL)
RETURNS void
LANGUAGE C VOLATILE PARALLEL UNSAFE
AS 'MODULE_PATHNAME';
COMMENT ON FUNCTION @extschema@.idem_grant(regrole, text) IS
	'gives a role the rights of an application (the default), for maintenance or of an auditor, and USAGE on the schema of the functions';

CREATE FUNCTION @extschema@.idem_revoke(role regrole)
RETURNS void
LANGUAGE C VOLATILE PARALLEL UNSAFE
AS 'MODULE_PATHNAME';
COMMENT ON FUNCTION @extschema@.idem_revoke(regrole) IS
	'takes from a role all rights on the extension, but for USAGE on the schema of the functions';

------------------------------------------------------------------------------
-- Rights of the installer. This block comes last: it covers all that is above.
------------------------------------------------------------------------------

-- The extension is trusted. If its installer is no superuser, the objects belong
-- to the bootstrap superuser. The installer gets the rights below, and may grant
-- them to others.
GRANT USAGE ON SCHEMA idempotency TO @extowner@ WITH GRANT OPTION;
GRANT SELECT ON idempotency.payment, idempotency.request TO @extowner@ WITH GRANT OPTION;
-- INSERT is for restoring a dump. There is no UPDATE and no DELETE.
GRANT SELECT, INSERT ON idempotency.operation, idempotency.hold, idempotency.request_0, idempotency.request_1, idempotency.request_2,
	idempotency.request_purge
	TO @extowner@ WITH GRANT OPTION;
GRANT SELECT, INSERT, UPDATE, DELETE ON idempotency.currency TO @extowner@ WITH GRANT OPTION;

-- On functions: nothing for PUBLIC, and EXECUTE for the installer on those above
-- that are not in the schema idempotency. Then, on everything, the rights of the
-- installer for the owner of the database (see rights.c).
CREATE FUNCTION idempotency.set_rights(installer regrole)
RETURNS void
LANGUAGE C
AS 'MODULE_PATHNAME', 'idem_set_rights';
-- The role comes from the catalog. Its name in a string, as @extowner@, could end
-- that string and run as superuser.
SELECT idempotency.set_rights(e.extowner)
FROM pg_catalog.pg_extension e WHERE e.extname OPERATOR(pg_catalog.=) 'idempotency';
DROP FUNCTION idempotency.set_rights(regrole);

-- Whoever reads the view idempotency.payment needs this.
GRANT EXECUTE ON FUNCTION idempotency.payment_status TO PUBLIC;
