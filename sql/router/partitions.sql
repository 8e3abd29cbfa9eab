------------------------------------------------------------------------------
-- Partitions
------------------------------------------------------------------------------

-- A scope's partition is its hash modulo their number. The hash is the first four bytes of SHA-256 of the scope in UTF-8,
-- the first byte the most significant. So it is the same on every version, platform and client.
--
-- The foreign server "idempotency" has the partitions: its options p0, p1 and so on say where each is. It is the one
-- place that knows. Their number is a power of two, and never changes: a scope would be looked for on another one.
--
-- A router that looks for a scope on another partition than others do would let a key pay twice. So each partition has a mark: its
-- number and how many there are. It is a setting of the database. A router claims its partitions, and compares their marks then and
-- when it is told of another place.

-- The hash, as PL/Proxy takes it: it uses the lowest bits.
CREATE FUNCTION idempotency_router.hash(scope text)
RETURNS integer
LANGUAGE sql STABLE STRICT
RETURN (('x' || encode(substr(sha256(convert_to(scope, 'UTF8')), 1, 4), 'hex'))::bit(32))::integer;
COMMENT ON FUNCTION idempotency_router.hash(text) IS
	'the hash of a scope';

-- The value of a setting of the extension idempotency in this session; NULL: it is not set. It is not STRICT, because then it
-- would not be inlined: each call would read and plan it anew, and that costs more than all the rest of the router's functions.
CREATE FUNCTION idempotency_router.setting(name text)
RETURNS text
LANGUAGE sql STABLE
RETURN nullif(current_setting('idempotency.' || name, true), '');
COMMENT ON FUNCTION idempotency_router.setting(text) IS
	'the value of a setting of the extension idempotency in this session';

CREATE FUNCTION idempotency_router.raise_no_scope()
RETURNS text
LANGUAGE plpgsql
AS $$
DECLARE
	required constant boolean := coalesce(idempotency_router.setting('require_scope')::boolean, false);
BEGIN
	RAISE EXCEPTION 'scope must not be null or left out'
		USING ERRCODE = 'null_value_not_allowed',
			DETAIL = CASE WHEN required THEN 'The setting "idempotency.require_scope" is on.'
				ELSE 'The scope says which partition has the key.' END,
			HINT = CASE WHEN required THEN 'Pass the argument "scope". The setting "idempotency.scope" does not count.'
				ELSE 'Pass the argument "scope", or set "idempotency.scope".' END;
END
$$;
COMMENT ON FUNCTION idempotency_router.raise_no_scope() IS
	'raises the error that a call has no scope';

-- The scope of a call: the argument, or the setting, unless idempotency.require_scope is on.
CREATE FUNCTION idempotency_router.scope(scope text)
RETURNS text
LANGUAGE sql
RETURN coalesce(scope,
	CASE WHEN idempotency_router.setting('require_scope')::boolean THEN NULL ELSE idempotency_router.setting('scope') END,
	idempotency_router.raise_no_scope());
COMMENT ON FUNCTION idempotency_router.scope(text) IS
	'the scope of a call with this argument';

CREATE FUNCTION idempotency_router.partitions(OUT partition integer, OUT connection text)
RETURNS SETOF record
LANGUAGE sql STABLE ROWS 64
BEGIN ATOMIC
	SELECT substr(o.option_name, 2)::integer, o.option_value
	FROM pg_foreign_server s, pg_options_to_table(s.srvoptions) o
	WHERE s.srvname = 'idempotency' AND o.option_name ~ '^p[0-9]+$'
	ORDER BY 1;
END;
COMMENT ON FUNCTION idempotency_router.partitions() IS
	'all partitions, and how a connection to each is made';

CREATE FUNCTION idempotency_router.all_partitions()
RETURNS integer[]
LANGUAGE sql STABLE
RETURN ARRAY(SELECT p.partition FROM idempotency_router.partitions() p);
COMMENT ON FUNCTION idempotency_router.all_partitions() IS
	'the numbers of all partitions';

CREATE FUNCTION @extschema@.idem_partition(
	scope text,
	OUT partition integer,
	OUT connection text)
LANGUAGE sql STABLE
BEGIN ATOMIC
	SELECT p.partition, p.connection
	FROM idempotency_router.partitions() p
	WHERE p.partition = (SELECT idempotency_router.hash(scope) & (count(*)::integer - 1) FROM idempotency_router.partitions());
END;
COMMENT ON FUNCTION @extschema@.idem_partition(text) IS
	'returns the number of the partition that has a scope, and how a connection to it is made';

CREATE FUNCTION @extschema@.idem_create_partitions(
	connection text,
	partitions integer DEFAULT 64)
RETURNS void
LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
	IF connection IS NULL OR partitions IS NULL THEN
		RAISE EXCEPTION '% must not be null', CASE WHEN connection IS NULL THEN 'connection' ELSE 'partitions' END
			USING ERRCODE = 'null_value_not_allowed';
	END IF;
	IF partitions NOT BETWEEN 1 AND 4096 OR partitions & (partitions - 1) <> 0 THEN
		RAISE EXCEPTION 'partitions must be a power of two, up to 4096' USING ERRCODE = 'invalid_parameter_value';
	END IF;
	IF partitions > 1 AND connection !~ '%s' THEN
		RAISE EXCEPTION 'connection must have %%s where the number of the partition goes' USING ERRCODE = 'invalid_parameter_value',
			HINT = 'Such as: host=db1 dbname=pay%s';
	END IF;
	PERFORM idempotency_router.check_connection(connection);
	EXECUTE (
		SELECT 'CREATE SERVER idempotency FOREIGN DATA WRAPPER plproxy OPTIONS ('
			|| string_agg(format('p%s %L', n, replace(connection, '%s', n::text)), ', ' ORDER BY n) || ')'
		FROM generate_series(0, partitions - 1) n);
END
$$;
COMMENT ON FUNCTION @extschema@.idem_create_partitions(text, integer) IS
	'creates the foreign server with the partitions; their numbers replace %s in the connection string';

CREATE FUNCTION @extschema@.idem_move_partition(
	partition integer,
	connection text)
RETURNS void
LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp
SET client_min_messages = warning
AS $$
DECLARE
	its_mark text;
BEGIN
	IF connection IS NULL THEN
		RAISE EXCEPTION 'connection must not be null' USING ERRCODE = 'null_value_not_allowed';
	END IF;
	IF NOT EXISTS (SELECT FROM idempotency_router.partitions() p WHERE p.partition = idem_move_partition.partition) THEN
		RAISE EXCEPTION 'there is no partition %', partition USING ERRCODE = 'invalid_parameter_value';
	END IF;
	PERFORM idempotency_router.check_connection(connection);
	EXECUTE format('ALTER SERVER idempotency OPTIONS (SET p%s %L)', partition, connection);
	BEGIN
		its_mark := idempotency_router.mark(partition);
	EXCEPTION WHEN OTHERS THEN
		RAISE WARNING 'it was not checked whether this is partition %', partition USING DETAIL = SQLERRM;
	END;
	PERFORM idempotency_router.check_mark(partition, its_mark);
END
$$;
COMMENT ON FUNCTION @extschema@.idem_move_partition(integer, text) IS
	'tells the router how connections to a partition are made from now on';

-- Everybody can read the options of a foreign server. And PL/Proxy does not look for a user mapping if it sees "user=".
CREATE FUNCTION idempotency_router.check_connection(connection text)
RETURNS void
LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
	IF connection ~* '(user|password|passfile|service)\s*=' OR connection ~* '^\s*postgres(ql)?://' THEN
		RAISE EXCEPTION 'connection must not say who connects' USING ERRCODE = 'invalid_parameter_value',
			DETAIL = 'Everybody can read it, and all roles would connect as the same one.',
			HINT = 'Use CREATE USER MAPPING for each role. Write keywords and values, not a URI.';
	END IF;
END
$$;
COMMENT ON FUNCTION idempotency_router.check_connection(text) IS
	'raises an error if a connection string says who connects';

-- The mark that a partition must have.
CREATE FUNCTION idempotency_router.right_mark(partition integer)
RETURNS text
LANGUAGE sql STABLE
RETURN partition || ' of ' || (SELECT count(*) FROM idempotency_router.partitions());
COMMENT ON FUNCTION idempotency_router.right_mark(integer) IS
	'the mark that a partition must have';

CREATE FUNCTION idempotency_router.check_mark(partition integer, its_mark text)
RETURNS void
LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
	IF its_mark <> idempotency_router.right_mark(partition) THEN
		RAISE EXCEPTION 'this is another partition' USING ERRCODE = 'object_not_in_prerequisite_state',
			DETAIL = format('The router takes it for %s, and it is %s.', idempotency_router.right_mark(partition), its_mark),
			HINT = 'All routers must have the same partitions, and as many of them.';
	END IF;
END
$$;
COMMENT ON FUNCTION idempotency_router.check_mark(integer, text) IS
	'raises an error if a partition is marked as another one';

CREATE FUNCTION @extschema@.idem_claim_partitions()
RETURNS integer
LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp
SET client_min_messages = warning
AS $$
DECLARE
	n constant integer := (SELECT count(*) FROM idempotency_router.partitions());
	its_mark text[];
	claimed integer := 0;
BEGIN
	-- all are looked at before one is marked
	FOR i IN 0 .. n - 1
	LOOP
		its_mark[i] := idempotency_router.mark(i);
		PERFORM idempotency_router.check_mark(i, its_mark[i]);
	END LOOP;
	FOR i IN 0 .. n - 1
	LOOP
		CONTINUE WHEN its_mark[i] IS NOT NULL;
		PERFORM idempotency_router.set_mark(idempotency_router.right_mark(i), i);
		PERFORM idempotency_router.check_mark(i, coalesce(idempotency_router.mark(i), 'not marked'));
		claimed := claimed + 1;
	END LOOP;
	RETURN claimed;
END
$$;
COMMENT ON FUNCTION @extschema@.idem_claim_partitions() IS
	'marks each partition with its number, and makes sure that none is another one; returns how many were not marked before';

