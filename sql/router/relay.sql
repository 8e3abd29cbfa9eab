------------------------------------------------------------------------------
-- Money for other scopes
------------------------------------------------------------------------------

-- The partitions have the extension idempotency_remit for that: sql/remit/start.sql tells how the money goes.

SELECT idempotency_router.define('idem_remit',
	'key text, from_account text, to_scope text, to_account text, amount numeric, currency text DEFAULT NULL, '
	'reference text DEFAULT NULL, metadata anycompatible DEFAULT NULL::text, scope text DEFAULT NULL, declines text DEFAULT NULL',
	'@extschema@.idem_receipt',
	'sends an amount to an account of another scope, once per key; a relay delivers it, or sends it back if the other side refuses');
SELECT idempotency_router.define('idem_lookup_remittance',
	'key text, scope text DEFAULT NULL',
	'SETOF @extschema@.idem_remittance ROWS 1',
	'returns what became of money that was sent to another scope, or no row; writes nothing');

-- The steps of a relay. The last argument is the partition.
SELECT idempotency_router.define_remote('idem_relay_due', '{integer}', '{}', 'SETOF jsonb', 'SELECT d FROM idempotency_remit.due($1) d');
SELECT idempotency_router.define_remote('idem_relay_deliver', '{jsonb}', '{}', 'SETOF jsonb', 'SELECT d FROM idempotency_remit.deliver($1) d');
SELECT idempotency_router.define_remote('idem_relay_settle', '{jsonb}', '{}', 'integer', 'SELECT idempotency_remit.settle($1)');
SELECT idempotency_router.define_remote('idem_relay_totals', '{}', '{OUT currency text,OUT clearing numeric,OUT sent numeric,OUT orders bigint}',
	'SETOF record', 'SELECT t.currency, t.clearing, t.sent, t.orders FROM idempotency_remit.totals() t', 'RUN ON ALL;');

-- Is it this session that was cancelled, or a call on a partition, such as by a timeout there?
CREATE FUNCTION idempotency_router.raise_if_cancelled(state text, message text)
RETURNS void
LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
	IF state = '57014' AND message !~ '] REMOTE ' THEN
		RAISE EXCEPTION '%', message USING ERRCODE = state;
	END IF;
END
$$;
COMMENT ON FUNCTION idempotency_router.raise_if_cancelled(text, text) IS
	'raises an error again if it says that this session was cancelled';

-- Delivers orders to a partition, and returns their outcomes. If all together fail, because one takes too long for a timeout
-- there, each is tried alone. If there is no connection, that would be in vain.
CREATE FUNCTION idempotency_router.relay_deliver(orders jsonb, receiver integer)
RETURNS jsonb
LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	an_order jsonb;
	state text;
	reason text;
	outcomes jsonb := '[]';
BEGIN
	BEGIN
		RETURN (SELECT coalesce(jsonb_agg(d), '[]') FROM idempotency_router.idem_relay_deliver(orders, receiver) d);
	EXCEPTION WHEN query_canceled OR assert_failure OR OTHERS THEN
		state := SQLSTATE;
		reason := SQLERRM;
	END;
	PERFORM idempotency_router.raise_if_cancelled(state, reason);
	RAISE WARNING 'cannot deliver to partition %', receiver USING DETAIL = reason;
	FOR an_order IN SELECT jsonb_array_elements(orders)
	LOOP
		IF jsonb_array_length(orders) > 1 AND state <> 'XX000' AND state !~ '^(08|57P)' THEN
			outcomes := outcomes || idempotency_router.relay_deliver(jsonb_build_array(an_order), receiver);
		ELSE
			outcomes := outcomes || jsonb_build_object('payment_id', an_order -> 'payment_id', 'scope', an_order -> 'scope',
				'outcome', 'later', 'sqlstate', state, 'message', reason);
		END IF;
	END LOOP;
	RETURN outcomes;
END
$$;
COMMENT ON FUNCTION idempotency_router.relay_deliver(jsonb, integer) IS
	'delivers orders to a partition, and returns what became of each';

-- A partition that fails is left out, with a warning. Its orders are due again later. Each step commits by itself, so a relay
-- may die at any time.
CREATE FUNCTION @extschema@.idem_relay(max integer DEFAULT 1000)
RETURNS integer
LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp
SET client_min_messages = warning
AS $$
DECLARE
	n constant integer := (SELECT count(*) FROM idempotency_router.partitions());
	sender integer;
	receiver integer;
	orders jsonb;
	part jsonb;
	outcomes jsonb;
	settled integer := 0;
BEGIN
	IF max IS NULL OR max < 0 THEN
		RAISE EXCEPTION 'max must not be %', CASE WHEN max IS NULL THEN 'null' ELSE 'negative' END
			USING ERRCODE = CASE WHEN max IS NULL THEN 'null_value_not_allowed' ELSE 'invalid_parameter_value' END;
	END IF;
	FOR sender IN 0 .. n - 1
	LOOP
		BEGIN
			orders := (SELECT jsonb_agg(o) FROM idempotency_router.idem_relay_due(max, sender) o);
			outcomes := '[]';
			FOR receiver, part IN
				SELECT idempotency_router.hash(o ->> 'to_scope') & (n - 1), jsonb_agg(o) FROM jsonb_array_elements(orders) o GROUP BY 1
			LOOP
				outcomes := outcomes || idempotency_router.relay_deliver(part, receiver);
			END LOOP;
			IF outcomes <> '[]' THEN
				settled := settled + idempotency_router.idem_relay_settle(outcomes, sender);
			END IF;
		EXCEPTION
			WHEN invalid_schema_name THEN NULL;		-- it sends nothing: it has no extension idempotency_remit
			WHEN query_canceled OR assert_failure OR OTHERS THEN
				PERFORM idempotency_router.raise_if_cancelled(SQLSTATE, SQLERRM);
				RAISE WARNING 'cannot relay for partition %', sender USING DETAIL = SQLERRM;
		END;
	END LOOP;
	RETURN settled;
END
$$;
COMMENT ON FUNCTION @extschema@.idem_relay(integer) IS
	'delivers money that was sent to other scopes, up to max orders from each partition, and returns how many orders it settled';
REVOKE ALL ON FUNCTION @extschema@.idem_relay(integer) FROM PUBLIC;

SELECT idempotency_router.define_public('idem_relay_check',
	'OUT currency text, OUT clearing numeric, OUT sent numeric, OUT orders bigint, OUT ok boolean',
	'SETOF record ROWS 5',
	$$RETURN QUERY
	SELECT t.currency, pg_catalog.sum(t.clearing), pg_catalog.sum(t.sent), pg_catalog.sum(t.orders)::bigint,
		pg_catalog.sum(t.clearing) OPERATOR(pg_catalog.=) pg_catalog.sum(t.sent)
	FROM idempotency_router.idem_relay_totals() t
	GROUP BY t.currency
	ORDER BY t.currency;$$,
	'compares, for each currency, all clearing accounts with what is sent and has not arrived; while relays work, they differ');

