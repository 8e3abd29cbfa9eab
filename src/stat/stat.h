/*-------------------------------------------------------------------------
 *
 * stat.h
 *		Counting calls and what became of them.
 *
 *-------------------------------------------------------------------------
 */
#ifndef IDEM_STAT_H
#define IDEM_STAT_H

#include "fmgr.h"
#include "utils/timestamp.h"

/* The functions that are counted.  stat.c has their names. */
typedef enum StatFunction
{
	STAT_PAY,
	STAT_AUTHORIZE,
	STAT_INCREASE,
	STAT_CAPTURE,
	STAT_VOID,
	STAT_REFUND,
	STAT_CANCEL,
	STAT_POST,
	STAT_PAY_BATCH,
	STAT_CAPTURE_BATCH,
	STAT_REFUND_BATCH,
	STAT_EXPIRE,
	STAT_BEGIN,
	STAT_COMPLETE,
	STAT_FAIL,
	STAT_RELEASE,
	STAT_CHECKPOINT,
	STAT_RENEW,
	STAT_EXECUTE,
	STAT_PURGE,
	STAT_RELAY,
	STAT_ACCOUNT_OPEN,
	STAT_ACCOUNT_CHANGE,
} StatFunction;

#define N_STAT_FUNCTIONS	(STAT_ACCOUNT_CHANGE + 1)

/* What is counted for each of them. */
typedef enum StatCounter
{
	STAT_CALLS,
	/* outcomes, of a call or of the items of a batch: */
	STAT_NEW,					/* it was carried out */
	STAT_REPLAYED,				/* it got the stored answer */
	STAT_DECLINED,				/* it was refused: ID402, ID412 */
	STAT_IN_FLIGHT,				/* others had the key for too long: ID409,
								 * 55P03 */
	STAT_MISMATCH,				/* the key was used with another request:
								 * ID422 */
	STAT_CONFLICT,				/* to be run again: 40001, 40P01 */
	STAT_FAILED,				/* any other error */
	/* waits: */
	STAT_WAITS,					/* calls that waited for other transactions */
	STAT_WAIT_US,				/* for how long, in microseconds */
	STAT_DURABILITY_WAITS,		/* replays that waited until they were durable */
	STAT_DURABILITY_WAIT_US,
} StatCounter;

#define N_STAT_COUNTERS		(STAT_DURABILITY_WAIT_US + 1)

/* What a call may wait for.  session.c has the names that idempotency.activity shows. */
typedef enum StatWait
{
	STAT_WAIT_KEY,				/* another transaction, which has its key, */
	STAT_WAIT_PAYMENT,			/* its payment, */
	STAT_WAIT_ACCOUNT,			/* or one of its accounts */
	STAT_WAIT_DURABILITY		/* the disk, or a standby */
} StatWait;

/* The name of a function, as SQL calls it. */
extern const char *stat_function_name(StatFunction function);

/*
 * A function of SQL that is counted.  Use it in the place of PG_FUNCTION_INFO_V1(),
 * and write the function as: static Datum name_call(PG_FUNCTION_ARGS).
 */
#define STAT_FUNCTION(name, function) \
	static Datum name##_call(PG_FUNCTION_ARGS); \
	PG_FUNCTION_INFO_V1(name); \
	Datum \
	name(PG_FUNCTION_ARGS) \
	{ \
		return stat_call(function, name##_call, fcinfo); \
	} \
	extern int	no_such_variable

/* Run a call, and count it. */
extern Datum stat_call(StatFunction function, PGFunction call, FunctionCallInfo fcinfo);

/*
 * Note what became of n items of the call that runs.  If a call of a function for a
 * single request notes nothing, and ends without an error, it has done something new.
 * What is noted counts only if the call ends without an error.
 */
extern void stat_note(StatCounter outcome, int64 n);

/*
 * Note that this session begins and ends to wait.  An error ends a wait, too.  It counts
 * for the call that runs, if there is one.
 */
extern void stat_wait_begin(StatWait kind);
extern void stat_wait_end(void);

/* Add to a counter, where no call runs. */
extern void stat_add(StatFunction function, StatCounter counter, int64 n);

/* The outcome that an error with this SQLSTATE stands for. */
extern StatCounter stat_outcome_of_error(int sqlstate);

#endif							/* IDEM_STAT_H */
