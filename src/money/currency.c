/*-------------------------------------------------------------------------
 *
 * currency.c
 *		Which currencies there are, and how many decimals they have.
 *
 * ISO 4217 is built in.  The table idempotency.currency has a user's own codes.
 * It is looked at first, so a user can also override a code of ISO 4217.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "mb/pg_wchar.h"
#include "nodes/pg_list.h"
#include "utils/builtins.h"

#include "compat.h"
#include "money/currency.h"
#include "settings.h"
#include "table/cache.h"

/* A currency of ISO 4217. */
typedef struct IsoCurrency
{
	char		code[4];
	int8		exponent;
} IsoCurrency;

/* A row of idempotency.currency. */
typedef struct UserCurrency
{
	char	   *code;
	int16		exponent;
} UserCurrency;

/*
 * ISO 4217 List One as of 2026-01-01, sorted by code.
 *
 * Codes without a minor unit ("N.A.") are left out: metals (XAU, XAG, XPD, XPT), bond
 * market units (XBA to XBD), XDR, XSU, XUA, and XTS and XXX, which are no currencies.
 * If you need one of them, or a withdrawn code, add a row to idempotency.currency.
 */
static const IsoCurrency iso_4217[] = {
	{"AED", 2}, {"AFN", 2}, {"ALL", 2}, {"AMD", 2}, {"AOA", 2}, {"ARS", 2},
	{"AUD", 2}, {"AWG", 2}, {"AZN", 2}, {"BAM", 2}, {"BBD", 2}, {"BDT", 2},
	{"BHD", 3}, {"BIF", 0}, {"BMD", 2}, {"BND", 2}, {"BOB", 2}, {"BOV", 2},
	{"BRL", 2}, {"BSD", 2}, {"BTN", 2}, {"BWP", 2}, {"BYN", 2}, {"BZD", 2},
	{"CAD", 2}, {"CDF", 2}, {"CHE", 2}, {"CHF", 2}, {"CHW", 2}, {"CLF", 4},
	{"CLP", 0}, {"CNY", 2}, {"COP", 2}, {"COU", 2}, {"CRC", 2}, {"CUP", 2},
	{"CVE", 2}, {"CZK", 2}, {"DJF", 0}, {"DKK", 2}, {"DOP", 2}, {"DZD", 2},
	{"EGP", 2}, {"ERN", 2}, {"ETB", 2}, {"EUR", 2}, {"FJD", 2}, {"FKP", 2},
	{"GBP", 2}, {"GEL", 2}, {"GHS", 2}, {"GIP", 2}, {"GMD", 2}, {"GNF", 0},
	{"GTQ", 2}, {"GYD", 2}, {"HKD", 2}, {"HNL", 2}, {"HTG", 2}, {"HUF", 2},
	{"IDR", 2}, {"ILS", 2}, {"INR", 2}, {"IQD", 3}, {"IRR", 2}, {"ISK", 0},
	{"JMD", 2}, {"JOD", 3}, {"JPY", 0}, {"KES", 2}, {"KGS", 2}, {"KHR", 2},
	{"KMF", 0}, {"KPW", 2}, {"KRW", 0}, {"KWD", 3}, {"KYD", 2}, {"KZT", 2},
	{"LAK", 2}, {"LBP", 2}, {"LKR", 2}, {"LRD", 2}, {"LSL", 2}, {"LYD", 3},
	{"MAD", 2}, {"MDL", 2}, {"MGA", 2}, {"MKD", 2}, {"MMK", 2}, {"MNT", 2},
	{"MOP", 2}, {"MRU", 2}, {"MUR", 2}, {"MVR", 2}, {"MWK", 2}, {"MXN", 2},
	{"MXV", 2}, {"MYR", 2}, {"MZN", 2}, {"NAD", 2}, {"NGN", 2}, {"NIO", 2},
	{"NOK", 2}, {"NPR", 2}, {"NZD", 2}, {"OMR", 3}, {"PAB", 2}, {"PEN", 2},
	{"PGK", 2}, {"PHP", 2}, {"PKR", 2}, {"PLN", 2}, {"PYG", 0}, {"QAR", 2},
	{"RON", 2}, {"RSD", 2}, {"RUB", 2}, {"RWF", 0}, {"SAR", 2}, {"SBD", 2},
	{"SCR", 2}, {"SDG", 2}, {"SEK", 2}, {"SGD", 2}, {"SHP", 2}, {"SLE", 2},
	{"SOS", 2}, {"SRD", 2}, {"SSP", 2}, {"STN", 2}, {"SVC", 2}, {"SYP", 2},
	{"SZL", 2}, {"THB", 2}, {"TJS", 2}, {"TMT", 2}, {"TND", 3}, {"TOP", 2},
	{"TRY", 2}, {"TTD", 2}, {"TWD", 2}, {"TZS", 2}, {"UAH", 2}, {"UGX", 0},
	{"USD", 2}, {"USN", 2}, {"UYI", 0}, {"UYU", 2}, {"UYW", 4}, {"UZS", 2},
	{"VED", 2}, {"VES", 2}, {"VND", 0}, {"VUV", 0}, {"WST", 2}, {"XAD", 2},
	{"XAF", 0}, {"XCD", 2}, {"XCG", 2}, {"XOF", 0}, {"XPF", 0}, {"YER", 2},
	{"ZAR", 2}, {"ZMW", 2}, {"ZWG", 2}
};

/* The rows of idempotency.currency, of type UserCurrency. */
static List *user_currencies = NIL;

/* For the cache: forget all rows. */
static void user_clear(void);

/* For the cache: take a row of idempotency.currency. */
static void user_add(HeapTuple tuple, TupleDesc desc);

/* For bsearch(): compare a code with an entry of iso_4217. */
static int	iso_compare(const void *key, const void *entry);

/* The cache of idempotency.currency. */
static TableCache user_cache = {
	.table = TABLE_CURRENCY,
	.clear = user_clear,
	.add = user_add,
};

text *
currency_of_call(text *currency)
{
	return currency ? currency
		: setting_text(setting_currency, "idempotency.currency");
}

text *
currency_clip(const text *code)
{
	return cstring_to_text_with_len(VARDATA_ANY(code),
									pg_mbcliplen(VARDATA_ANY(code),
												 VARSIZE_ANY_EXHDR(code), 32));
}

Refusal *
currency_exponent(const text *code, bool from_setting, int *exponent)
{
	char	   *s = text_to_cstring(code);
	const IsoCurrency *iso;
	ListCell   *lc;

	cache_use(&user_cache);
	foreach(lc, user_currencies)
	{
		const UserCurrency *user = lfirst(lc);

		if (strcmp(user->code, s) == 0)
		{
			*exponent = user->exponent;
			return NULL;
		}
	}

	iso = bsearch(s, iso_4217, lengthof(iso_4217), sizeof(IsoCurrency),
				  iso_compare);
	if (iso == NULL)
		return refusal_make(ERRCODE_INVALID_PARAMETER_VALUE,
							psprintf("currency \"%s\" does not exist",
									 text_to_cstring(currency_clip(code))),
							from_setting
							? "The code is the value of the setting \"idempotency.currency\"." : NULL,
							"Use an ISO 4217 code in upper case, such as USD, or add a row to the table \"idempotency.currency\".");
	*exponent = iso->exponent;
	return NULL;
}

static void
user_clear(void)
{
	user_currencies = NIL;
}

static void
user_add(HeapTuple tuple, TupleDesc desc)
{
	bool		isnull[2];
	Datum		code = heap_getattr(tuple, Anum_currency_code, desc, &isnull[0]);
	Datum		exponent = heap_getattr(tuple, Anum_currency_exponent, desc,
										&isnull[1]);
	UserCurrency *currency;

	if (isnull[0] || isnull[1])
		return;
	currency = palloc(sizeof(UserCurrency));
	currency->code = TextDatumGetCString(code);
	currency->exponent = DatumGetInt16(exponent);
	user_currencies = lappend(user_currencies, currency);
}

static int
iso_compare(const void *key, const void *entry)
{
	return strcmp((const char *) key, ((const IsoCurrency *) entry)->code);
}
