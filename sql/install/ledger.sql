------------------------------------------------------------------------------
-- Accounts
------------------------------------------------------------------------------

CREATE TABLE idempotency.account (
	id				bigint PRIMARY KEY,
	created_at		timestamptz NOT NULL,
	floor_from		bigint,
	ceiling_from	bigint,
	closed			boolean NOT NULL DEFAULT false,
	scope			text COLLATE "C" NOT NULL,
	name			text COLLATE "C" NOT NULL,
	currency		text COLLATE "C" NOT NULL,
	floor			numeric,
	ceiling			numeric,
	owner			text COLLATE "C" NOT NULL,
	metadata		jsonb,
	UNIQUE (name, scope)
);
COMMENT ON TABLE idempotency.account IS
	'accounts that payments move money between';
COMMENT ON COLUMN idempotency.account.id IS
	'ID of the account, a random number';
COMMENT ON COLUMN idempotency.account.created_at IS
	'when the account was opened';
COMMENT ON COLUMN idempotency.account.floor_from IS
	'number of the first entry that the floor applies to, or null if there is no floor';
COMMENT ON COLUMN idempotency.account.ceiling_from IS
	'number of the first entry that the ceiling applies to, or null if there is no ceiling';
COMMENT ON COLUMN idempotency.account.closed IS
	'true while the account is closed';
COMMENT ON COLUMN idempotency.account.scope IS
	'scope of the account, that of its payments';
COMMENT ON COLUMN idempotency.account.name IS
	'name of the account, unique in its scope';
COMMENT ON COLUMN idempotency.account.currency IS
	'code of its currency';
COMMENT ON COLUMN idempotency.account.floor IS
	'what is available never goes below this, or null for no limit';
COMMENT ON COLUMN idempotency.account.ceiling IS
	'what is posted never goes above this, or null for no limit';
COMMENT ON COLUMN idempotency.account.owner IS
	'name of the role that opened the account';
COMMENT ON COLUMN idempotency.account.metadata IS
	'other data that the caller gave';
SELECT pg_catalog.pg_extension_config_dump('idempotency.account', '');

-- One row for each change of one account. Rows are never updated. Each has the sum of
-- what was there before it, so a balance is read from a few rows (src/ledger/scan.c
-- says how). Columns of fixed width come first, so that there is no padding between
-- columns.
CREATE TABLE idempotency.entry (
	account			bigint NOT NULL,
	seq				bigint NOT NULL,
	created_at		timestamptz NOT NULL,
	payment_id		uuid NOT NULL,
	operation		integer NOT NULL,
	lag				integer NOT NULL,
	gaps			bigint,
	cum_entries		integer,
	amount			numeric NOT NULL,
	base			numeric NOT NULL,
	held			numeric,
	base_held		numeric,
	open			bigint[],
	cum				numeric,
	cum_held		numeric,
	PRIMARY KEY (account, seq)
);
COMMENT ON TABLE idempotency.entry IS
	'one immutable row for each change of an account by an operation';
COMMENT ON COLUMN idempotency.entry.account IS
	'ID of the account';
COMMENT ON COLUMN idempotency.entry.seq IS
	'number of the entry within its account, from 1; numbers can be missing';
COMMENT ON COLUMN idempotency.entry.created_at IS
	'time of the operation, or that of the entry before it if that is later';
COMMENT ON COLUMN idempotency.entry.payment_id IS
	'ID of the payment';
COMMENT ON COLUMN idempotency.entry.operation IS
	'number of the operation within its payment';
COMMENT ON COLUMN idempotency.entry.lag IS
	'how many of the numbers before this one are not covered by base';
COMMENT ON COLUMN idempotency.entry.gaps IS
	'how many of the numbers that base covers it does not count, or null for none';
COMMENT ON COLUMN idempotency.entry.cum_entries IS
	'how many entries cum and cum_held count, or null for one';
COMMENT ON COLUMN idempotency.entry.amount IS
	'change of what is posted';
COMMENT ON COLUMN idempotency.entry.base IS
	'sum of the amounts of the entries up to seq - 1 - lag whose transactions had ended';
COMMENT ON COLUMN idempotency.entry.held IS
	'change of what is held, or null for none';
COMMENT ON COLUMN idempotency.entry.base_held IS
	'the same sum as base, of what is held; null for zero';
COMMENT ON COLUMN idempotency.entry.open IS
	'entries up to seq - 1 - lag whose transactions had not ended: the newest of each; or null for none';
COMMENT ON COLUMN idempotency.entry.cum IS
	'sum of the amounts of this entry and those before it that the same (sub)transaction made in this account, or null if there are none before';
COMMENT ON COLUMN idempotency.entry.cum_held IS
	'the same sum as cum, of what is held; null for zero';
SELECT pg_catalog.pg_extension_config_dump('idempotency.entry', '');

CREATE FUNCTION @extschema@.idem_account_open(
	name text,
	currency text DEFAULT NULL,
	floor numeric DEFAULT NULL,
	ceiling numeric DEFAULT NULL,
	metadata anycompatible DEFAULT NULL::text,
	scope text DEFAULT NULL)
RETURNS @extschema@.idem_account
LANGUAGE C VOLATILE PARALLEL UNSAFE SUPPORT idempotency.shorten_call
AS 'MODULE_PATHNAME';
COMMENT ON FUNCTION @extschema@.idem_account_open(text, text, numeric, numeric, anycompatible, text) IS
	'opens an account, once per name; a repeated call returns the same account';

CREATE FUNCTION @extschema@.idem_account_change(
	name text,
	floor numeric DEFAULT NULL,
	ceiling numeric DEFAULT NULL,
	closed boolean DEFAULT NULL,
	metadata anycompatible DEFAULT NULL::text,
	scope text DEFAULT NULL)
RETURNS @extschema@.idem_account
LANGUAGE C VOLATILE PARALLEL UNSAFE SUPPORT idempotency.shorten_call
AS 'MODULE_PATHNAME';
COMMENT ON FUNCTION @extschema@.idem_account_change(text, numeric, numeric, boolean, anycompatible, text) IS
	'changes the limits or metadata of an account, closes it or opens it again; what is null stays as it is';

CREATE FUNCTION @extschema@.idem_lookup_account(
	name text,
	scope text DEFAULT NULL)
RETURNS SETOF @extschema@.idem_account
LANGUAGE C STABLE PARALLEL RESTRICTED ROWS 1 SUPPORT idempotency.shorten_call
AS 'MODULE_PATHNAME';
COMMENT ON FUNCTION @extschema@.idem_lookup_account(text, text) IS
	'returns an account, or no row; writes nothing';

CREATE FUNCTION @extschema@.idem_balance(
	account text,
	at timestamptz DEFAULT NULL,
	scope text DEFAULT NULL,
	OUT currency text,
	OUT posted numeric,
	OUT held numeric,
	OUT available numeric,
	OUT entries bigint)
LANGUAGE C STABLE PARALLEL RESTRICTED SUPPORT idempotency.shorten_call
AS 'MODULE_PATHNAME';
COMMENT ON FUNCTION @extschema@.idem_balance(text, timestamptz, text) IS
	'returns the balance of an account, now or at a time, and how many entries it adds up; writes nothing';

CREATE FUNCTION @extschema@.idem_statement(
	account text,
	since timestamptz DEFAULT NULL,
	until timestamptz DEFAULT NULL,
	after bigint DEFAULT NULL,
	max integer DEFAULT 100,
	scope text DEFAULT NULL,
	OUT seq bigint,
	OUT created_at timestamptz,
	OUT payment_id uuid,
	OUT operation integer,
	OUT kind text,
	OUT key text,
	OUT reference text,
	OUT amount numeric,
	OUT hold numeric,
	OUT posted numeric,
	OUT held numeric,
	OUT available numeric,
	OUT settled bigint)
RETURNS SETOF record
LANGUAGE C STABLE PARALLEL RESTRICTED ROWS 100 SUPPORT idempotency.shorten_call
AS 'MODULE_PATHNAME';
COMMENT ON FUNCTION @extschema@.idem_statement(text, timestamptz, timestamptz, bigint, integer, text) IS
	'returns the entries of an account in the order of their numbers, each with the balance after it, at most max of them; writes nothing';

CREATE FUNCTION idempotency.entry_balance(
	account bigint,
	OUT posted numeric,
	OUT held numeric,
	OUT available numeric,
	OUT entries bigint)
LANGUAGE C STABLE STRICT PARALLEL RESTRICTED
AS 'MODULE_PATHNAME', 'idem_entry_balance';
COMMENT ON FUNCTION idempotency.entry_balance(bigint) IS
	'returns the balance of the account with this ID, whoever has opened it; for the view idempotency.account_balance';

CREATE VIEW idempotency.account_balance WITH (security_invoker) AS
SELECT a.scope,
	a.name,
	a.currency,
	b.posted,
	b.held,
	b.available,
	b.entries,
	a.floor,
	a.ceiling,
	a.closed,
	a.owner,
	a.metadata,
	a.created_at
FROM idempotency.account a, LATERAL idempotency.entry_balance(a.id) b;
COMMENT ON VIEW idempotency.account_balance IS
	'accounts, each with its balance as of now';
