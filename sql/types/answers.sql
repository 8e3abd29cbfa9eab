------------------------------------------------------------------------------
-- The types of answers, for the extension idempotency and for its router
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
	'stored answer to a keyed operation of a payment';
COMMENT ON COLUMN @extschema@.idem_receipt.key IS 'idempotency key';
COMMENT ON COLUMN @extschema@.idem_receipt.payment_id IS 'ID of the payment that the operation belongs to';
COMMENT ON COLUMN @extschema@.idem_receipt.seq IS 'number of the operation within its payment, from 1';
COMMENT ON COLUMN @extschema@.idem_receipt.kind IS 'kind of the operation: pay, authorize, increase, capture, void, refund, reversal, expire or post; cancel if the key was cancelled before it was used';
COMMENT ON COLUMN @extschema@.idem_receipt.status IS 'state of the payment after the operation: authorized, partially_captured, succeeded, voided, expired, partially_refunded or refunded; or of the operation: declined or cancelled';
COMMENT ON COLUMN @extschema@.idem_receipt.amount IS 'amount of the operation, in the major unit of the currency; of a post: what accounts get, or zero if that is in several currencies';
COMMENT ON COLUMN @extschema@.idem_receipt.currency IS 'code of the currency, or null if there is none or several';
COMMENT ON COLUMN @extschema@.idem_receipt.authorized IS 'total authorized for the payment, after the operation';
COMMENT ON COLUMN @extschema@.idem_receipt.captured IS 'total captured of what was authorized, after the operation';
COMMENT ON COLUMN @extschema@.idem_receipt.refunded IS 'total refunded of what was captured, after the operation';
COMMENT ON COLUMN @extschema@.idem_receipt.capturable IS 'amount that can still be captured';
COMMENT ON COLUMN @extschema@.idem_receipt.refundable IS 'amount that can still be refunded';
COMMENT ON COLUMN @extschema@.idem_receipt.from_account IS 'account that the money comes from, or null';
COMMENT ON COLUMN @extschema@.idem_receipt.to_account IS 'account that the money goes to, or null';
COMMENT ON COLUMN @extschema@.idem_receipt.from_seq IS 'number of the entry that the operation made in from_account, or null';
COMMENT ON COLUMN @extschema@.idem_receipt.to_seq IS 'number of the entry that the operation made in to_account, or null';
COMMENT ON COLUMN @extschema@.idem_receipt.legs IS 'of a post: its entries in the order given, each with account, amount and, unless it was declined, seq; or null';
COMMENT ON COLUMN @extschema@.idem_receipt.reference IS 'text that the caller gave';
COMMENT ON COLUMN @extschema@.idem_receipt.metadata IS 'other data that the caller gave';
COMMENT ON COLUMN @extschema@.idem_receipt.expires_at IS 'when the hold expires, or null if there is none';
COMMENT ON COLUMN @extschema@.idem_receipt.created_at IS 'time of the operation';
COMMENT ON COLUMN @extschema@.idem_receipt.sqlstate IS 'SQLSTATE of the refusal, or null if the operation was not declined';
COMMENT ON COLUMN @extschema@.idem_receipt.message IS 'message of the refusal, or null if the operation was not declined';
COMMENT ON COLUMN @extschema@.idem_receipt.replayed IS 'true if an earlier call stored the receipt and this call did nothing';

CREATE TYPE @extschema@.idem_entry AS (
	account			text COLLATE "C",
	amount			numeric
);
COMMENT ON TYPE @extschema@.idem_entry IS
	'what idem_post() is to change in one account';
COMMENT ON COLUMN @extschema@.idem_entry.account IS 'name of the account';
COMMENT ON COLUMN @extschema@.idem_entry.amount IS 'what the account gets, in the major unit of its currency; below zero for what it gives';

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
	'an account, without its balance';
COMMENT ON COLUMN @extschema@.idem_account.name IS 'name of the account';
COMMENT ON COLUMN @extschema@.idem_account.currency IS 'code of its currency';
COMMENT ON COLUMN @extschema@.idem_account.floor IS 'what is available never goes below this, or null for no limit';
COMMENT ON COLUMN @extschema@.idem_account.ceiling IS 'what is posted never goes above this, or null for no limit';
COMMENT ON COLUMN @extschema@.idem_account.closed IS 'true while the account is closed';
COMMENT ON COLUMN @extschema@.idem_account.metadata IS 'other data that the caller gave';
COMMENT ON COLUMN @extschema@.idem_account.owner IS 'name of the role that opened the account';
COMMENT ON COLUMN @extschema@.idem_account.created_at IS 'when the account was opened';

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

