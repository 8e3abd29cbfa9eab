/*
 * One account: how its entries are decided and chained.
 *
 * This is the protocol of an account's chain of entries.  A few transactions
 * work on one account, in every order there is.  Each makes some operations
 * (payments, holds, a change of the limits), in savepoints or not, and then
 * commits or rolls back.  It may also roll back at any time in between.
 *
 * An operation takes the account's lock, scans the newest entries, decides,
 * inserts one entry (a batch: two) and gives the lock back.  Each row that the scan reads is
 * a step of its own, and so is each look-up in "open".  So others commit and
 * roll back in the middle of a scan.  Rows that were rolled back are gone, and
 * the numbers of the newest ones are used again.
 *
 * What is asserted, by name:
 *
 * - base_is_sum: for a reader, the base of each row, with cum of those in
 *   "open", is the sum of the rows in its range, posted and held.  So the
 *   balance from any row is right.  This holds after every step, for a stranger
 *   and for each transaction that runs.
 * - limits_kept: what is committed keeps the floor and the ceiling then in
 *   force, after every step and up to each number.
 * - limits_in_force: a decision goes by the limits in force, and at REPEATABLE
 *   READ they are those of the snapshot, too.
 * - decline_is_certain: what is declined would pass the limit whatever becomes
 *   of those who are in progress.
 * - agrees_with_snapshot: at REPEATABLE READ, what is accepted keeps the limit
 *   by the snapshot and own rows, and what is declined passes it by them.
 * - somebody_to_wait_for: what can be neither accepted nor declined has somebody
 *   in progress to wait for.  At REPEATABLE READ there may be nobody; then it
 *   fails (40001).
 * - page_is_settled: no row is committed at or below the number up to which a
 *   statement was settled, unless the statement's reader saw it.
 * - number_is_free: no row has the number of the new one.
 *
 * Nobody is stuck, too: spin reports that as an invalid end state.
 *
 * Settings, all with -D:
 *
 * OPS_0, OPS_1, OPS_2  how many operations each transaction makes at most
 * REPEATABLE_READ      transaction 0 has one snapshot; else READ COMMITTED
 * SAVEPOINTS           how many each transaction may make: beside each other or
 *                      nested, released or rolled back
 * HOLDS                operations also hold, capture and void
 * BATCHES              operations are also batches of two items
 * FLOOR, CEILING       the limits at first
 * CHANGER              this transaction may change the limits, once, to
 *                      NEW_FLOOR and NEW_CEILING
 * READER               somebody reads a statement
 * POSTED, HELD         what is in row 1, committed before; none if both are 0
 * CREDIT, DEBIT, LARGE amounts of the operations; LARGE is another debit
 * STRAGGLER            how far behind top a row in progress goes into "open"
 * OPEN_MAX             how many transactions "open" takes
 *
 * Each "#ifdef WITHOUT_..." takes away something that the protocol demands,
 * and each "#ifdef FAULT_..." makes an error.  spin must notice any of them.
 */
#ifndef OPS_0
#define OPS_0 2
#endif
#ifndef OPS_1
#define OPS_1 2
#endif
#ifndef OPS_2
#define OPS_2 0
#endif
#ifndef SAVEPOINTS
#define SAVEPOINTS 0
#endif
#ifndef POSTED
#define POSTED 2
#endif
#ifndef HELD
#define HELD 0
#endif
#ifndef CREDIT
#define CREDIT 2
#endif
#ifndef DEBIT
#define DEBIT 1
#endif
#ifndef LARGE
#define LARGE 3
#endif
#ifndef HOLD
#define HOLD 2
#endif
#ifndef STRAGGLER
#define STRAGGLER 1
#endif
#ifndef OPEN_MAX
#define OPEN_MAX 6
#endif

#define NO_LIMIT 99
#ifndef FLOOR
#define FLOOR 0
#endif
#ifndef CEILING
#define CEILING NO_LIMIT
#endif
#ifndef NEW_FLOOR
#define NEW_FLOOR FLOOR
#endif
#ifndef NEW_CEILING
#define NEW_CEILING CEILING
#endif
#ifndef CHANGER
#define CHANGER NOBODY
#endif

#define NOBODY 3
#ifdef BATCHES
#define ROWS (1 + 2 * (OPS_0 + OPS_1 + OPS_2))
#else
#define ROWS (1 + OPS_0 + OPS_1 + OPS_2)
#endif

/* Sets, of rows by their number and of transactions by their id. */
#define BIT(n) (1 << (n))
#define IN(set, n) (((set) >> (n)) & 1)

#define MIN(a, b) ((a) < (b) -> (a) : (b))
#define MAX(a, b) ((a) > (b) -> (a) : (b))

/*
 * Transaction i has several ids, its own and those of its savepoints.  0 is no
 * id.  What was before is from another one, and EVERY is the set of them all.
 */
#define IDS (1 + SAVEPOINTS)
#define TOP(i) (1 + IDS * (i))
#define SETUP TOP(NOBODY)
#define EVERY (BIT(SETUP + 1) - 1)
#define IDS_OF(i) (((1 << IDS) - 1) << TOP(i))

/*
 * The state of the database.
 */
typedef Row
{
	byte		xmin;			/* 0 if there is no row, or it was rolled back */
	short		amount;
	short		held;
	byte		lag;			/* base covers all seq <= seq - 1 - lag */
	short		base;
	short		base_held;
	short		open;			/* the seqs */
	short		cum;
	short		cum_held;
	byte		followed;		/* the id that captured or voided this hold */
};

Row			row[ROWS + 1];
short		running;			/* ids in progress */
short		committed;			/* ids */
short		snapshot;			/* of transaction 0: ids that it sees */
byte		lock;				/* whose the account is: i + 1, or 0 */
byte		changed_by;			/* the id that changed the limits, or 0 */
byte		changed_at;			/* top at that time */
byte		settled;			/* up to where a statement was settled */
short		settled_for;		/* the ids that its reader sees */

#define LIVE(s) IN(running | committed, row[s].xmin)
#define EFFECT(s) (row[s].amount - row[s].held)		/* on what is available */

/* The limits, as transaction i sees them in the newest row of the account. */
#define CHANGED(i) (changed_by != 0 && IN(committed | IDS_OF(i), changed_by))
#define FLOOR_NOW(i) (CHANGED(i) -> NEW_FLOOR : FLOOR)
#define CEILING_NOW(i) (CHANGED(i) -> NEW_CEILING : CEILING)

#ifdef REPEATABLE_READ
#define ONE_SNAPSHOT(i) ((i) == 0)
#else
#define ONE_SNAPSHOT(i) false
#endif

/* FAILS is 40001. */
mtype = { ACCEPTED, DECLINED, WAITS, FAILS };

/* Scratch, no part of a state. */
hidden byte	c_seq, c_row, c_newest, c_id, c_reader, c_count;
hidden mtype c_verdict;
hidden short c_see, c_from;
hidden short c_posted, c_held, c_sum, c_sum_held, c_best, c_least, c_floor, c_ceiling;

/* What is asserted: spin prints the name that fails. */
hidden byte	base_is_sum, limits_kept, limits_in_force, decline_is_certain, agrees_with_snapshot,
			somebody_to_wait_for, number_is_free, page_is_settled;

/*
 * In the view of a reader, the base of each row, with cum of those in "open", is
 * the sum of the rows in its range.  "see" are the ids whose rows are seen,
 * "from" those of the rows that a balance may start from.
 */
inline check_bases(see, from)
{
	c_row = 1;
	do
	:: c_row <= ROWS ->
		c_posted = row[c_row].base;
		c_held = row[c_row].base_held;
		c_seq = 1;
		do
		:: c_seq + row[c_row].lag < c_row ->
			if
			:: IN(see, row[c_seq].xmin) && IN(row[c_row].open, c_seq) ->
				c_posted = c_posted + row[c_seq].cum - row[c_seq].amount;
				c_held = c_held + row[c_seq].cum_held - row[c_seq].held
			:: IN(see, row[c_seq].xmin) && !IN(row[c_row].open, c_seq) ->
				c_posted = c_posted - row[c_seq].amount;
				c_held = c_held - row[c_seq].held
			:: else
			fi;
			c_seq++
		:: else -> break
		od;
		base_is_sum = !IN(from, row[c_row].xmin) || (c_posted == 0 && c_held == 0);
		assert(base_is_sum);
		c_row++
	:: else -> break
	od
}

inline check_readers()
{
	check_bases(committed, committed);
	c_reader = 0;
	do
	:: c_reader < NOBODY ->
		c_see = (running & IDS_OF(c_reader)) | (committed & (ONE_SNAPSHOT(c_reader) -> snapshot : EVERY));
		c_from = (ONE_SNAPSHOT(c_reader) -> snapshot : c_see);
		if
		:: IN(running, TOP(c_reader)) -> check_bases(c_see, c_from)
		:: else
		fi;
		c_reader++
	:: else -> break
	od
}

/*
 * What is committed keeps the limits, up to each number.  New limits hold from
 * the row on that was the newest when they were set.  Below it the wider ones
 * do, since a number may have been used again after the change.
 */
inline check_committed()
{
	c_sum = 0;
	c_sum_held = 0;
	c_seq = 1;
	do
	:: c_seq <= ROWS ->
		if
		:: IN(committed, row[c_seq].xmin) ->
			c_sum = c_sum + row[c_seq].amount;
			c_sum_held = c_sum_held + row[c_seq].held
		:: else
		fi;
		c_floor = FLOOR;
		c_ceiling = CEILING;
		if
		:: CHANGED(NOBODY) && c_seq >= changed_at ->
			c_floor = NEW_FLOOR;
			c_ceiling = NEW_CEILING
		:: CHANGED(NOBODY) && c_seq < changed_at ->
			c_floor = MIN(FLOOR, NEW_FLOOR);
			c_ceiling = MAX(CEILING, NEW_CEILING)
		:: else
		fi;
		limits_kept = c_sum - c_sum_held >= c_floor && c_sum <= c_ceiling;
		assert(limits_kept);
		page_is_settled = c_seq > settled || !IN(committed & ~settled_for, row[c_seq].xmin);
		assert(page_is_settled);
		c_seq++
	:: else -> break
	od
}

inline check()
{
	d_step
	{
		check_readers();
		check_committed();
		skip					/* since a d_step may not end in a loop */
	}
}

/* Empties the rows of ids that roll back. */
inline forget(ids)
{
	d_step
	{
		running = running & ~(ids);
		c_seq = 1;
		do
		:: c_seq <= ROWS ->
			if
			:: IN(ids, row[c_seq].followed) -> row[c_seq].followed = 0
			:: else
			fi;
			if
			:: IN(ids, row[c_seq].xmin) ->
				row[c_seq].xmin = 0;
				row[c_seq].amount = 0;
				row[c_seq].held = 0;
				row[c_seq].lag = 0;
				row[c_seq].base = 0;
				row[c_seq].base_held = 0;
				row[c_seq].open = 0;
				row[c_seq].cum = 0;
				row[c_seq].cum_held = 0;
				row[c_seq].followed = 0
			:: else
			fi;
			c_seq++
		:: else -> break
		od;
		if
		:: IN(ids, changed_by) ->
			changed_by = 0;
			changed_at = 0
		:: else
		fi
	}
}

/*
 * What follows is done by transaction i, with its own variables.
 */
#define OWN IDS_OF(i)
#define D (amount - held)		/* what the operation changes of the available */
#define FREE (lock == 0 || kept != 0)

/* An xmin once seen in progress stays so until the scan ends. */
#ifdef WITHOUT_SEEN
#define IN_PROGRESS(x) IN(running & ~OWN, x)
#else
#define IN_PROGRESS(x) IN((running & ~OWN) | seen, x)
#endif

/* It has ended, but not for our snapshot. */
#ifdef FAULT_OUTSIDE_COUNTS
#define OUTSIDE(x) false
#else
#define OUTSIDE(x) (ONE_SNAPSHOT(i) && !IN(snapshot | OWN, x))
#endif

/* Can the operation pass a limit? */
#define DECIDES (changes || D < 0 || more < 0 || ((amount > 0 || more > 0) && ceiling < NO_LIMIT))

/* An ended row can be r: a decision at REPEATABLE READ demands more of it. */
#if defined(WITHOUT_R_NOT_OWN)
#define CAN_BE_R(x) (!ONE_SNAPSHOT(i) || !DECIDES || IN(snapshot | OWN, x))
#elif defined(WITHOUT_R_IN_SNAPSHOT)
#define CAN_BE_R(x) (!ONE_SNAPSHOT(i) || !DECIDES || !IN(OWN, x))
#else
#define CAN_BE_R(x) (!ONE_SNAPSHOT(i) || !DECIDES || IN(snapshot, x))
#endif

inline read_limits()
{
	floor = FLOOR_NOW(i);
	ceiling = CEILING_NOW(i)
}

/* Counts what has ended and is in our snapshot, or is our own. */
inline count(d, of_posted)
{
	pess = pess + d;
	opt = opt + d;
	pess_posted = pess_posted + of_posted;
	opt_posted = opt_posted + of_posted
}

/* Counts what has ended outside our snapshot: as little, and as much, as it may. */
inline count_by_halves(d, of_posted)
{
	pess = pess + MIN(d, 0);
	opt = opt + MAX(d, 0);
	pess_posted = pess_posted + MIN(of_posted, 0);
	opt_posted = opt_posted + MAX(of_posted, 0)
}

/* Counts what is in progress in the same way. */
inline count_in_progress(d, of_posted)
{
#if defined(FAULT_DEBITS_LEFT_OUT)
	opt = opt + MAX(d, 0);
#elif defined(FAULT_CREDITS_COUNTED)
	pess = pess + d;
	opt = opt + MAX(d, 0);
#else
	pess = pess + MIN(d, 0);
	opt = opt + MAX(d, 0);
#endif
#if defined(FAULT_CEILING_CREDITS_LEFT_OUT)
	pess_posted = pess_posted + MIN(of_posted, 0);
#elif defined(FAULT_CEILING_DEBITS_COUNTED)
	pess_posted = pess_posted + MIN(of_posted, 0);
	opt_posted = opt_posted + of_posted;
#else
	pess_posted = pess_posted + MIN(of_posted, 0);
	opt_posted = opt_posted + MAX(of_posted, 0);
#endif
	in_doubt = in_doubt || (d) != 0;
	in_doubt_posted = in_doubt_posted || (of_posted) != 0
}

/* Steps over what nobody sees, as rows that were rolled back. */
inline step_down()
{
	do
	:: s > reach && !LIVE(s) -> s--
	:: else -> break
	od
}

#ifdef WITHOUT_CUM_IN_MEMORY
/* The fault: cum goes on from the newest own row that the scan comes by. */
inline find_own(seq)
{
	if
	:: row[seq].xmin == me && found == 0 -> found = seq
	:: else
	fi
}
#else
#define find_own(seq) skip
#endif

inline begin_scan()
{
	top = 0;
	s = ROWS;
	seen = 0;
	step_down()
}

/* Reads one row of the walk. */
inline read_row()
{
	if
	:: LIVE(s) ->
		if
		:: top == 0 -> top = s
		:: else
		fi;
		find_own(s);
		if
		:: IN_PROGRESS(row[s].xmin) ->
			printf("T%d reads %d: in progress\n", i, s);
			in_progress = in_progress | BIT(s);
			seen = seen | BIT(row[s].xmin);
			count_in_progress(EFFECT(s), row[s].amount)
		:: else ->
			printf("T%d reads %d: ended\n", i, s);
			ended = ended | BIT(s);
			if
			:: OUTSIDE(row[s].xmin) -> count_by_halves(EFFECT(s), row[s].amount)
			:: else -> count(EFFECT(s), row[s].amount)
			fi;
			if
			:: r == 0 && CAN_BE_R(row[s].xmin) ->
				r = s;
				reach = s - 1 - row[s].lag;
				base = row[s].base;
				base_held = row[s].base_held;
				to_look_up = row[s].open;
				count(base - base_held, base)
			:: else
			fi
		fi
	:: else
	fi;
	s--;
	step_down()
}

/* Looks up one number of r.open. */
inline look_up()
{
	c_seq = 1;
	do
	:: !IN(to_look_up, c_seq) -> c_seq++
	:: else -> break
	od;
	to_look_up = to_look_up & ~BIT(c_seq);
	if
	:: LIVE(c_seq) ->
		find_own(c_seq);
		if
		:: IN_PROGRESS(row[c_seq].xmin) ->
			printf("T%d looks up %d: in progress\n", i, c_seq);
			stays_open = stays_open | BIT(c_seq);
			seen = seen | BIT(row[c_seq].xmin);
			count_in_progress(row[c_seq].cum - row[c_seq].cum_held, row[c_seq].cum)
		:: else ->
			printf("T%d looks up %d: ended\n", i, c_seq);
			base = base + row[c_seq].cum;
			base_held = base_held + row[c_seq].cum_held;
			if
			:: OUTSIDE(row[c_seq].xmin) ->
				count_by_halves(row[c_seq].cum - row[c_seq].cum_held, row[c_seq].cum)
			:: else -> count(row[c_seq].cum - row[c_seq].cum_held, row[c_seq].cum)
			fi
		fi
	:: else
	fi
}

inline decide()
{
	if
	:: changes ->
		if
		:: pess >= NEW_FLOOR && opt_posted <= NEW_CEILING -> verdict = ACCEPTED
		:: opt < NEW_FLOOR || pess_posted > NEW_CEILING -> verdict = DECLINED
		:: else -> verdict = WAITS
		fi
	:: !changes && D < 0 ->
		if
		:: pess + D >= floor -> verdict = ACCEPTED
		:: opt + D < floor -> verdict = DECLINED
		:: else -> verdict = WAITS
		fi
	:: !changes && D >= 0 && amount > 0 ->
		if
		:: opt_posted + amount <= ceiling || ceiling == NO_LIMIT -> verdict = ACCEPTED
		:: pess_posted + amount > ceiling -> verdict = DECLINED
		:: else -> verdict = WAITS
		fi
	:: else -> verdict = ACCEPTED
	fi;
	if
	:: verdict == WAITS && !((changes || D < 0) && in_doubt) && !((changes || D >= 0) && in_doubt_posted) ->
		somebody_to_wait_for = ONE_SNAPSHOT(i);
		assert(somebody_to_wait_for);
		verdict = FAILS
	:: else
	fi;
	printf("T%d: %e\n", i, verdict)
}

/* Decides the second item of a batch, with the first one counted as ours. */
inline decide_second()
{
	before = (verdict == ACCEPTED -> amount : 0);
	count(before, before);
	swap();
	decide();
	check_decision();
	if
	:: verdict == WAITS || verdict == FAILS ->
		before = 0;
		swap()
	:: else
	fi
}

inline swap()
{
	c_sum = amount;
	amount = more;
	more = c_sum
}

/*
 * The most that can be available and the least that can be posted, of those
 * who have ended (and whom we see), ourselves and those in progress.
 */
inline sum_up(see, in_doubt_too)
{
	c_best = before;
	c_least = before;
	c_id = 1;
	do
	:: c_id <= SETUP ->
		c_sum = 0;
		c_sum_held = 0;
		c_seq = 1;
		do
		:: c_seq <= ROWS ->
			if
			:: row[c_seq].xmin == c_id ->
				c_sum = c_sum + row[c_seq].amount;
				c_sum_held = c_sum_held + row[c_seq].held
			:: else
			fi;
			c_seq++
		:: else -> break
		od;
		if
		:: IN((see) | OWN, c_id) ->
			c_best = c_best + c_sum - c_sum_held;
			c_least = c_least + c_sum
		:: in_doubt_too && IN(running & ~OWN, c_id) ->
			c_best = c_best + MAX(c_sum - c_sum_held, 0);
			c_least = c_least + MIN(c_sum, 0)
		:: else
		fi;
		c_id++
	:: else -> break
	od
}

/* By these sums, does the operation pass a limit? */
inline compare_sums()
{
	if
	:: changes ->
		c_verdict = (c_best < NEW_FLOOR || c_least > NEW_CEILING -> DECLINED : ACCEPTED)
	:: !changes && D < 0 ->
		c_verdict = (c_best + D < floor -> DECLINED : ACCEPTED)
	:: !changes && D >= 0 && amount > 0 ->
		c_verdict = (c_least + amount > ceiling -> DECLINED : ACCEPTED)
	:: else -> c_verdict = ACCEPTED
	fi
}

inline check_decision()
{
	if
	:: verdict == DECLINED ->
		sum_up(committed, true);
		compare_sums();
		decline_is_certain = c_verdict == DECLINED;
		assert(decline_is_certain)
	:: else
	fi;
	if
	:: ONE_SNAPSHOT(i) && DECIDES && (verdict == DECLINED || verdict == ACCEPTED) ->
		sum_up(snapshot, false);
		compare_sums();
		agrees_with_snapshot = c_verdict == verdict;
		assert(agrees_with_snapshot)
	:: else
	fi;
	limits_in_force = floor == FLOOR_NOW(i) && ceiling == CEILING_NOW(i) &&
		(!ONE_SNAPSHOT(i) || !CHANGED(i) || IN(snapshot | OWN, changed_by));
	assert(limits_in_force)
}

/*
 * The new base reaches to just below the oldest row in progress that is no
 * straggler, or that "open" has no room for.
 */
inline reach_up()
{
	c_count = 0;
	c_seq = 1;
	do
	:: c_seq <= ROWS ->
		c_count = c_count + IN(stays_open, c_seq);
		c_seq++
	:: else -> break
	od;
	do
	:: reach < top ->
		c_id = row[reach + 1].xmin;
		/* its older row in "open" makes room */
		c_newest = 0;
		c_seq = 1;
		do
		:: c_seq <= reach ->
			if
			:: IN(stays_open, c_seq) && row[c_seq].xmin == c_id -> c_newest = c_seq
			:: else
			fi;
			c_seq++
		:: else -> break
		od;
		if
		:: IN(in_progress, reach + 1) && (top - reach - 1 < STRAGGLER || (c_newest == 0 && c_count == OPEN_MAX)) ->
#ifdef FAULT_BASE_TOO_FAR
			skip
#else
			break
#endif
		:: IN(in_progress, reach + 1) && !(top - reach - 1 < STRAGGLER || (c_newest == 0 && c_count == OPEN_MAX)) ->
			if
			:: c_newest > 0 -> stays_open = stays_open & ~BIT(c_newest)
			:: else -> c_count++
			fi;
			stays_open = stays_open | BIT(reach + 1)
		:: IN(ended, reach + 1) ->
			base = base + row[reach + 1].amount;
			base_held = base_held + row[reach + 1].held
		:: else
		fi;
		reach++
	:: else -> break
	od
}

inline insert(what, what_held)
{
	reach_up();
	s = top + 1;
	number_is_free = !LIVE(s);
	assert(number_is_free);
	row[s].xmin = me;
	row[s].amount = what;
	row[s].held = what_held;
	row[s].lag = top - reach;
	row[s].base = base;
	row[s].base_held = base_held;
#ifndef FAULT_OPEN_DROPPED
	row[s].open = stays_open;
#endif
#ifdef WITHOUT_CUM_IN_MEMORY
	row[s].cum = what + (found > 0 -> row[found].cum : 0);
	row[s].cum_held = what_held + (found > 0 -> row[found].cum_held : 0);
#else
	memory[me - TOP(i)] = memory[me - TOP(i)] + what;
	memory_held[me - TOP(i)] = memory_held[me - TOP(i)] + what_held;
	row[s].cum = memory[me - TOP(i)];
	row[s].cum_held = memory_held[me - TOP(i)];
#endif
#ifdef FAULT_CUM_HELD_LEFT_OUT
	row[s].cum_held = what_held;
#endif
	printf("T%d inserts %d: xmin %d, amount %d, held %d, lag %d, base %d, open %d, cum %d\n",
		i, s, me, what, what_held, row[s].lag, row[s].base, row[s].open, row[s].cum);
	ended = ended | BIT(s);
	top = s
}

/* Inserts what was accepted; of a batch, the first item is in "before". */
inline insert_accepted()
{
	if
	:: before != 0 -> insert(before, 0)
	:: else
	fi;
	if
	:: verdict == ACCEPTED -> insert(amount, held)
	:: else
	fi;
	before = 0;
	check_readers()
}

/* Forgets the scan, but not whom it has seen in progress, and gives the lock back. */
inline end_scan()
{
	top = 0;
	s = 0;
	r = 0;
	reach = 0;
	base = 0;
	base_held = 0;
	pess = 0;
	opt = 0;
	pess_posted = 0;
	opt_posted = 0;
	in_progress = 0;
	ended = 0;
	to_look_up = 0;
	stays_open = 0;
	in_doubt = false;
	in_doubt_posted = false;
	floor = 0;
	ceiling = 0;
#ifdef WITHOUT_CUM_IN_MEMORY
	found = 0;
#endif
	lock = (kept -> lock : 0)
}

/* A hold that can be captured or voided: of ours, or one that we see. */
#define OPEN_HOLD(s) (row[s].held > 0 && row[s].followed == 0 && \
	IN((ONE_SNAPSHOT(i) -> snapshot : committed) | OWN, row[s].xmin))

/* What the transaction does next.  Any hold will do, or none. */
inline choose()
{
#ifdef HOLDS
	s = ROWS;
	do
	:: s > 0 -> s--
	:: s > 0 && OPEN_HOLD(s) -> break
	:: s == 0 -> break
	od;
#endif
	if
	:: CREDIT > 0 -> amount = CREDIT
	:: DEBIT > 0 -> amount = -DEBIT
	:: LARGE > 0 -> amount = -LARGE
#ifdef HOLDS
	:: held = HOLD
	:: s > 0 ->
		/* capture 1, and let the rest go */
		amount = -1;
		held = -row[s].held;
		row[s].followed = me
	:: s > 0 ->
		/* void or expire */
		held = -row[s].held;
		row[s].followed = me
#endif
#ifdef BATCHES
	:: amount = CREDIT; more = -LARGE
	:: amount = -LARGE; more = -DEBIT
	:: amount = -DEBIT; more = CREDIT
#endif
	:: i == CHANGER && may_change ->
		changes = true;
		may_change = false
	fi
}

/* The next operation may be in a new savepoint, or after the release of one. */
inline savepoint_or_not()
{
#if SAVEPOINTS
	if
	:: savepoints < SAVEPOINTS ->
		savepoints++;
		within[savepoints] = me;
		me = TOP(i) + savepoints;
		running = running | BIT(me)
	:: me != TOP(i) -> me = within[me - TOP(i)]
	:: true
	fi
#else
	skip
#endif
}

/* What was made in the savepoint has a higher id, and is undone as well. */
inline roll_back_to_savepoint()
{
	printf("T%d rolls back to its savepoint %d\n", i, me);
	forget(OWN & ~(BIT(me) - 1));
	d_step
	{
		c_id = me - TOP(i);
		do
		:: c_id < IDS ->
#ifdef FAULT_CUM_OF_ROLLED_BACK
			memory[within[me - TOP(i)] - TOP(i)] = memory[within[me - TOP(i)] - TOP(i)] + memory[c_id];
#endif
			memory[c_id] = 0;
			memory_held[c_id] = 0;
			c_id++
		:: else -> break
		od;
		if
		:: kept >= me ->
			kept = 0;
			lock = 0
		:: else
		fi;
		me = within[me - TOP(i)]
	}
	check()
}

inline end_transaction()
{
	if
	:: kept -> lock = 0
	:: else
	fi;
	kept = 0;
	check();
	left = 0;
	me = 0;
	savepoints = 0;
	worked = false;
	may_change = false;
	seen = 0;
	amount = 0;
	held = 0;
	more = 0;
	changes = false;
	verdict = 0;
	d_step
	{
		c_id = 0;
		do
		:: c_id < IDS ->
			memory[c_id] = 0;
			memory_held[c_id] = 0;
			within[c_id] = 0;
			c_id++
		:: else -> break
		od;
		skip
	}
}

proctype Transaction(byte i; byte left)
{
	byte		me;				/* the id that it now writes */
	byte		savepoints;		/* how many there were */
	byte		within[IDS];	/* the id in which each was made */
	bool		worked;
	bool		may_change;
	byte		kept;			/* the id that keeps the lock to the end, or 0 */
	short		memory[IDS];	/* cum of each of its ids */
	short		memory_held[IDS];

	/* the operation */
	short		amount;
	short		held;
	short		more;			/* the amount of a batch's second item, or 0 */
	short		before;			/* the batch's first item, if it is accepted */
	bool		changes;		/* the limits, and inserts nothing */
	short		floor;
	short		ceiling;
	mtype		verdict;

	/* the scan */
	byte		s;
	byte		top;
	byte		r;
	byte		reach;			/* base covers all seq <= reach */
	short		base;
	short		base_held;
	short		pess;
	short		opt;
	short		pess_posted;
	short		opt_posted;
	short		seen;			/* ids once seen in progress */
	short		in_progress;	/* rows of the window */
	short		ended;			/* rows of the window */
	short		to_look_up;		/* rows of r.open */
	short		stays_open;		/* rows */
	bool		in_doubt;		/* somebody in progress changes the available */
	bool		in_doubt_posted;
#ifdef WITHOUT_CUM_IN_MEMORY
	byte		found;
#endif
#ifdef WITHOUT_LIMITS_AFTER_LOCK
	bool		informed;
#endif

	atomic
	{
		me = TOP(i);
		may_change = true;
		if
		:: ONE_SNAPSHOT(i) ->
			printf("T%d takes its snapshot\n", i);
			snapshot = committed
		:: else
		fi
	}

idle:
	atomic
	{
		if
#if defined(WITHOUT_LIMITS_AFTER_LOCK)
		:: left > 0 && !informed ->
			read_limits();
			informed = true;
			goto idle
		:: left > 0 && FREE && informed ->
			informed = false;
#elif defined(FAULT_NO_LOCK)
		:: left > 0 ->
#else
		:: left > 0 && FREE ->
#endif
			left--;
			worked = true;
			savepoint_or_not();
			choose();
			goto locked
		:: me != TOP(i) ->
			roll_back_to_savepoint();
			goto idle
		:: worked ->
			goto roll_back
		:: worked ->
			printf("T%d commits\n", i);
			committed = committed | (running & OWN);
			running = running & ~OWN;
			end_transaction();
			goto end
		fi;

locked:
		printf("T%d locks the account: amount %d, held %d\n", i, amount, held);
		lock = i + 1;
#ifndef WITHOUT_LIMITS_AFTER_LOCK
		read_limits();
#endif
#ifndef WITHOUT_LIMITS_IN_SNAPSHOT
		if
		:: ONE_SNAPSHOT(i) && CHANGED(i) && !IN(snapshot | OWN, changed_by) ->
			end_scan();
			goto roll_back
		:: else
		fi;
#endif
		begin_scan()
	}
	do
	:: d_step { s > reach -> read_row(); skip }
	:: d_step { s <= reach && to_look_up != 0 -> look_up() }
	:: atomic
		{
			s <= reach && to_look_up == 0 ->
#ifdef FAULT_NO_LOCK
			/* The unique index is still there. */
			if
			:: LIVE(top + 1) ->
				end_scan();
				goto roll_back
			:: else
			fi;
#endif
			d_step
			{
				decide();
				check_decision();
				if
				:: more != 0 && (verdict == ACCEPTED || verdict == DECLINED) -> decide_second()
				:: else
				fi;
				if
				:: verdict == ACCEPTED && changes ->
					changed_by = me;
					changed_at = top;
#ifndef WITHOUT_LOCK_KEPT
					kept = (kept -> kept : me)
#endif
				:: (verdict == ACCEPTED || verdict == DECLINED) && !changes -> insert_accepted()
				:: else
				fi;
				end_scan();
			}
			if
			:: verdict == WAITS ->
				break
			:: verdict == FAILS ->
				goto roll_back
			:: else ->
				verdict = 0;
				seen = 0;
				amount = 0;
				held = 0;
				more = 0;
				changes = false;
				goto idle
			fi
		}
	od;

	/* The lock is free.  Look again when somebody seen in progress has ended. */
	atomic
	{
		if
		:: (seen & running) != seen && FREE ->
			verdict = 0;
			goto locked
		:: goto roll_back			/* lock_timeout, or a deadlock */
		fi
	}

roll_back:
	atomic
	{
		printf("T%d rolls back\n", i);
		forget(OWN);
		end_transaction()
	}

end:
	skip
}

/*
 * Reads a statement by one snapshot, and says up to which number it is settled.
 * That is the newest row it sees below the oldest row that it does not see.
 * A row that it does not see may be in progress or may have ended since.  And
 * it must be a row: numbers above the newest row can be used again.
 */
#ifdef WITHOUT_SETTLED_BY_SNAPSHOT
#define UNSETTLED(s) IN(running, row[s].xmin)
#else
#define UNSETTLED(s) (LIVE(s) && !IN(see, row[s].xmin))
#endif

proctype Reader()
{
	short		see;
	byte		s;
	byte		last;

	d_step
	{
		printf("the reader takes its snapshot\n");
		see = committed;
		s = ROWS
	}
	do
	:: d_step
		{
			s > 0 ->
			if
			:: LIVE(s) -> printf("the reader comes to %d; visible: %d\n", s, IN(see, row[s].xmin))
			:: else
			fi;
			if
#ifdef WITHOUT_SETTLED_AT_A_ROW
			:: UNSETTLED(s) -> last = s - 1
#else
			:: UNSETTLED(s) -> last = 0
#endif
			:: LIVE(s) && !UNSETTLED(s) && last == 0 -> last = s
			:: else
			fi;
			s--
		}
	:: d_step
		{
			s == 0 ->
			printf("the statement is settled up to %d\n", last);
			settled = last;
			settled_for = see;
			check_readers();
			check_committed();
			skip
		};
		break
	od
}

init
{
	atomic
	{
		committed = BIT(SETUP);
		running = BIT(TOP(0)) | BIT(TOP(1)) | BIT(TOP(2));
		if
		:: POSTED != 0 || HELD != 0 ->
			row[1].xmin = SETUP;
			row[1].amount = POSTED;
			row[1].held = HELD;
			row[1].cum = POSTED;
			row[1].cum_held = HELD
		:: else
		fi;
#ifdef READER
		run Reader();
#endif
		run Transaction(0, OPS_0);
		if
		:: OPS_1 > 0 -> run Transaction(1, OPS_1)
		:: else
		fi;
		if
		:: OPS_2 > 0 -> run Transaction(2, OPS_2)
		:: else
		fi
	}
}
