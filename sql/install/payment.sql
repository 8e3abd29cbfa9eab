------------------------------------------------------------------------------
-- Payments
------------------------------------------------------------------------------

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
	from_seq		bigint,
	to_seq			bigint,
	legs			jsonb,
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
	'kind of the operation: pay, authorize, increase, capture, void, refund, reversal, expire or post; cancel if the key was cancelled before it was used';
COMMENT ON COLUMN idempotency.operation.amount IS
	'amount of the operation in the major unit of the currency; the requested amount if the operation was declined; of a post: what accounts get, or zero if that is in several currencies';
COMMENT ON COLUMN idempotency.operation.currency IS
	'code of the currency, from ISO 4217 or the table idempotency.currency; null if the key was cancelled before it was used, or a post is in several currencies';
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
COMMENT ON COLUMN idempotency.operation.from_seq IS
	'number of the entry in from_account that the operation made, or null';
COMMENT ON COLUMN idempotency.operation.to_seq IS
	'number of the entry in to_account that the operation made, or null';
COMMENT ON COLUMN idempotency.operation.legs IS
	'of a post: its entries in the order given, each with account, amount as a string and, unless it was declined, seq; or null';
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
SELECT pg_catalog.pg_extension_config_dump('idempotency.operation', '');

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
SELECT pg_catalog.pg_extension_config_dump('idempotency.hold', '');

CREATE FUNCTION @extschema@.idem_pay(
	key text,
	amount numeric,
	currency text DEFAULT NULL,
	from_account text DEFAULT NULL,
	to_account text DEFAULT NULL,
	reference text DEFAULT NULL,
	metadata anycompatible DEFAULT NULL::text,
	scope text DEFAULT NULL,
	declines text DEFAULT NULL)
RETURNS @extschema@.idem_receipt
LANGUAGE C VOLATILE PARALLEL UNSAFE SUPPORT idempotency.shorten_call
AS 'MODULE_PATHNAME';
COMMENT ON FUNCTION @extschema@.idem_pay(text, numeric, text, text, text, text, anycompatible, text, text) IS
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
	scope text DEFAULT NULL,
	declines text DEFAULT NULL)
RETURNS @extschema@.idem_receipt
LANGUAGE C VOLATILE PARALLEL UNSAFE SUPPORT idempotency.shorten_call
AS 'MODULE_PATHNAME';
COMMENT ON FUNCTION @extschema@.idem_authorize(text, numeric, text, text, text, interval, text, anycompatible, text, text) IS
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

CREATE FUNCTION @extschema@.idem_post(
	key text,
	entries @extschema@.idem_entry[],
	reference text DEFAULT NULL,
	metadata anycompatible DEFAULT NULL::text,
	scope text DEFAULT NULL,
	declines text DEFAULT NULL)
RETURNS @extschema@.idem_receipt
LANGUAGE C VOLATILE PARALLEL UNSAFE SUPPORT idempotency.shorten_call
AS 'MODULE_PATHNAME';
COMMENT ON FUNCTION @extschema@.idem_post(text, @extschema@.idem_entry[], text, anycompatible, text, text) IS
	'moves money between several accounts, all or nothing, once per key; what they get and give adds up to zero';

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
	scope text DEFAULT NULL,
	from_accounts text[] DEFAULT NULL,
	to_accounts text[] DEFAULT NULL,
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
COMMENT ON FUNCTION @extschema@.idem_pay_batch(text[], numeric[], text[], text[], anycompatiblearray, text, text[], text[], text) IS
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
	WHERE o.sqlstate IS NULL AND o.kind NOT IN ('cancel', 'post')
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
WHERE o.sqlstate IS NULL AND o.amount <> numeric '0' AND o.kind <> 'post';
COMMENT ON VIEW idempotency.movement IS
	'each change of what payments hold and have taken, in signed amounts';

CREATE VIEW idempotency.account_entry WITH (security_invoker) AS
SELECT a.scope,
	a.name AS account,
	e.seq,
	e.created_at,
	e.payment_id,
	e.operation,
	o.kind,
	o.key,
	o.reference,
	a.currency,
	e.amount,
	coalesce(e.held, e.amount - e.amount) AS hold,
	a.owner
FROM idempotency.entry e
JOIN idempotency.account a ON a.id = e.account
LEFT JOIN idempotency.operation o ON o.scope = a.scope AND o.payment_id = e.payment_id AND o.seq = e.operation;
COMMENT ON VIEW idempotency.account_entry IS
	'each change of an account, with the operation that made it';

CREATE FUNCTION @extschema@.idem_expire(max_holds integer DEFAULT 1000)
RETURNS integer
LANGUAGE C VOLATILE PARALLEL UNSAFE
AS 'MODULE_PATHNAME';
COMMENT ON FUNCTION @extschema@.idem_expire(integer) IS
	'looks at up to max_holds expired holds, releases what is left of them, and returns how many it looked at';
