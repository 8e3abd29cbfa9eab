/*
 * Two accounts: in which order a payment takes its legs.
 *
 * Transactions move money between two accounts, in either direction.  Another
 * one changes a limit of an account.  Here a scan is one step, as chain.pml is
 * about that.  What is modelled is which locks a payment takes, when it reads
 * the limits, when it inserts, and from where it starts again.
 *
 * The leg that decides goes first.  Where both decide, both locks are held
 * together, taken in the order of the accounts.  Nothing is inserted before
 * the last decision.  A leg that decides nothing follows; if its account has
 * become limited by then, the payment fails (40001).
 *
 * What is asserted:
 *
 * - each_leg_once: a payment that is committed has moved its amount once, and
 *   one that was declined has moved nothing.
 * - limits_kept: what is committed keeps the limits then in force.
 * - Nobody is stuck.  As each transaction is one payment, they never wait for
 *   each other; spin reports it as an invalid end state.
 *
 * Settings, all with -D:
 *
 * PAYERS           how many transactions pay
 * CEILING_0, CEILING_1     the ceilings at first; both have a floor of 0
 * POSTED_0, POSTED_1       what is in the accounts at first
 *
 * WITHOUT_... and FAULT_... are as in chain.pml.
 */
#ifndef PAYERS
#define PAYERS 2
#endif
#define NO_LIMIT 99
#ifndef CEILING_0
#define CEILING_0 NO_LIMIT
#endif
#ifndef CEILING_1
#define CEILING_1 4
#endif
#ifndef POSTED_0
#define POSTED_0 2
#endif
#ifndef POSTED_1
#define POSTED_1 2
#endif

#define BIT(n) (1 << (n))
#define IN(set, n) (((set) >> (n)) & 1)
#define MIN(a, b) ((a) < (b) -> (a) : (b))
#define MAX(a, b) ((a) > (b) -> (a) : (b))

typedef Account
{
	short		posted;			/* committed */
	short		moved[PAYERS];	/* by each payer in progress */
	short		floor;
	short		ceiling;
	byte		lock;
};

Account		account[2];
byte		running;

/* FAILS is 40001. */
mtype = { ACCEPTED, DECLINED, WAITS, FAILS };

hidden mtype c_verdict;
hidden byte	c_account, c_payer;
hidden short c_pess, c_opt;
hidden byte	limits_kept, each_leg_once;

#define DECIDES(a) (amount[a] < 0 || (amount[a] > 0 && account[a].ceiling < NO_LIMIT))

/* What is committed keeps the limits in force. */
inline check_limits()
{
	c_account = 0;
	do
	:: c_account < 2 ->
		limits_kept = account[c_account].posted >= account[c_account].floor &&
			account[c_account].posted <= account[c_account].ceiling;
		assert(limits_kept);
		c_account++
	:: else -> break
	od
}

/* Of others in progress, only what would hurt counts in pess, and the rest in opt. */
inline scan(a, who)
{
	c_pess = account[a].posted;
	c_opt = account[a].posted;
	c_payer = 0;
	do
	:: c_payer < PAYERS ->
		if
		:: c_payer == who ->
			c_pess = c_pess + account[a].moved[c_payer];
			c_opt = c_opt + account[a].moved[c_payer]
		:: else ->
			c_pess = c_pess + MIN(account[a].moved[c_payer], 0);
			c_opt = c_opt + MAX(account[a].moved[c_payer], 0)
		fi;
		c_payer++
	:: else -> break
	od
}

/* Decides one leg.  If any is declined, the payment is. */
inline decide(a)
{
	scan(a, i);
	if
	:: amount[a] < 0 && c_pess + amount[a] < account[a].floor ->
		c_verdict = (c_opt + amount[a] < account[a].floor -> DECLINED : WAITS)
	:: amount[a] > 0 && c_opt + amount[a] > account[a].ceiling ->
		c_verdict = (c_pess + amount[a] > account[a].ceiling -> DECLINED : WAITS)
	:: else -> c_verdict = ACCEPTED
	fi;
	printf("T%d decides account %d: %e\n", i, a, c_verdict);
	verdict = (c_verdict == DECLINED || verdict == ACCEPTED -> c_verdict : verdict)
}

/* Which legs go first. */
inline plan()
{
#ifdef WITHOUT_DECIDING_FIRST
	first = BIT(0);
#else
	first = (DECIDES(0) -> BIT(0) : 0) | (DECIDES(1) -> BIT(1) : 0);
#ifdef WITHOUT_LOCKS_TOGETHER
	first = (first == 3 -> BIT(0) : first);
#endif
	first = (first == 0 -> BIT(0) : first);
#endif
	verdict = ACCEPTED;
	printf("T%d moves %d and %d, and the set %d goes first\n", i, amount[0], amount[1], first)
}

inline lock_if_first()
{
	if
	:: atomic
		{
			IN(first, a) && account[a].lock == 0 ->
			account[a].lock = i + 1
		}
	:: !IN(first, a)
	fi
}

/* Decides all that go first, and then inserts them. */
inline take_first()
{
	if
	:: IN(first, 0) -> decide(0)
	:: else
	fi;
	if
	:: IN(first, 1) -> decide(1)
	:: else
	fi;
	a = 0;
	do
	:: a < 2 && IN(first, a) ->
		account[a].moved[i] = account[a].moved[i] + (verdict == ACCEPTED -> amount[a] : 0);
		account[a].lock = 0;
		a++
	:: a < 2 && !IN(first, a) -> a++
	:: else -> break
	od;
	seen = running & ~BIT(i);
	a = 0
}

/* Inserts the leg that decides nothing.  The faults decide, and may wait. */
inline decide_late()
{
	decide(a);
	verdict = (verdict == DECLINED -> FAILS : verdict)
}

inline take_second()
{
#if defined(WITHOUT_DECIDING_FIRST) || defined(WITHOUT_LOCKS_TOGETHER)
	decide_late();
#else
	if
	:: DECIDES(a) ->
		printf("T%d: account %d has become limited\n", i, a);
#if defined(WITHOUT_40001_WAITS)
		decide_late()
#elif defined(WITHOUT_40001_DECLINES)
		verdict = DECLINED
#elif defined(FAULT_SECOND_LEG_BLIND)
		skip
#else
		verdict = FAILS
#endif
	:: else
	fi;
#endif
	account[a].moved[i] = account[a].moved[i] + (verdict == ACCEPTED -> amount[a] : 0);
	account[a].lock = 0;
	seen = running & ~BIT(i);
	a = 0
}

/* Commits the payment, or the record that it was declined. */
inline commit()
{
	printf("T%d commits: %d and %d\n", i, account[0].moved[i], account[1].moved[i]);
	each_leg_once = account[0].moved[i] == (verdict == ACCEPTED -> amount[0] : 0) &&
		account[1].moved[i] == (verdict == ACCEPTED -> amount[1] : 0);
	assert(each_leg_once);
	account[0].posted = account[0].posted + account[0].moved[i];
	account[1].posted = account[1].posted + account[1].moved[i];
	check_limits()
}

inline end_payment()
{
	running = running & ~BIT(i);
	account[0].moved[i] = 0;
	account[1].moved[i] = 0;
	amount[0] = 0;
	amount[1] = 0;
	first = 0;
	verdict = 0;
	seen = 0
}

proctype Payer(byte i)
{
	short		amount[2];
	byte		first;			/* the accounts whose legs go first */
	mtype		verdict;
	byte		a;				/* the account whose turn it is */
	byte		seen;			/* who else was in progress */

	atomic
	{
		if
		:: amount[0] = 1
		:: amount[0] = 2
		:: amount[0] = -1
		:: amount[0] = -2
		fi;
		amount[1] = -amount[0]
	}

again:
	atomic
	{
		plan();
#ifdef FAULT_LOCKS_OUT_OF_ORDER
		a = (amount[1] < 0 -> 1 : 0)
#else
		a = 0
#endif
	}
	lock_if_first();
	a = 1 - a;
	lock_if_first();
	d_step
	{
		take_first();
		skip					/* since a d_step may not end in a loop */
	}
	if
	:: verdict == WAITS -> goto wait
	:: verdict == DECLINED -> goto end
	:: verdict == ACCEPTED && first == 3 -> goto end
	:: else -> a = (first == BIT(0) -> 1 : 0)
	fi;

	/* The second leg: its limits are read after the lock, too. */
	atomic
	{
		account[a].lock == 0 ->
		account[a].lock = i + 1
	}
	d_step
	{
		take_second();
		skip
	}
	if
	:: verdict == WAITS -> goto wait
	:: verdict == FAILS -> goto roll_back
	:: else -> goto end
	fi;

wait:
	(seen & running) != seen -> goto again;

end:
	if
	:: atomic
		{
			commit();
			end_payment()
		}
	:: verdict == ACCEPTED -> goto roll_back
	fi;
	goto done;

roll_back:
	atomic
	{
		printf("T%d rolls back\n", i);
		end_payment()
	}

done:
	skip
}

/* Changes a limit of one account: a decision, whose lock is kept to the commit. */
proctype Changer()
{
	byte		a;
	short		floor;
	short		ceiling;
	mtype		verdict;
	byte		seen;

	atomic
	{
		if
		:: a = 0
		:: a = 1
		fi;
		if
		:: floor = 1; ceiling = account[a].ceiling
		:: ceiling = 3
		:: ceiling = NO_LIMIT
		fi
	}

again:
	atomic
	{
		account[a].lock == 0 ->
		account[a].lock = PAYERS + 1
	}
	d_step
	{
		scan(a, PAYERS);
		if
		:: c_pess >= floor && c_opt <= ceiling -> verdict = ACCEPTED
		:: c_opt < floor || c_pess > ceiling -> verdict = DECLINED
		:: else -> verdict = WAITS
		fi;
		seen = running;
		account[a].lock = (verdict == ACCEPTED -> account[a].lock : 0)
	}
	if
	:: verdict == ACCEPTED -> skip
	:: verdict == DECLINED -> goto done
	:: verdict == WAITS ->
		(seen & running) != seen -> goto again
	fi;
	d_step
	{
		printf("the floor of account %d is now %d, its ceiling %d\n", a, floor, ceiling);
		account[a].floor = floor;
		account[a].ceiling = ceiling;
		account[a].lock = 0;
		check_limits();
		skip
	}

done:
	skip
}

init
{
	byte		i;

	atomic
	{
		account[0].posted = POSTED_0;
		account[1].posted = POSTED_1;
		account[0].ceiling = CEILING_0;
		account[1].ceiling = CEILING_1;
		do
		:: i < PAYERS ->
			running = running | BIT(i);
			run Payer(i);
			i++
		:: else -> break
		od;
		run Changer()
	}
}
