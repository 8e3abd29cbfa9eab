/*-------------------------------------------------------------------------
 *
 * sums.c
 *		What entries add up to.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "ledger/sums.h"
#include "money/money.h"

Numeric
sums_add_numeric(Numeric a, Numeric b)
{
	if (a == NULL)
		return b;
	return b == NULL ? a : money_add(a, b);
}

void
sums_add(Sums *sums, const Sums *change)
{
	sums->posted = sums_add_numeric(sums->posted, change->posted);
	sums->held = sums_add_numeric(sums->held, change->held);
	sums->entries += change->entries;
}

Numeric
sums_available(const Sums *sums)
{
	if (sums->held == NULL)
		return sums->posted;
	return money_subtract(sums->posted ? sums->posted : money_zero(0), sums->held);
}
