-- The install script of the extension idempotency_remit begins here. The Makefile makes one script of the files of this
-- folder, in its order.
--
-- It moves money between accounts of different scopes, which may be on different partitions, without two-phase commit. All
-- that a scope has is on one partition, and each partition commits by itself. So the money goes in steps, and each can be
-- repeated:
--
-- 1.	idem_remit() moves it from the sender's account to the clearing account of the sender's scope, and stores an order:
--		a row of remittance, with the status "sent". Both are in the caller's transaction.
-- 2.	A relay asks for orders that are due: due(). It sends each to the partition of the receiver's scope, where deliver()
--		moves the money from the clearing account of that scope to the receiver's. So this one gets below zero.
--		The key is "idem_remit:" and the order's token. However often an order comes, it is carried out once.
-- 3.	The relay tells the sender's partition: settle(). The order becomes "delivered".
--
-- If the receiver's side refuses for good, because there is no such account or a limit forbids it, that must not change
-- later: a second relay may come with the same order. A refusal by a limit is stored under the key. For any other, the key
-- is cancelled, so it never has an effect. Then settle() moves the money back from the clearing account, with the key
-- "idem_remit_back:" and the same token, and the order becomes "returned".
--
-- If anything else fails, nothing is known, and the order stays as it is. A relay may die between any two steps. Then the
-- order is due again, and its steps are repeated.
--
-- Over all partitions, the clearing accounts of a currency add up to what is sent and has not arrived.
--
-- All steps use postings, because these are final: nobody can cancel or refund them. Clearing accounts belong to the owner of
-- this extension, so nobody else can take money from them. A token is random, and nobody sees it before its keys are used.
-- Otherwise somebody could use or cancel one of these keys first.
--
-- A relay is trusted: what it says was sent is paid out.

-- Stop psql users who source this file instead of running CREATE EXTENSION.
\echo Use "CREATE EXTENSION idempotency_remit CASCADE" to load this file. \quit

DO $do$
DECLARE
	place text;
BEGIN
	SELECT n.nspname INTO place
	FROM pg_catalog.pg_extension e JOIN pg_catalog.pg_namespace n ON n.oid OPERATOR(pg_catalog.=) e.extnamespace
	WHERE e.extname OPERATOR(pg_catalog.=) 'idempotency';
	IF pg_catalog.quote_ident(place) OPERATOR(pg_catalog.<>) '@extschema@' THEN
		RAISE EXCEPTION 'the schema must be that of the extension idempotency'
			USING ERRCODE = 'invalid_schema_name',
				HINT = pg_catalog.format('Use: CREATE EXTENSION idempotency_remit SCHEMA %I;', place);
	END IF;
END
$do$;

CREATE SCHEMA idempotency_remit;
COMMENT ON SCHEMA idempotency_remit IS
	'data of the extension idempotency_remit: orders to move money to other scopes';

CREATE TABLE idempotency_remit.remittance (
	scope			text COLLATE "C" NOT NULL,
	key				text COLLATE "C" NOT NULL,
	payment_id		uuid NOT NULL,
	status			text COLLATE "C" NOT NULL CHECK (status IN ('declined', 'sent', 'delivered', 'returned')),
	from_account	text COLLATE "C" NOT NULL,
	to_scope		text COLLATE "C" NOT NULL,
	to_account		text COLLATE "C" NOT NULL,
	amount			numeric NOT NULL,
	currency		text COLLATE "C" NOT NULL,
	reference		text,
	metadata		jsonb,
	role			text COLLATE "C" NOT NULL,
	created_at		timestamptz NOT NULL,
	settled_at		timestamptz,
	sqlstate		text COLLATE "C",
	message			text,
	tries			integer NOT NULL DEFAULT 0,
	due_at			timestamptz NOT NULL,
	token			uuid NOT NULL DEFAULT gen_random_uuid(),
	PRIMARY KEY (payment_id, scope),
	UNIQUE (key, scope)
);
CREATE INDEX ON idempotency_remit.remittance (due_at) WHERE status = 'sent';
COMMENT ON TABLE idempotency_remit.remittance IS
	'one row for each call of idem_remit(): an order to move money to another scope, and what became of it';
COMMENT ON COLUMN idempotency_remit.remittance.scope IS 'scope of the sender';
COMMENT ON COLUMN idempotency_remit.remittance.key IS 'idempotency key';
COMMENT ON COLUMN idempotency_remit.remittance.payment_id IS 'ID of the posting that took the money from the sender';
COMMENT ON COLUMN idempotency_remit.remittance.status IS 'declined: the sender had not enough; sent; delivered; or returned: the other side refused';
COMMENT ON COLUMN idempotency_remit.remittance.from_account IS 'account of the sender';
COMMENT ON COLUMN idempotency_remit.remittance.to_scope IS 'scope of the receiver';
COMMENT ON COLUMN idempotency_remit.remittance.to_account IS 'account of the receiver';
COMMENT ON COLUMN idempotency_remit.remittance.amount IS 'amount, in the major unit of the currency';
COMMENT ON COLUMN idempotency_remit.remittance.currency IS 'ISO 4217 code, or a code of your own';
COMMENT ON COLUMN idempotency_remit.remittance.reference IS 'reference of the application, for both postings';
COMMENT ON COLUMN idempotency_remit.remittance.metadata IS 'data of the application, for both postings';
COMMENT ON COLUMN idempotency_remit.remittance.role IS 'name of the role that sent the money';
COMMENT ON COLUMN idempotency_remit.remittance.created_at IS 'when it was sent';
COMMENT ON COLUMN idempotency_remit.remittance.settled_at IS 'when it was known that it was delivered, or when it was returned';
COMMENT ON COLUMN idempotency_remit.remittance.sqlstate IS 'SQLSTATE with which the last try failed, or null';
COMMENT ON COLUMN idempotency_remit.remittance.message IS 'message with which the last try failed, or null';
COMMENT ON COLUMN idempotency_remit.remittance.tries IS 'how often a relay has taken the order';
COMMENT ON COLUMN idempotency_remit.remittance.due_at IS 'when a relay takes it next, if it is still sent';
COMMENT ON COLUMN idempotency_remit.remittance.token IS 'random part of the keys of its delivery and its return';
SELECT pg_catalog.pg_extension_config_dump('idempotency_remit.remittance', '');

-- The clearing accounts that are ours. Any other account can have such a name.
CREATE TABLE idempotency_remit.clearing (
	scope			text COLLATE "C",
	currency		text COLLATE "C",
	PRIMARY KEY (scope, currency)
);
COMMENT ON TABLE idempotency_remit.clearing IS
	'clearing accounts that this extension has opened; their names are idem_clearing: and the currency';
COMMENT ON COLUMN idempotency_remit.clearing.scope IS 'scope of the account';
COMMENT ON COLUMN idempotency_remit.clearing.currency IS 'currency of the account';
SELECT pg_catalog.pg_extension_config_dump('idempotency_remit.clearing', '');

