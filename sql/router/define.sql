------------------------------------------------------------------------------
-- Passing calls on
------------------------------------------------------------------------------

-- The type of a value: that below, if it is a domain.
CREATE FUNCTION idempotency_router.base_type(type regtype)
RETURNS regtype
LANGUAGE plpgsql STABLE
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	below oid;
BEGIN
	LOOP
		SELECT typbasetype INTO below FROM pg_type WHERE oid = type;
		EXIT WHEN coalesce(below, 0) = 0;
		type := below;
	END LOOP;
	RETURN type;
END
$$;
COMMENT ON FUNCTION idempotency_router.base_type(regtype) IS
	'the type that a domain is of, or the type itself';

-- JSON is sent to a partition as text, which it takes as well. types: those that the argument may have.
CREATE FUNCTION idempotency_router.json_text(value anyelement, name text, types text)
RETURNS text
LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	type constant regtype := idempotency_router.base_type(pg_typeof(value));
	category constant text := (SELECT typcategory FROM pg_type WHERE oid = type);
BEGIN
	IF type IN ('json'::regtype, 'jsonb'::regtype) OR category = 'S' THEN
		RETURN format('%s', value);		-- a cast would take the blanks of char(n) away
	ELSIF category = 'A' AND types ~ 'array' THEN
		RETURN CASE WHEN array_ndims(value) = 1 THEN ARRAY(SELECT e FROM unnest(value) e)::text		-- it may begin with another number than 1
			ELSE value::text END;
	END IF;
	RAISE EXCEPTION '% must be of type %', name, types
		USING ERRCODE = 'datatype_mismatch', DETAIL = format('It is of type %s.', pg_typeof(value));
END
$$;
COMMENT ON FUNCTION idempotency_router.json_text(anyelement, text, text) IS
	'the text of an argument that is JSON';

CREATE FUNCTION idempotency_router.json_texts(value anyarray, name text)
RETURNS text[]
LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
	IF pg_typeof(value) IN ('json[]'::regtype, 'jsonb[]'::regtype)
		OR (SELECT e.typcategory = 'S' FROM pg_type a JOIN pg_type e ON e.oid = a.typelem WHERE a.oid = pg_typeof(value))
	THEN
		RETURN value::text[];
	END IF;
	RAISE EXCEPTION '% must be of type text[], json[] or jsonb[]', name
		USING ERRCODE = 'datatype_mismatch', DETAIL = format('It is of type %s.', pg_typeof(value));
END
$$;
COMMENT ON FUNCTION idempotency_router.json_texts(anyarray, text) IS
	'the texts of an argument that is an array of JSON';

-- Makes a function of PL/Proxy. Its last argument is the partition.
--
--	types		of the other arguments
--	outs		the columns of the result, as OUT arguments, if it is no type
--	run			where it runs, if it is not a partition, and what is split
--	target		the query of the partition: $1 is the first argument
CREATE FUNCTION idempotency_router.define_remote(
	name text, types text[], outs text[], returns text, target text, run text DEFAULT NULL)
RETURNS void
LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp
AS $define$
DECLARE
	n constant integer := cardinality(types);
BEGIN
	IF run IS NULL THEN
		types := types || 'integer'::text;
		run := format('RUN ON $%s;', n + 1);
	END IF;
	EXECUTE format('CREATE FUNCTION idempotency_router.%s(%s) RETURNS %s LANGUAGE plproxy AS %L',
		name, array_to_string(types || outs, ', '), returns, format('CLUSTER ''idempotency''; %s %s;', run, target));
	EXECUTE format('REVOKE ALL ON FUNCTION idempotency_router.%s FROM PUBLIC', name);
	EXECUTE format('COMMENT ON FUNCTION idempotency_router.%s IS ''runs the function of this name on a partition''', name);
END
$define$;

-- Makes a public function. PL/Proxy sends a NOTICE when it replaces a connection, as it does after each error. Clients do not get
-- it. Arguments are sent as text, and the styles of times are those that every server reads alike. PL/Proxy's functions have no such
-- settings, as they are called for each row.
--
--	arguments	as the extension idempotency declares them
--	returns		the result, and the other options
--	body		its statements, up to its END; _scope is the scope of the call, if it has an argument "scope", and to be set
--				if it may have several
CREATE FUNCTION idempotency_router.define_public(
	name text, arguments text, returns text, body text, comment text)
RETURNS void
LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp
AS $define$
BEGIN
	EXECUTE format('CREATE FUNCTION @extschema@.%s(%s) RETURNS %s LANGUAGE plpgsql '
		'SET client_min_messages = warning SET datestyle = iso SET intervalstyle = postgres AS %L', name, arguments, returns,
		format($body$
DECLARE
	_message text;
	_detail text;
	_hint text;
	%s
BEGIN
	%s
EXCEPTION WHEN query_canceled OR assert_failure OR OTHERS THEN
	GET STACKED DIAGNOSTICS _message = MESSAGE_TEXT, _detail = PG_EXCEPTION_DETAIL, _hint = PG_EXCEPTION_HINT;
	PERFORM idempotency_router.raise(SQLSTATE, _message, _detail, _hint);
END
$body$,
			CASE
				WHEN arguments ~ '\mscopes text' THEN '_scope text;'
				WHEN arguments ~ '\mscope text' THEN (
					SELECT format('_scope CONSTANT text := idempotency_router.scope($%s);', i)
					FROM regexp_split_to_table(arguments, ',\s*') WITH ORDINALITY u(a, i) WHERE a ~ '^scope text')
			END,
			body));
	EXECUTE format('REVOKE ALL ON FUNCTION @extschema@.%s FROM PUBLIC', name);
	EXECUTE format('COMMENT ON FUNCTION @extschema@.%s IS %L', name, comment);
END
$define$;

-- Makes both for a function of one scope. They have the same arguments, but JSON is text behind, and the scope is given.
--
-- A receipt comes from the partition as one text, the row. PL/Proxy does not prepare its statements, and a query that names the 24
-- columns would take the partition three times as long. So a row must have the columns that the router knows.
CREATE FUNCTION idempotency_router.define(name text, arguments text, returns text, comment text)
RETURNS void
LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp
AS $define$
DECLARE
	result constant text := regexp_replace(returns, '^SETOF | ROWS \d+$', '', 'g');
	is_row constant boolean := EXISTS (SELECT FROM pg_type WHERE oid = to_regtype(result) AND typrelid <> 0);
	argument text;
	part text[];
	n integer := 0;
	types text[] := '{}';
	passed text[] := '{}';
	outs text[] := '{}';
	columns text[] := '{}';
	call text;
BEGIN
	FOREACH argument IN ARRAY regexp_split_to_array(arguments, ',\s*')
	LOOP
		part := regexp_match(argument, '^(OUT )?(\w+) (.*?)( DEFAULT .*)?$');
		IF part[1] IS NOT NULL THEN
			outs := outs || argument;
			columns := columns || part[2];
			CONTINUE;
		END IF;
		n := n + 1;
		types := types || replace(part[3], 'anycompatible', 'text');
		passed := passed || CASE
			WHEN part[2] = 'scope' THEN '_scope'
			WHEN part[2] = 'declines' OR part[2] = 'currency' AND name IN ('idem_pay', 'idem_authorize', 'idem_account_open')
				THEN format('coalesce($%s, idempotency_router.setting(%L))', n, part[2])
			WHEN part[3] = 'anycompatible'
				THEN format('CASE WHEN $%s IS NOT NULL THEN idempotency_router.json_text($%1$s, %L, %L) END', n, part[2],
					CASE part[2] WHEN 'args' THEN 'text, json, jsonb or an array' ELSE 'text, json or jsonb' END)
			ELSE format('$%s', n)
		END;
	END LOOP;
	call := format('@extschema@.%s(%s)', name, (SELECT string_agg('$' || i, ', ' ORDER BY i) FROM generate_series(1, n) i));
	PERFORM idempotency_router.define_remote(name, types, outs,
		replace(regexp_replace(returns, ' ROWS \d+$', ''), result, CASE WHEN is_row THEN 'text' ELSE result END),
		CASE WHEN columns = '{}' THEN 'SELECT ' || call
			ELSE format('SELECT %s FROM %s r', (SELECT string_agg('r.' || c, ', ' ORDER BY i) FROM unnest(columns) WITH ORDINALITY u(c, i)), call) END);

	call := format('idempotency_router.%s(%s, idempotency_router.hash(_scope))', name, array_to_string(passed, ', '));
	PERFORM idempotency_router.define_public(name, arguments, returns,
		CASE
			WHEN is_row AND returns ~ '^SETOF ' THEN format('RETURN QUERY SELECT (t.r).* FROM (SELECT c::%s AS r FROM %s c OFFSET 0) t;', result, call)
			WHEN returns ~ '^SETOF ' THEN format('RETURN QUERY SELECT * FROM %s;', call)
			WHEN returns = 'void' THEN format('PERFORM %s;', call)
			WHEN returns = 'record' THEN format('SELECT * INTO %s FROM %s;',
				(SELECT string_agg('$' || n + i, ', ' ORDER BY i) FROM generate_subscripts(columns, 1) i), call)
			WHEN is_row THEN format('RETURN %s::%s;', call, result)
			ELSE format('RETURN %s;', call)
		END,
		comment);
END
$define$;

