------------------------------------------------------------------------------
-- What a relay calls
------------------------------------------------------------------------------

-- Orders are JSON: the columns of remittance that the other side needs.

-- Takes up to max orders that are due, those that have been due for longest before the others. They are due again after a
-- time that gets longer with each try, up to five minutes: until then another relay does not take them.
CREATE FUNCTION idempotency_remit.due(max integer)
RETURNS SETOF jsonb
LANGUAGE sql SECURITY DEFINER ROWS 100
SET search_path = pg_catalog, pg_temp
BEGIN ATOMIC
	UPDATE idempotency_remit.remittance r
	SET tries = r.tries + 1, due_at = clock_timestamp() + least(interval '5 minutes', interval '1 second' * 2 ^ least(r.tries, 20))
	FROM (
		SELECT d.payment_id, d.scope FROM idempotency_remit.remittance d
		-- if the clock is set back, nothing waits for it
		WHERE d.status = 'sent' AND (d.due_at <= clock_timestamp() OR d.due_at > clock_timestamp() + interval '10 minutes')
		ORDER BY d.due_at
		LIMIT due.max
		FOR UPDATE SKIP LOCKED) taken
	WHERE r.payment_id = taken.payment_id AND r.scope = taken.scope
	RETURNING jsonb_build_object('token', r.token, 'payment_id', r.payment_id, 'scope', r.scope, 'to_scope', r.to_scope, 'to_account', r.to_account,
		'amount', r.amount, 'currency', r.currency, 'reference', r.reference, 'metadata', r.metadata);
END;
COMMENT ON FUNCTION idempotency_remit.due(integer) IS
	'takes orders whose time has come, for a relay that delivers them';

-- Does an error say that a request cannot be carried out, however often it is sent? Then the money goes back. Limits and
-- wrong arguments do, and what constraints and triggers of the application forbid.
CREATE FUNCTION idempotency_remit.is_final(state text)
RETURNS boolean
LANGUAGE sql STABLE STRICT
RETURN left(state, 2) IN ('22', '23') OR state IN ('P0001', idempotency_remit.state('402'), idempotency_remit.state('404'),
	idempotency_remit.state('412'), idempotency_remit.state('422'));
COMMENT ON FUNCTION idempotency_remit.is_final(text) IS
	'says whether an error with this SQLSTATE is the last word on a delivery';

-- Carries out orders: see start.sql. If one is cancelled, because a timeout was set for the role, it comes later: PL/Proxy may
-- wait for ever after that error. The outcome of each: "delivered"; "refused", which cannot change any more; or "later".
CREATE FUNCTION idempotency_remit.deliver(orders jsonb)
RETURNS SETOF jsonb
LANGUAGE plpgsql SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
SET lock_timeout = '2s'
SET idempotency.in_flight = 'wait'
SET idempotency.declines = 'record'
AS $$
DECLARE
	-- All are in one transaction, which keeps what it has locked. So if some have to wait, the rest comes later.
	deadline constant timestamptz := clock_timestamp() + interval '4 seconds';
	an_order record;
	key text;
	account @extschema@.idem_account;
	receipt @extschema@.idem_receipt;
	outcome text;
	state text;
	reason text;
BEGIN
	-- Whoever carries out several orders takes them in this order. So no two wait for each other.
	FOR an_order IN
		SELECT o.* FROM jsonb_to_recordset(orders) AS o(token uuid, payment_id uuid, scope text, to_scope text, to_account text, amount numeric, currency text,
			reference text, metadata jsonb)
		ORDER BY o.payment_id
	LOOP
		IF clock_timestamp() > deadline THEN
			RETURN NEXT jsonb_build_object('payment_id', an_order.payment_id, 'scope', an_order.scope, 'outcome', 'later',
				'sqlstate', '55P03', 'message', 'others took too long');
			CONTINUE;
		END IF;
		key := 'idem_remit:' || an_order.token;
		BEGIN
			SELECT * INTO account FROM @extschema@.idem_lookup_account(an_order.to_account, scope => an_order.to_scope);
			IF account.currency <> an_order.currency THEN
				RAISE EXCEPTION 'account "%" has another currency', an_order.to_account USING ERRCODE = 'invalid_parameter_value';
			END IF;
			receipt := @extschema@.idem_post(key,
				ARRAY[
					ROW(idempotency_remit.clearing_account(an_order.to_scope, an_order.currency), -an_order.amount)::@extschema@.idem_entry,
					ROW(an_order.to_account, an_order.amount)::@extschema@.idem_entry],
				an_order.reference, an_order.metadata, an_order.to_scope);
			outcome := CASE WHEN receipt.kind = 'post' AND receipt.sqlstate IS NULL THEN 'delivered' ELSE 'refused' END;
			state := receipt.sqlstate;
			reason := CASE WHEN receipt.kind = 'cancel' THEN 'the delivery was refused before' ELSE receipt.message END;
		EXCEPTION WHEN query_canceled OR assert_failure OR OTHERS THEN
			outcome := 'later';
			state := SQLSTATE;
			reason := SQLERRM;
		END;
		-- An error is not stored, so another relay could still succeed. If one has, the key cannot be cancelled any more. Then
		-- the next try finds out.
		IF outcome = 'later' AND idempotency_remit.is_final(state) THEN
			BEGIN
				PERFORM @extschema@.idem_cancel(key, an_order.to_scope);
				outcome := 'refused';
			EXCEPTION WHEN query_canceled OR assert_failure OR OTHERS THEN
				NULL;
			END;
		END IF;
		RETURN NEXT jsonb_build_object('payment_id', an_order.payment_id, 'scope', an_order.scope, 'outcome', outcome,
			'sqlstate', state, 'message', reason);
	END LOOP;
END
$$;
COMMENT ON FUNCTION idempotency_remit.deliver(jsonb) IS
	'moves money that other scopes have sent to the accounts that it is for, once for each order';

-- Takes note of outcomes, and returns how many orders are settled by them. If money cannot be returned, because the account
-- was closed meanwhile or is at its ceiling, the order stays as it is.
CREATE FUNCTION idempotency_remit.settle(outcomes jsonb)
RETURNS integer
LANGUAGE plpgsql SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
SET lock_timeout = '5s'
SET idempotency.in_flight = 'wait'
AS $$
DECLARE
	an_outcome record;
	sent idempotency_remit.remittance;
	receipt @extschema@.idem_receipt;
	delivered integer := 0;
	returned integer := 0;
	later integer := 0;
BEGIN
	FOR an_outcome IN
		SELECT o.* FROM jsonb_to_recordset(outcomes) AS o(payment_id uuid, scope text, outcome text, sqlstate text, message text)
		ORDER BY o.payment_id
	LOOP
		SELECT * INTO sent FROM idempotency_remit.remittance r
		WHERE r.payment_id = an_outcome.payment_id AND r.scope = an_outcome.scope AND r.status = 'sent'
		FOR UPDATE;
		CONTINUE WHEN NOT FOUND;		-- another relay was here
		IF an_outcome.outcome IS NULL OR an_outcome.outcome NOT IN ('delivered', 'refused', 'later') THEN
			RAISE EXCEPTION 'unknown outcome of an order: %', coalesce(an_outcome.outcome, 'null') USING ERRCODE = 'invalid_parameter_value';
		END IF;
		IF an_outcome.outcome = 'refused' THEN
			BEGIN
				receipt := @extschema@.idem_post('idem_remit_back:' || sent.token,
					ARRAY[
						ROW('idem_clearing:' || sent.currency, -sent.amount)::@extschema@.idem_entry,
						ROW(sent.from_account, sent.amount)::@extschema@.idem_entry],
					sent.reference, sent.metadata, sent.scope, 'raise');
				IF receipt.kind <> 'post' THEN
					RAISE EXCEPTION 'key "%" is not free', receipt.key;
				END IF;
			EXCEPTION WHEN query_canceled OR assert_failure OR OTHERS THEN
				an_outcome.outcome := 'later';
				an_outcome.sqlstate := SQLSTATE;
				an_outcome.message := 'the money cannot be returned: ' || SQLERRM;
			END;
		END IF;
		UPDATE idempotency_remit.remittance r
		SET status = CASE an_outcome.outcome WHEN 'delivered' THEN 'delivered' WHEN 'refused' THEN 'returned' ELSE r.status END,
			settled_at = CASE WHEN an_outcome.outcome <> 'later' THEN clock_timestamp() END,
			sqlstate = an_outcome.sqlstate,
			message = an_outcome.message
		WHERE r.payment_id = sent.payment_id AND r.scope = sent.scope;
		delivered := delivered + (an_outcome.outcome = 'delivered')::integer;
		returned := returned + (an_outcome.outcome = 'refused')::integer;
		later := later + (an_outcome.outcome = 'later')::integer;
	END LOOP;
	PERFORM idempotency.count_relays(delivered, returned, later);
	RETURN delivered + returned;
END
$$;
COMMENT ON FUNCTION idempotency_remit.settle(jsonb) IS
	'takes note of what became of orders, and returns the money of those that were refused';

-- What is in the clearing accounts, and what is sent and not settled. Over all partitions, the difference is what has arrived,
-- and the sender's side does not know yet.
CREATE FUNCTION idempotency_remit.totals(OUT currency text, OUT clearing numeric, OUT sent numeric, OUT orders bigint)
RETURNS SETOF record
LANGUAGE sql STABLE SECURITY DEFINER ROWS 5
SET search_path = pg_catalog, pg_temp
BEGIN ATOMIC
	SELECT coalesce(a.currency, r.currency), coalesce(a.clearing, 0), coalesce(r.sent, 0), coalesce(r.orders, 0)
	FROM (
		SELECT c.currency, sum(b.posted) AS clearing
		FROM idempotency_remit.clearing c JOIN idempotency.account_balance b ON b.scope = c.scope AND b.name = 'idem_clearing:' || c.currency
		GROUP BY c.currency) a
	FULL JOIN (SELECT s.currency, sum(s.amount) AS sent, count(*) AS orders FROM idempotency_remit.remittance s WHERE s.status = 'sent' GROUP BY s.currency) r
		ON r.currency = a.currency;
END;
COMMENT ON FUNCTION idempotency_remit.totals() IS
	'the sums of the clearing accounts and of the orders that are sent, for each currency';

