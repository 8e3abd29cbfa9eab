------------------------------------------------------------------------------
-- Checks
------------------------------------------------------------------------------

-- The function reads the table and no index: a damaged index must not hide a fault.
CREATE FUNCTION @extschema@.idem_check(
	OUT invariant text,
	OUT ok boolean,
	OUT detail text)
RETURNS SETOF record
LANGUAGE sql STABLE
SET search_path = pg_catalog, pg_temp
SET enable_indexscan = off
SET enable_indexonlyscan = off
SET enable_bitmapscan = off
SET jit = off
SET row_security = off
AS $$
	WITH undone AS (
		SELECT c.scope, c.key, min(o.kind) AS kind, min(o.amount) AS amount
		FROM idempotency.operation c
		JOIN idempotency.operation o ON o.scope = c.scope AND 'idem_cancel:' || o.key = c.key
		WHERE c.key ^@ 'idem_cancel:' AND o.payment_id = c.payment_id AND o.seq < c.seq AND o.sqlstate IS NULL
		GROUP BY c.scope, c.key
	), post_leg AS (
		-- The column can be anything that somebody wrote by hand.
		SELECT o.scope, o.key, o.payment_id, o.seq AS operation, o.created_at, o.currency, o.sqlstate IS NOT NULL AS declined,
			CASE jsonb_typeof(l -> 'account') WHEN 'string' THEN l ->> 'account' END AS name,
			CASE WHEN jsonb_typeof(l -> 'amount') = 'string' AND l ->> 'amount' ~ '^-?[0-9]+([.][0-9]+)?$' THEN (l ->> 'amount')::numeric END AS amount,
			CASE jsonb_typeof(l -> 'seq') WHEN 'number' THEN (l ->> 'seq')::numeric END AS seq
		FROM idempotency.operation o, LATERAL jsonb_path_query(o.legs, '$[*]') AS l
		WHERE o.kind = 'post'
	), step AS (
		SELECT o.*,
			o.sqlstate IS NOT NULL AS declined,
			count(*) OVER (PARTITION BY o.scope, o.key) AS uses,
			lag(o.seq) OVER payment AS old_seq,
			lag(o.currency) OVER payment AS old_currency,
			lag(o.expires_at) OVER payment AS old_expires_at,
			lag(o.expired) OVER payment AS old_expired,
			lead(o.seq) OVER payment AS next_seq,
			lag(o.from_account) OVER payment AS old_from_account,
			lag(o.to_account) OVER payment AS old_to_account,
			lag(coalesce(o.owner, o.role)) OVER payment AS old_owner,
			lag(o.authorized) OVER payment AS old_authorized,
			lag(o.captured) OVER payment AS old_captured,
			lag(o.released) OVER payment AS old_released,
			lag(o.refunded) OVER payment AS old_refunded,
			h.due_at,
			u.kind AS undone_kind,
			u.amount AS undone_amount,
			p.legs_are_whole,
			p.legs_given
		FROM idempotency.operation o
		LEFT JOIN (
			SELECT scope, key, sum(amount) FILTER (WHERE amount > 0) AS legs_given,
				count(*) >= 2 AND count(DISTINCT name) = count(*) AND count(amount) = count(*)
					AND count(seq) = CASE WHEN bool_or(declined) THEN 0 ELSE count(*) END
					AND bool_and(amount <> 0) AND sum(amount) = 0 AS legs_are_whole
			FROM post_leg GROUP BY scope, key) p ON p.scope = o.scope AND p.key = o.key
		LEFT JOIN undone u ON u.scope = o.scope AND u.key = o.key
		LEFT JOIN (SELECT payment_id, scope, min(due_at) AS due_at FROM idempotency.hold GROUP BY payment_id, scope) h
			ON h.payment_id = o.payment_id AND h.scope = o.scope
		WINDOW payment AS (PARTITION BY o.scope, o.payment_id ORDER BY o.seq)
	), moved AS (
		-- what each operation moves between its accounts, and what it holds: as src/payment/movement.c has it
		SELECT o.scope, o.key, o.payment_id, o.seq, o.created_at, o.currency, o.from_account, o.to_account, o.from_seq, o.to_seq,
			o.captured - o.refunded - coalesce(lag(o.captured - o.refunded) OVER payment, 0) AS net,
			o.authorized - o.captured - o.released - coalesce(lag(o.authorized - o.captured - o.released) OVER payment, 0) AS hold
		FROM idempotency.operation o
		WHERE num_nonnulls(o.from_account, o.to_account, o.from_seq, o.to_seq) > 0
		WINDOW payment AS (PARTITION BY o.scope, o.payment_id ORDER BY o.seq)
	), leg AS (
		SELECT p.scope, p.key, p.payment_id, p.operation, p.created_at, coalesce(p.currency, a.currency) AS currency, p.name, p.seq, p.amount,
			0 AS held, a.id AS account, a.currency AS account_currency
		FROM post_leg p
		LEFT JOIN idempotency.account a ON a.scope = p.scope AND a.name = p.name
		WHERE NOT p.declined
		UNION ALL
		SELECT m.scope, m.key, m.payment_id, m.seq AS operation, m.created_at, m.currency, l.name, l.seq, l.amount, l.held,
			a.id AS account, a.currency AS account_currency
		FROM moved m
		CROSS JOIN LATERAL (VALUES (m.from_account, m.from_seq, -m.net, m.hold), (m.to_account, m.to_seq, m.net, 0))
			AS l(name, seq, amount, held)
		LEFT JOIN idempotency.account a ON a.scope = m.scope AND a.name = l.name
	), entry AS (
		SELECT e.account, e.seq, e.created_at, e.payment_id, e.operation, e.lag, coalesce(e.gaps, 0) AS gaps, e.amount,
			coalesce(e.held, 0) AS held, e.base, coalesce(e.base_held, 0) AS base_held, e.open,
			e.seq - 1 - e.lag AS reach, e.xmin::text::bigint AS writer,
			e.cum_entries, coalesce(e.cum, e.amount) AS cum,
			CASE WHEN e.cum IS NULL THEN coalesce(e.held, 0) ELSE coalesce(e.cum_held, 0) END AS cum_held,
			(e.cum IS NULL) = (e.cum_entries IS NULL) AND (e.cum IS NOT NULL OR e.cum_held IS NULL) AS cum_is_whole,
			a.id IS NOT NULL AS has_account, a.scope, a.name, a.currency, a.floor, a.floor_from, a.ceiling, a.ceiling_from
		FROM idempotency.entry e
		LEFT JOIN idempotency.account a ON a.id = e.account
	), opened AS (
		-- of each entry that has some: what those in its "open" add up to, as far as they were not rolled back
		SELECT e.account, e.seq, count(*) FILTER (WHERE k.seq IS NULL OR k.seq < 1 OR k.seq > e.reach) AS misplaced,
			coalesce(sum(coalesce(o.cum_entries, 1)) FILTER (WHERE o.seq IS NOT NULL), 0) AS entries,
			coalesce(sum(o.cum), 0) AS cum, coalesce(sum(o.cum_held), 0) AS cum_held
		FROM entry e
		CROSS JOIN LATERAL unnest(e.open) AS k(seq)
		LEFT JOIN entry o ON o.account = e.account AND o.seq = k.seq
		GROUP BY e.account, e.seq
	), chain AS (
		-- Each entry is there twice: at its own place with its change, and where its base reaches to, without. So one sort
		-- gives the sums up to there.
		SELECT c.*,
			coalesce(sum(c.change) OVER places, 0) AS sum_amount,
			coalesce(sum(c.held_change) OVER places, 0) AS sum_held,
			count(c.change) OVER places AS sum_entries,
			lag(c.seq) OVER own AS old_seq,
			lag(c.created_at) OVER own AS old_created_at
		FROM (
			SELECT e.*, e.seq AS place, true AS is_own, e.amount AS change, e.held AS held_change FROM entry e
			UNION ALL
			SELECT e.*, e.reach, false, NULL, NULL FROM entry e) c
		WINDOW places AS (PARTITION BY c.account ORDER BY c.place, NOT c.is_own ROWS UNBOUNDED PRECEDING),
			own AS (PARTITION BY c.account, c.is_own ORDER BY c.seq)
	), together AS (
		-- The entries that one (sub)transaction made have its ID, unless they were restored or replicated. Then they are not
		-- numbered from 1 by it, and nothing is said of them.
		SELECT w.account, w.seq, w.cum <> w.sum_amount OR w.cum_held <> w.sum_held AS is_wrong,
			bool_and(w.is_numbered) OVER (PARTITION BY w.account, w.writer) AS is_whole
		FROM (SELECT e.account, e.seq, e.writer, e.cum, e.cum_held,
				coalesce(e.cum_entries, 1) = row_number() OVER writer AS is_numbered,
				sum(e.amount) OVER writer AS sum_amount, sum(e.held) OVER writer AS sum_held
			FROM entry e
			WHERE (e.account, e.writer) IN (SELECT f.account, f.writer FROM entry f WHERE f.cum_entries > 1)
			WINDOW writer AS (PARTITION BY e.account, e.writer ORDER BY e.seq)) w
	), account AS (
		SELECT a.*, count(*) OVER (PARTITION BY a.scope, a.name) AS uses, count(*) OVER (PARTITION BY a.id) AS ids,
			coalesce(e.posted, 0) AS posted, coalesce(e.held, 0) AS held
		FROM idempotency.account a
		LEFT JOIN (SELECT account, sum(amount) AS posted, sum(held) AS held FROM idempotency.entry GROUP BY account) e
			ON e.account = a.id
	)
	SELECT f.invariant, f.ok, f.detail FROM (
	SELECT u.number, u.invariant, count(s.key) = 0 AS ok,
		CASE WHEN count(s.key) > 0
			THEN format('broken in %s of the operations, such as %s', count(s.key),
				min(format('key %L of scope %L', s.key, s.scope))) END AS detail
	-- The join adds a row of nulls, so that invariants that nothing breaks are shown, too.
	FROM step s FULL JOIN (SELECT) AS nothing ON false,
		LATERAL (VALUES
			(1, 'a key has one operation',
				s.uses = 1),
			(2, 'keys and scopes are well formed',
				octet_length(s.key) BETWEEN 1 AND CASE WHEN s.key ^@ 'idem_cancel:' OR s.key ^@ 'idem_expire:' THEN 279 ELSE 255 END
					AND octet_length(s.scope) <= 255 AND s.key !~ '[[:cntrl:]]' AND s.scope !~ '[[:cntrl:]]'
					AND (NOT s.key ^@ 'idem_cancel:' OR s.kind IN ('void', 'refund', 'reversal'))
					AND (s.key ^@ 'idem_cancel:' OR s.kind <> 'reversal')
					AND (s.key ^@ 'idem_expire:') = (s.kind = 'expire')),
			(3, 'the operations of a payment are numbered from 1 without a gap',
				s.seq = coalesce(s.old_seq, 0) + 1),
			(4, '0 <= refunded <= captured, and captured + released <= authorized',
				0 <= s.refunded AND s.refunded <= s.captured AND s.captured + s.released <= s.authorized
					AND 0 <= s.released AND s.authorized <> 'NaN' AND s.authorized < 1e18),
			(5, 'amounts are not negative and have the decimals of their payment',
				CASE WHEN s.kind IN ('pay', 'cancel', 'increase', 'post') OR s.declined OR s.key ^@ 'idem_cancel:' THEN s.amount >= 0 ELSE s.amount > 0 END
					AND scale(s.authorized) <= 18 AND (s.declined OR scale(s.amount) = scale(s.authorized))
					AND scale(s.captured) = scale(s.authorized) AND scale(s.released) = scale(s.authorized)
					AND scale(s.refunded) = scale(s.authorized)),
			(6, 'operations have the columns of their kind',
				s.declined = (s.message IS NOT NULL)
					AND (s.kind = 'cancel' OR s.kind = 'post' AND s.amount = 0) = (s.currency IS NULL)
					AND (s.kind = 'post') = (s.legs IS NOT NULL)
					AND (s.kind <> 'post' OR num_nonnulls(s.from_account, s.to_account, s.from_seq, s.to_seq, s.expired) = 0)
					AND (s.kind = 'capture') = (s.final IS NOT NULL)
					AND (s.kind = 'increase') = (s.prolonged IS NOT NULL)
					AND (NOT s.declined OR s.kind IN ('pay', 'authorize', 'increase', 'capture', 'void', 'refund', 'post'))
					AND (s.kind NOT IN ('pay', 'authorize', 'cancel', 'post') OR NOT s.whole AND s.owner IS NULL)
					AND (s.kind NOT IN ('increase', 'reversal') OR NOT s.whole)
					AND (s.kind NOT IN ('pay', 'cancel', 'post') OR s.expires_at IS NULL)
					AND isfinite(s.created_at) AND isfinite(coalesce(s.expires_at, s.created_at))),
			(7, 'the operations of a payment agree in currency, accounts, expiry and owner',
				s.old_seq IS NULL OR ROW(s.currency, CASE WHEN s.prolonged AND NOT s.declined THEN s.old_expires_at ELSE s.expires_at END, s.from_account, s.to_account, coalesce(s.owner, s.role))
					IS NOT DISTINCT FROM ROW(s.old_currency, s.old_expires_at, s.old_from_account, s.old_to_account, s.old_owner)),
			(8, 'totals follow from the amounts of the operations',
				CASE
					WHEN s.declined AND s.kind IN ('pay', 'authorize') THEN s.old_seq IS NULL AND s.next_seq IS NULL
						AND ROW(s.authorized, s.captured, s.released, s.refunded) = ROW(0, 0, 0, 0)
					WHEN s.kind = 'pay' THEN s.old_seq IS NULL
						AND ROW(s.authorized, s.captured, s.released, s.refunded) = ROW(s.amount, s.amount, 0, 0)
					WHEN s.kind = 'authorize' THEN s.old_seq IS NULL
						AND ROW(s.authorized, s.captured, s.released, s.refunded) = ROW(s.amount, 0, 0, 0)
						AND s.expires_at > s.created_at
					WHEN s.kind = 'post' THEN s.old_seq IS NULL AND s.next_seq IS NULL
						AND ROW(s.authorized, s.captured, s.released, s.refunded) = ROW(0, 0, 0, 0)
					WHEN s.kind = 'cancel' THEN s.old_seq IS NULL AND NOT s.declined
						AND ROW(s.authorized, s.captured, s.released, s.refunded) = ROW(0, 0, 0, 0)
					WHEN s.declined THEN ROW(s.authorized, s.captured, s.released, s.refunded)
						= ROW(s.old_authorized, s.old_captured, s.old_released, s.old_refunded)
					WHEN s.kind = 'increase' THEN s.created_at < s.old_expires_at AND s.expires_at >= s.old_expires_at
						AND (s.amount > 0 OR s.prolonged)
						AND ROW(s.authorized, s.captured, s.released, s.refunded)
							= ROW(s.old_authorized + s.amount, s.old_captured, s.old_released, s.old_refunded)
						AND s.old_authorized > s.old_captured + s.old_released
					WHEN s.kind = 'capture' THEN s.created_at < s.expires_at
						AND ROW(s.authorized, s.captured, s.refunded)
							= ROW(s.old_authorized, s.old_captured + s.amount, s.old_refunded)
						AND s.released = CASE WHEN s.final THEN s.authorized - s.captured ELSE s.old_released END
						AND (NOT s.whole OR s.amount = s.old_authorized - s.old_captured - s.old_released)
					WHEN s.key ^@ 'idem_cancel:' AND s.amount = 0 THEN
						ROW(s.authorized, s.captured, s.released, s.refunded)
							= ROW(s.old_authorized, s.old_captured, s.old_released, s.old_refunded)
					WHEN s.kind = 'void' THEN s.created_at < s.expires_at AND (s.whole OR s.key ^@ 'idem_cancel:')
						AND ROW(s.authorized, s.captured, s.released, s.refunded)
							= ROW(s.old_authorized, s.old_captured, s.old_released + s.amount, s.old_refunded)
						AND (NOT s.whole OR s.amount = s.old_authorized - s.old_captured - s.old_released)
					WHEN s.kind = 'expire' THEN s.created_at >= s.expires_at AND s.whole AND s.expired
						AND ROW(s.authorized, s.captured, s.released, s.refunded)
							= ROW(s.old_authorized, s.old_captured, s.old_released + s.amount, s.old_refunded)
						AND s.amount = s.old_authorized - s.old_captured - s.old_released
					WHEN s.kind = 'refund' THEN
						ROW(s.authorized, s.captured, s.released, s.refunded)
							= ROW(s.old_authorized, s.old_captured, s.old_released, s.old_refunded + s.amount)
						AND (NOT s.whole OR s.amount = s.old_captured - s.old_refunded)
					WHEN s.kind = 'reversal' THEN
						ROW(s.authorized, s.captured, s.released, s.refunded)
							= ROW(s.old_authorized, s.old_captured, s.old_released, s.old_refunded - s.amount)
					ELSE false
				END),
			(9, 'only an expire operation marks a payment as expired',
				s.kind = 'expire' OR s.expired IS NOT DISTINCT FROM s.old_expired),
			(10, 'idem_expire() finds every hold that is left',
				-- A hold that cannot be released is put off by a day at most. Clocks may differ by another.
				s.next_seq IS NOT NULL OR s.expires_at IS NULL OR s.authorized - s.captured - s.released = 0
					OR s.due_at <= greatest(s.expires_at, statement_timestamp()) + interval '2 days'),
			(11, 'a cancellation undoes what its key names, and no more',
				CASE
					WHEN NOT s.key ^@ 'idem_cancel:' THEN true
					WHEN s.declined THEN false
					WHEN s.kind = 'reversal' THEN s.undone_kind = 'refund' AND s.amount = s.undone_amount
					WHEN s.kind = 'refund' THEN s.undone_kind IN ('pay', 'capture')
						AND s.amount = least(s.undone_amount, s.old_captured - s.old_refunded)
					WHEN s.kind = 'void' THEN s.undone_kind = CASE WHEN s.whole THEN 'authorize' ELSE 'increase' END
						AND (NOT s.whole OR s.old_captured = 0)
						AND s.amount = CASE WHEN s.created_at >= s.expires_at THEN 0
							WHEN s.whole THEN s.old_authorized - s.old_captured - s.old_released
							ELSE least(s.undone_amount, s.old_authorized - s.old_captured - s.old_released) END
				END),
			(12, 'the legs of a post add up to zero and make its amount',
				s.kind <> 'post' OR s.legs_are_whole AND (s.currency IS NULL OR s.amount = s.legs_given))
		) AS u(number, invariant, holds)
	WHERE s.key IS NULL OR u.holds IS NOT TRUE
	GROUP BY u.number, u.invariant

	UNION ALL
	SELECT u.number, u.invariant, count(a.id) = 0,
		CASE WHEN count(a.id) > 0
			THEN format('broken in %s of the accounts, such as %s', count(a.id), min(format('account %L of scope %L', a.name, a.scope))
				FILTER (WHERE a.id IS NOT NULL)) END
	FROM account a FULL JOIN (SELECT) AS nothing ON false,
		LATERAL (VALUES
			(21, 'accounts have an ID and a name of their own, and are well formed',
				a.uses = 1 AND a.ids = 1 AND a.id >= 0 AND octet_length(a.name) BETWEEN 1 AND 255 AND octet_length(a.scope) <= 255
					AND a.name !~ '[[:cntrl:]]' AND a.scope !~ '[[:cntrl:]]' AND isfinite(a.created_at)
					AND coalesce(a.floor <= a.ceiling, true)
					AND (a.floor IS NULL) = (a.floor_from IS NULL) AND (a.ceiling IS NULL) = (a.ceiling_from IS NULL)
					AND coalesce(abs(a.floor) < 1e18, true) AND coalesce(abs(a.ceiling) < 1e18, true)),
			(22, 'no account is below its floor or above its ceiling',
				coalesce(a.posted - a.held >= a.floor, true) AND coalesce(a.posted <= a.ceiling, true))
		) AS u(number, invariant, holds)
	WHERE a.id IS NULL OR u.holds IS NOT TRUE
	GROUP BY u.number, u.invariant

	UNION ALL
	SELECT u.number, u.invariant, count(c.seq) = 0,
		CASE WHEN count(c.seq) > 0
			THEN format('broken in %s of the entries, such as %s', count(c.seq),
				min(format('entry %s of account %L of scope %L', c.seq, coalesce(c.name, c.account::text), c.scope))
					FILTER (WHERE c.seq IS NOT NULL)) END
	FROM (SELECT c.*, coalesce(o.misplaced, 0) AS misplaced, coalesce(o.entries, 0) AS open_entries, coalesce(o.cum, 0) AS open_cum,
			coalesce(o.cum_held, 0) AS open_held,
			coalesce(t.is_whole AND t.is_wrong, false) AS cum_is_wrong
		FROM chain c
		LEFT JOIN opened o ON o.account = c.account AND o.seq = c.seq
		LEFT JOIN together t ON t.account = c.account AND t.seq = c.seq) c
		FULL JOIN (SELECT) AS nothing ON false,
		LATERAL (VALUES
			(23, 'the entries of an account are numbered once each, in the order of their times',
				NOT c.is_own OR c.seq >= 1 AND coalesce(c.seq > c.old_seq, true) AND coalesce(c.created_at >= c.old_created_at, true)
					AND isfinite(c.created_at)),
			(24, 'an entry stores what those before it add up to',
				c.is_own OR c.lag >= 0 AND c.reach >= 0 AND c.gaps >= 0 AND c.misplaced = 0
					AND c.base + c.open_cum = c.sum_amount AND c.base_held + c.open_held = c.sum_held
					AND c.reach - c.gaps + c.open_entries = c.sum_entries),
			(25, 'an entry stores what those of its transaction add up to, if it is not the first',
				NOT c.is_own OR c.cum_is_whole AND NOT c.cum_is_wrong AND coalesce(c.cum_entries BETWEEN 2 AND c.sum_entries, true)),
			(26, 'an entry is in an account',
				NOT c.is_own OR c.has_account),
			-- Balances here are in the order of the numbers. Limits hold in this order as well as in that of the commits.
			(27, 'no entry passes a limit that was set before it',
				NOT c.is_own OR coalesce(c.seq < c.floor_from OR c.sum_amount - c.sum_held >= c.floor, true)
					AND coalesce(c.seq < c.ceiling_from OR c.sum_amount <= c.ceiling, true))
		) AS u(number, invariant, holds)
	WHERE c.seq IS NULL OR u.holds IS NOT TRUE
	GROUP BY u.number, u.invariant

	UNION ALL
	SELECT u.number, u.invariant, count(m.place) = 0,
		CASE WHEN count(m.place) > 0 THEN format('broken in %s cases, such as %s', count(m.place), min(m.place)) END
	FROM (SELECT l.key, l.name AS leg_name, l.account AS leg_account, l.currency, l.account_currency,
			l.amount AS leg_amount, l.held AS leg_held, l.seq AS leg_seq,
			e.seq, coalesce((l.payment_id, l.operation, l.amount, l.held) = (e.payment_id, e.operation, e.amount, e.held), false)
				AND e.created_at >= l.created_at AS is_same,
			CASE WHEN l.key IS NULL THEN format('entry %s of account %L of scope %L', e.seq, coalesce(e.name, e.account::text), e.scope)
				ELSE format('key %L of scope %L', l.key, l.scope) END AS place
		FROM leg l FULL JOIN entry e ON e.account = l.account AND e.seq = l.seq) m
		FULL JOIN (SELECT) AS nothing ON false,
		LATERAL (VALUES
			(28, 'an operation with accounts has two, in its scope and its currency',
				m.key IS NULL OR m.leg_name IS NOT NULL AND m.leg_account IS NOT NULL
					AND (m.account_currency = m.currency OR m.currency IS NULL AND m.leg_amount = 0)),
			(29, 'each operation has the entries that its totals ask for, and each entry is that of one',
				CASE WHEN m.seq IS NULL THEN m.leg_seq IS NULL AND m.leg_amount = 0 AND m.leg_held = 0
					ELSE m.is_same AND (m.leg_amount <> 0 OR m.leg_held <> 0) END)
		) AS u(number, invariant, holds)
	WHERE m.place IS NULL OR u.holds IS NOT TRUE
	GROUP BY u.number, u.invariant

	UNION ALL
	SELECT 30, 'the entries of an operation add up to zero in each currency', count(*) = 0,
		CASE WHEN count(*) > 0 THEN format('broken in %s of the operations, such as that of %s', count(*), min(o.place)) END
	FROM (SELECT min(format('entry %s of account %L of scope %L', e.seq, coalesce(e.name, e.account::text), e.scope)) AS place FROM entry e
		GROUP BY e.payment_id, e.operation, e.scope, e.currency HAVING sum(e.amount) IS DISTINCT FROM 0) o
	) f
	ORDER BY f.number
$$;
COMMENT ON FUNCTION @extschema@.idem_check() IS
	'returns a row for each invariant of the data, with an example if it is broken';
