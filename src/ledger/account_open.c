/*-------------------------------------------------------------------------
 *
 * account_open.c
 *		Opening an account.
 *
 * idem_account_open(name, currency, floor, ceiling, metadata, scope)
 *
 * The name of an account is claimed as a key is: see claim.c.  So whoever opens an
 * account twice gets the same one, and two who open it at the same time do, too.
 *
 * Whoever changes an account replaces its row, which looks like a claim in flight.  So if
 * the snapshot has the account, it is the answer, and nobody is waited for.  At
 * SERIALIZABLE, "there is none" would be a read that others make untrue, and those who
 * open different accounts would fail each other.  There, only the claim is asked.
 *
 * An account's id is a random number.  A sequence would have to be carried along where
 * rows are: it is in no dump of a subscriber, say.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "fmgr.h"
#include "utils/builtins.h"
#include "utils/timestamp.h"

#include "access.h"
#include "bytes.h"
#include "call.h"
#include "claim/claim.h"
#include "errors.h"
#include "json_arg.h"
#include "ledger/account.h"
#include "ledger/limits.h"
#include "money/currency.h"
#include "money/money.h"
#include "stat/stat.h"

STAT_FUNCTION(idem_account_open, STAT_ACCOUNT_OPEN);

#define COMMAND "idem_account_open()"

static bool look_up(Store *store, const Key *name, Unsettled *rows);
static void open_account(Account *account, Claim *claim);
static Refusal *check_new(const Account *account);
static Refusal *check_replay(const Account *account, const Account *asked);
static Refusal *different(const char *field, const char *has, const char *asked);
static bool same_limit(Numeric a, Numeric b);

/*
 * idem_account_open: open an account.
 *
 * name: 1 to 255 bytes, not NULL.  currency: NULL means the setting
 * idempotency.currency.  floor, ceiling: in its major unit; NULL, -Infinity and Infinity
 * mean no limit.  metadata: may be NULL.  scope: NULL means the setting
 * idempotency.scope.
 *
 * Result: the account.
 *
 * Errors: those of json_arg_jsonb(), key_check_account(), limits_check(),
 * currency_exponent(), claim_find(), claim_take() and store_insert(); ID403 if another
 * role has opened it; ID422 if it was opened with another currency, or has another
 * limit or other metadata now.
 */
static Datum
idem_account_open_call(PG_FUNCTION_ARGS)
{
	Account		asked = {
		.currency = currency_of_call(ARG_TEXT(1)),
		.floor = ARG_NUMERIC(2),
		.ceiling = ARG_NUMERIC(3),
		.metadata = json_arg_jsonb(fcinfo, 4, "metadata"),
	};
	Account		account;
	Key			name;
	Store		store;
	Claim		claim;
	Unsettled	rows = {0};
	Refusal    *refusal = NULL;
	Datum		result;
	int			exponent = 0;
	bool		is_new = false;

	refusal_raise(key_check_account(ARG_TEXT(0), ARG_TEXT(5), &name));
	asked.name = name.key;
	asked.scope = name.scope;
	refusal_raise(limits_check(&asked));

	store_open(&store, TABLE_ACCOUNT);
	claim_init(&claim, &store, &name);
	if (!look_up(&store, &name, &rows) && !claim_find(&claim, COMMAND))
	{
		refusal_raise(currency_exponent(asked.currency, ARG_IS_NULL(1), &exponent));
		refusal_raise(limits_set_decimals(&asked.floor, asked.currency, exponent));
		refusal_raise(limits_set_decimals(&asked.ceiling, asked.currency, exponent));
		refusal_raise(check_new(&asked));
		is_new = claim_take(&claim, COMMAND);
	}
	if (is_new)
	{
		account = asked;
		open_account(&account, &claim);
	}
	else
	{
		account_from_slot(&account, store.slot);
		refusal = account_check_access(&account);
		if (refusal == NULL)
			refusal = refusal_log_name(check_replay(&account, &asked), "account", name.scope, name.key);
	}
	result = account_result(fcinfo, &account);
	if (!is_new)				/* account is not valid any more */
	{
		account_predicate_lock(&store, &name);
		stat_note(STAT_REPLAYED, 1);
	}
	refusal_raise(refusal);
	store_close(&store);
	settle(&rows);
	return result;
}

/*
 * Does the snapshot have the account?  Not asked at SERIALIZABLE.
 */
static bool
look_up(Store *store, const Key *name, Unsettled *rows)
{
	if (IsolationIsSerializable())
		return false;
	if (!store_find_key(store, name))
	{
		/* REINDEX may wait for it, and we for REINDEX to insert */
		store_end_look_up(store);
		return false;
	}
	settle_note(rows, store->slot);
	store_let_go(store);
	return true;
}

/*
 * Insert an account whose name is ours.
 */
static void
open_account(Account *account, Claim *claim)
{
	Datum		values[Natts_account];
	bool		nulls[Natts_account];

	if (!pg_strong_random(&account->id, sizeof(account->id)))
		ereport(ERROR,
				(errcode(ERRCODE_INTERNAL_ERROR),
				 errmsg("could not generate random values")));
	account->id &= PG_INT64_MAX;
	account->created_at = GetCurrentTimestamp();
	account->closed = false;
	account->floor_from = account->floor ? 1 : 0;
	account->ceiling_from = account->ceiling ? 1 : 0;
	account->owner = access_current_role();
	account_to_row(account, values, nulls);
	claim_insert(claim, values, nulls);
	claim_release(claim);
}

/*
 * The balance of a new account is zero.  Is that within its limits?
 */
static Refusal *
check_new(const Account *account)
{
	Numeric		zero = money_zero(0);

	if ((account->floor && money_compare(account->floor, zero) > 0) ||
		(account->ceiling && money_compare(account->ceiling, zero) < 0))
		return refusal_make(ERRCODE_IDEM_STATE,
							"a new account would not be within its limits",
							psprintf("Its balance is zero. Floor: %s. Ceiling: %s.",
									 limits_text(account->floor), limits_text(account->ceiling)),
							NULL);
	return NULL;
}

/*
 * Is the account what a request asks for?
 */
static Refusal *
check_replay(const Account *account, const Account *asked)
{
	if (!bytes_equal(account->currency, asked->currency))
		return different("currency", text_to_cstring(account->currency),
						 text_to_cstring(currency_clip(asked->currency)));
	if (!same_limit(account->floor, asked->floor))
		return different("floor", limits_text(account->floor), limits_text(asked->floor));
	if (!same_limit(account->ceiling, asked->ceiling))
		return different("ceiling", limits_text(account->ceiling), limits_text(asked->ceiling));
	if ((account->metadata == NULL) != (asked->metadata == NULL) ||
		(asked->metadata && compareJsonbContainers(&account->metadata->root, &asked->metadata->root) != 0))
		return different("metadata", NULL, NULL);
	return NULL;
}

/*
 * The refusal: ID422, the account differs in this field.
 *
 * has, asked: its value, for the message; both NULL if they are not to be shown.
 */
static Refusal *
different(const char *field, const char *has, const char *asked)
{
	return refusal_make(ERRCODE_IDEM_DIFFERENT_REQUEST,
						"account exists, and is different",
						has ? psprintf("Field \"%s\" differs: it is %s, and the request has %s.",
									   field, has, asked)
						: psprintf("Field \"%s\" differs.", field),
						"Use idem_account_change() to change the limits or the metadata of an account.");
}

/*
 * Are two limits the same?  NULL: there is none.
 */
static bool
same_limit(Numeric a, Numeric b)
{
	if (a == NULL || b == NULL)
		return a == b;
	return money_compare(a, b) == 0;
}
