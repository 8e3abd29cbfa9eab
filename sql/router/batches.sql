------------------------------------------------------------------------------
-- Batches
------------------------------------------------------------------------------

-- With an array "scopes", each item has a scope of its own. The items are split by partition, and the partitions work on
-- theirs at the same time, each in a transaction. There, the items of each scope are a batch. If a partition fails as a
-- whole, so does the call, though others have committed. The call is safe to repeat: their items are replayed then.

-- Makes a function of batches, and two of PL/Proxy: for one scope, and for several. arguments: as the extension idempotency
-- declares them.
CREATE FUNCTION idempotency_router.define_batch(name text, arguments text, comment text)
RETURNS void
LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp
AS $define$
DECLARE
	outs constant text[] := '{OUT item integer,OUT key text,OUT outcome text,OUT payment_id uuid,OUT status text,OUT sqlstate text,OUT message text,OUT detail text}';
	columns constant text := 'b.key, b.outcome, b.payment_id, b.status, b.sqlstate, b.message, b.detail';
	argument text;
	part text[];
	n integer := 0;
	types text[] := '{}';
	passed text[] := '{}';		-- for one scope
	filled text[] := '{}';		-- for several: no array is null
	splits text[] := '{}';		-- the arrays, for PL/Proxy
	names text[] := '{}';		-- the arrays, on the partition
	sent text[] := '{}';		-- what the partition passes on
	checks text[] := '{}';		-- of the arrays
BEGIN
	FOREACH argument IN ARRAY regexp_split_to_array(arguments, ',\s*')
	LOOP
		part := regexp_match(argument, '^(\w+) (.*?)( DEFAULT .*)?$');
		n := n + 1;
		types := types || replace(part[2], 'anycompatiblearray', 'text[]');
		passed := passed || CASE
			WHEN part[1] = 'scope' THEN '_scope'
			WHEN part[1] = 'declines' THEN format('coalesce($%s, idempotency_router.setting(%L))', n, part[1])
			WHEN part[1] = 'currencies' AND name = 'idem_pay_batch'
				THEN format('idempotency_router.currencies($%s, pg_catalog.cardinality($1))', n)
			WHEN part[2] = 'anycompatiblearray'
				THEN format('CASE WHEN $%s IS NOT NULL THEN idempotency_router.json_texts($%1$s, %L) END', n, part[1])
			ELSE format('$%s', n)
		END;
		IF types[n] ~ '\[\]$' THEN
			filled := filled || CASE
				WHEN part[3] IS NULL THEN passed[n]
				ELSE format('coalesce(%s, pg_catalog.array_fill(NULL::%s, ARRAY[pg_catalog.cardinality($1)]))', passed[n], rtrim(types[n], '[]'))
			END;
			checks := checks || format('idempotency_router.check_array($%s, %L, %s, pg_catalog.cardinality($1))', n, part[1], (part[3] IS NULL)::text);
			splits := splits || format('$%s', n);
			names := names || part[1];
			sent := sent || format('g.%s', part[1]);
		ELSE
			filled := filled || passed[n];
			sent := sent || CASE part[1] WHEN 'scope' THEN 'g.scope' ELSE format('$%s', n) END;
		END IF;
	END LOOP;

	PERFORM idempotency_router.define_remote(name, types, outs, 'SETOF record',
		format('SELECT b.item, %s FROM @extschema@.%s(%s) b', columns, name,
			(SELECT string_agg('$' || i, ', ' ORDER BY i) FROM generate_series(1, n) i)));
	-- The scopes, the numbers of the items and their partitions come last.
	PERFORM idempotency_router.define_remote(name || '_split', types || '{text[],integer[],integer[]}'::text[], outs, 'SETOF record',
		format('SELECT g.items[b.item] AS item, %s FROM (SELECT e.scope, array_agg(e.item ORDER BY e.item) AS items, %s'
			' FROM unnest($%s, $%s, %s) e(scope, item, %s) GROUP BY e.scope ORDER BY e.scope COLLATE "C") g, LATERAL @extschema@.%s(%s) b',
			columns,
			(SELECT string_agg(format('array_agg(e.%s ORDER BY e.item) AS %1$s', c), ', ') FROM unnest(names) c),
			n + 1, n + 2, array_to_string(splits, ', '), array_to_string(names, ', '), name, array_to_string(sent, ', ')),
		format('SPLIT %s, $%s, $%s, $%s; RUN ON $%4$s;', array_to_string(splits, ', '), n + 1, n + 2, n + 3));

	PERFORM idempotency_router.define_public(name, arguments || ', scopes text[] DEFAULT NULL',
		format('TABLE (%s)', replace(array_to_string(outs, ', '), 'OUT ', '')),
		format($body$IF $%s IS NULL THEN
		_scope := idempotency_router.scope($%s);
		RETURN QUERY SELECT * FROM idempotency_router.%s(%s, idempotency_router.hash(_scope));
		RETURN;
	END IF;
	PERFORM %6$s, idempotency_router.check_array($%1$s, 'scopes', true, pg_catalog.cardinality($1));
	PERFORM idempotency_router.check_scopes($%1$s);
	RETURN QUERY SELECT b.* FROM idempotency_router.%3$s_split(%5$s, $%1$s,
		ARRAY(SELECT i FROM pg_catalog.generate_series(1, pg_catalog.cardinality($1)) i),
		ARRAY(SELECT idempotency_router.hash(s) FROM pg_catalog.unnest($%1$s) s)) b
	ORDER BY b.item;$body$,
			n + 1, array_position(passed, '_scope'), name, array_to_string(passed, ', '), array_to_string(filled, ', '),
			array_to_string(checks, ', ')),
		comment);
END
$define$;

-- The currencies of a batch: those that are left out are that of the setting, if there is one.
CREATE FUNCTION idempotency_router.currencies(currencies text[], n integer)
RETURNS text[]
LANGUAGE sql STABLE
BEGIN ATOMIC
	SELECT CASE
		WHEN idempotency_router.setting('currency') IS NULL THEN currencies
		WHEN currencies IS NULL THEN array_fill(idempotency_router.setting('currency'), ARRAY[n])
		ELSE ARRAY(SELECT coalesce(c, idempotency_router.setting('currency')) FROM unnest(currencies) c)
	END;
END;
COMMENT ON FUNCTION idempotency_router.currencies(text[], integer) IS
	'the currencies of the items of a batch';

-- Checks an array as the extension idempotency does. n: the number of keys.
CREATE FUNCTION idempotency_router.check_array(value anyarray, name text, needed boolean, n integer)
RETURNS void
LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
	IF value IS NULL AND needed THEN
		RAISE EXCEPTION '% must not be null', name USING ERRCODE = 'null_value_not_allowed';
	ELSIF array_ndims(value) > 1 THEN
		RAISE EXCEPTION 'array "%" must have one dimension', name USING ERRCODE = 'array_subscript_error';
	ELSIF cardinality(value) <> n THEN
		RAISE EXCEPTION 'array "%" must have one element for each key', name USING ERRCODE = 'array_subscript_error',
			DETAIL = format('The number of elements is %s, but the number of keys is %s.', cardinality(value), n);
	END IF;
END
$$;
COMMENT ON FUNCTION idempotency_router.check_array(anyarray, text, boolean, integer) IS
	'raises an error unless an array has an element for each key';

-- Each item has a scope of its own, and no default.
CREATE FUNCTION idempotency_router.check_scopes(scopes text[])
RETURNS void
LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
	IF array_position(scopes, NULL) IS NOT NULL THEN
		RAISE EXCEPTION 'array "scopes" must not have a null' USING ERRCODE = 'null_value_not_allowed';
	END IF;
END
$$;
COMMENT ON FUNCTION idempotency_router.check_scopes(text[]) IS
	'raises an error unless each item of a batch has a scope';

SELECT idempotency_router.define_batch('idem_pay_batch',
	'keys text[], amounts numeric[], currencies text[] DEFAULT NULL, refs text[] DEFAULT NULL, '
	'metadatas anycompatiblearray DEFAULT NULL::text[], scope text DEFAULT NULL, from_accounts text[] DEFAULT NULL, '
	'to_accounts text[] DEFAULT NULL, declines text DEFAULT NULL',
	'makes many payments, each once per key, and returns the outcome of each in the order given');
SELECT idempotency_router.define_batch('idem_capture_batch',
	'keys text[], payment_ids uuid[], amounts numeric[], final boolean DEFAULT true, refs text[] DEFAULT NULL, '
	'metadatas anycompatiblearray DEFAULT NULL::text[], scope text DEFAULT NULL, currencies text[] DEFAULT NULL, declines text DEFAULT NULL',
	'captures many times, each once per key, and returns the outcome of each in the order given');
SELECT idempotency_router.define_batch('idem_refund_batch',
	'keys text[], payment_ids uuid[], amounts numeric[], refs text[] DEFAULT NULL, metadatas anycompatiblearray DEFAULT NULL::text[], '
	'scope text DEFAULT NULL, currencies text[] DEFAULT NULL, declines text DEFAULT NULL',
	'refunds many times, each once per key, and returns the outcome of each in the order given');

