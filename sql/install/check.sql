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
SET row_security = off
AS $$
	WITH undone AS (
		SELECT c.scope, c.key, min(o.kind) AS kind, min(o.amount) AS amount
		FROM idempotency.operation c
		JOIN idempotency.operation o ON o.scope = c.scope AND 'idem_cancel:' || o.key = c.key
		WHERE c.key ^@ 'idem_cancel:' AND o.payment_id = c.payment_id AND o.seq < c.seq AND o.sqlstate IS NULL
		GROUP BY c.scope, c.key
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
			u.amount AS undone_amount
		FROM idempotency.operation o
		LEFT JOIN undone u ON u.scope = o.scope AND u.key = o.key
		LEFT JOIN (SELECT payment_id, scope, min(due_at) AS due_at FROM idempotency.hold GROUP BY payment_id, scope) h
			ON h.payment_id = o.payment_id AND h.scope = o.scope
		WINDOW payment AS (PARTITION BY o.scope, o.payment_id ORDER BY o.seq)
	)
	SELECT u.invariant, count(s.key) = 0,
		CASE WHEN count(s.key) > 0
			THEN format('broken in %s of the operations, such as %s', count(s.key),
				min(format('key %L of scope %L', s.key, s.scope))) END
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
				CASE WHEN s.kind IN ('pay', 'cancel', 'increase') OR s.declined OR s.key ^@ 'idem_cancel:' THEN s.amount >= 0 ELSE s.amount > 0 END
					AND scale(s.authorized) <= 18 AND (s.declined OR scale(s.amount) = scale(s.authorized))
					AND scale(s.captured) = scale(s.authorized) AND scale(s.released) = scale(s.authorized)
					AND scale(s.refunded) = scale(s.authorized)),
			(6, 'operations have the columns of their kind',
				s.declined = (s.message IS NOT NULL)
					AND (s.kind = 'cancel') = (s.currency IS NULL)
					AND (s.kind = 'capture') = (s.final IS NOT NULL)
					AND (s.kind = 'increase') = (s.prolonged IS NOT NULL)
					AND (NOT s.declined OR s.kind IN ('pay', 'authorize', 'increase', 'capture', 'void', 'refund'))
					AND (s.kind NOT IN ('pay', 'authorize', 'cancel') OR NOT s.whole AND s.owner IS NULL)
					AND (s.kind NOT IN ('increase', 'reversal') OR NOT s.whole)
					AND (s.kind NOT IN ('pay', 'cancel') OR s.expires_at IS NULL)
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
				END)
		) AS u(number, invariant, holds)
	WHERE s.key IS NULL OR u.holds IS NOT TRUE
	GROUP BY u.number, u.invariant
	ORDER BY u.number
$$;
COMMENT ON FUNCTION @extschema@.idem_check() IS
	'returns a row for each invariant of the data, with an example if it is broken';
