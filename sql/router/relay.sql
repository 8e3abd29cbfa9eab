------------------------------------------------------------------------------
-- Money for other scopes
------------------------------------------------------------------------------

-- The partitions have the extension idempotency_remit for that: sql/remit/start.sql tells how the money goes.

CREATE TYPE @extschema@.idem_remittance AS (
	key				text COLLATE "C",
	payment_id		uuid,
	status			text COLLATE "C",
	from_account	text COLLATE "C",
	to_scope		text COLLATE "C",
	to_account		text COLLATE "C",
	amount			numeric,
	currency		text COLLATE "C",
	reference		text,
	metadata		jsonb,
	created_at		timestamptz,
	settled_at		timestamptz,
	sqlstate		text COLLATE "C",
	message			text
);
COMMENT ON TYPE @extschema@.idem_remittance IS
	'what became of money that was sent to another scope';

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

-- A partition that fails is left out, with a warning. Its orders are due again later. Each step commits by itself, so a relay
-- may die at any time.
CREATE FUNCTION @extschema@.idem_relay(max integer DEFAULT 1000)
RETURNS integer
LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp
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
				BEGIN
					outcomes := outcomes || (SELECT coalesce(jsonb_agg(d), '[]') FROM idempotency_router.idem_relay_deliver(part, receiver) d);
				EXCEPTION WHEN OTHERS THEN
					RAISE WARNING 'cannot deliver to partition %', receiver USING DETAIL = SQLERRM;
					outcomes := outcomes || (
						SELECT jsonb_agg(jsonb_build_object('payment_id', o -> 'payment_id', 'scope', o -> 'scope', 'outcome', 'later',
							'sqlstate', SQLSTATE, 'message', SQLERRM))
						FROM jsonb_array_elements(part) o);
				END;
			END LOOP;
			IF outcomes <> '[]' THEN
				settled := settled + idempotency_router.idem_relay_settle(outcomes, sender);
			END IF;
		EXCEPTION
			WHEN invalid_schema_name THEN NULL;		-- it sends nothing: it has no extension idempotency_remit
			WHEN OTHERS THEN RAISE WARNING 'cannot relay for partition %', sender USING DETAIL = SQLERRM;
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

