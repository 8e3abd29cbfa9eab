------------------------------------------------------------------------------
-- Payments
------------------------------------------------------------------------------

SELECT idempotency_router.define('idem_pay',
	'key text, amount numeric, currency text DEFAULT NULL, from_account text DEFAULT NULL, to_account text DEFAULT NULL, '
	'reference text DEFAULT NULL, metadata anycompatible DEFAULT NULL::text, scope text DEFAULT NULL, declines text DEFAULT NULL',
	'@extschema@.idem_receipt',
	'pays an amount, once per key; a repeated call returns the same receipt');
SELECT idempotency_router.define('idem_authorize',
	'key text, amount numeric, currency text DEFAULT NULL, from_account text DEFAULT NULL, to_account text DEFAULT NULL, '
	'expires_in interval DEFAULT ''7 days'', reference text DEFAULT NULL, metadata anycompatible DEFAULT NULL::text, '
	'scope text DEFAULT NULL, declines text DEFAULT NULL',
	'@extschema@.idem_receipt',
	'holds an amount to be captured before the hold expires, once per key');
SELECT idempotency_router.define('idem_increase',
	'key text, payment_id uuid, amount numeric DEFAULT 0, expires_in interval DEFAULT NULL, reference text DEFAULT NULL, '
	'metadata anycompatible DEFAULT NULL::text, scope text DEFAULT NULL, currency text DEFAULT NULL, declines text DEFAULT NULL',
	'@extschema@.idem_receipt',
	'raises a payment''s hold by an amount, lets it expire later, or both, once per key');
SELECT idempotency_router.define('idem_capture',
	'key text, payment_id uuid, amount numeric DEFAULT ''Infinity'', final boolean DEFAULT true, reference text DEFAULT NULL, '
	'metadata anycompatible DEFAULT NULL::text, scope text DEFAULT NULL, currency text DEFAULT NULL, declines text DEFAULT NULL',
	'@extschema@.idem_receipt',
	'captures all or part of a payment''s hold, once per key, and releases the rest unless final is false');
SELECT idempotency_router.define('idem_void',
	'key text, payment_id uuid, reference text DEFAULT NULL, metadata anycompatible DEFAULT NULL::text, '
	'scope text DEFAULT NULL, currency text DEFAULT NULL, declines text DEFAULT NULL',
	'@extschema@.idem_receipt',
	'releases what is left of a payment''s hold, once per key');
SELECT idempotency_router.define('idem_refund',
	'key text, payment_id uuid, amount numeric DEFAULT ''Infinity'', reference text DEFAULT NULL, '
	'metadata anycompatible DEFAULT NULL::text, scope text DEFAULT NULL, currency text DEFAULT NULL, declines text DEFAULT NULL',
	'@extschema@.idem_receipt',
	'refunds all or part of what a payment captured, once per key');
SELECT idempotency_router.define('idem_post',
	'key text, entries @extschema@.idem_entry[], reference text DEFAULT NULL, metadata anycompatible DEFAULT NULL::text, '
	'scope text DEFAULT NULL, declines text DEFAULT NULL',
	'@extschema@.idem_receipt',
	'moves money between several accounts, all or nothing, once per key; what they get and give adds up to zero');
SELECT idempotency_router.define('idem_cancel',
	'key text, scope text DEFAULT NULL',
	'@extschema@.idem_receipt',
	'undoes the operation of a key, or makes sure that an unused key never has an effect');
SELECT idempotency_router.define('idem_lookup',
	'key text, scope text DEFAULT NULL',
	'SETOF @extschema@.idem_receipt ROWS 1',
	'returns the receipt stored under a key, or no row; writes nothing');
SELECT idempotency_router.define('idem_payment',
	'payment_id uuid, scope text DEFAULT NULL',
	'@extschema@.idem_receipt',
	'returns the newest operation of a payment with the payment''s state as of now');
SELECT idempotency_router.define('idem_history',
	'payment_id uuid, scope text DEFAULT NULL',
	'SETOF @extschema@.idem_receipt ROWS 5',
	'returns the receipts of all operations of a payment, in their order');
SELECT idempotency_router.define('idem_payments',
	'since timestamptz DEFAULT NULL, until timestamptz DEFAULT NULL, after uuid DEFAULT NULL, max integer DEFAULT 100, '
	'scope text DEFAULT NULL',
	'SETOF @extschema@.idem_receipt ROWS 100',
	'returns the newest operation of each payment with the payment''s state as of now, in the order in which the payments were started, at most max of them');

------------------------------------------------------------------------------
-- Accounts
------------------------------------------------------------------------------

SELECT idempotency_router.define('idem_account_open',
	'name text, currency text DEFAULT NULL, floor numeric DEFAULT NULL, ceiling numeric DEFAULT NULL, '
	'metadata anycompatible DEFAULT NULL::text, scope text DEFAULT NULL',
	'@extschema@.idem_account',
	'opens an account, once per name; a repeated call returns the same account');
SELECT idempotency_router.define('idem_account_change',
	'name text, floor numeric DEFAULT NULL, ceiling numeric DEFAULT NULL, closed boolean DEFAULT NULL, '
	'metadata anycompatible DEFAULT NULL::text, scope text DEFAULT NULL',
	'@extschema@.idem_account',
	'changes the limits or metadata of an account, closes it or opens it again; what is null stays as it is');
SELECT idempotency_router.define('idem_lookup_account',
	'name text, scope text DEFAULT NULL',
	'SETOF @extschema@.idem_account ROWS 1',
	'returns an account, or no row; writes nothing');
SELECT idempotency_router.define('idem_balance',
	'account text, at timestamptz DEFAULT NULL, scope text DEFAULT NULL, '
	'OUT currency text, OUT posted numeric, OUT held numeric, OUT available numeric, OUT entries bigint',
	'record',
	'returns the balance of an account, now or at a time, and how many entries it adds up; writes nothing');
SELECT idempotency_router.define('idem_statement',
	'account text, since timestamptz DEFAULT NULL, until timestamptz DEFAULT NULL, after bigint DEFAULT NULL, '
	'max integer DEFAULT 100, scope text DEFAULT NULL, '
	'OUT seq bigint, OUT created_at timestamptz, OUT payment_id uuid, OUT operation integer, OUT kind text, OUT key text, '
	'OUT reference text, OUT amount numeric, OUT hold numeric, OUT posted numeric, OUT held numeric, OUT available numeric, '
	'OUT settled bigint',
	'SETOF record ROWS 100',
	'returns the entries of an account in the order of their numbers, each with the balance after it, at most max of them; writes nothing');

