------------------------------------------------------------------------------
-- Rights
------------------------------------------------------------------------------

-- The functions of a role of this kind, in both schemas. NULL: of all kinds.
CREATE FUNCTION idempotency_router.functions_of(kind text)
RETURNS SETOF regprocedure
LANGUAGE sql STABLE
BEGIN ATOMIC
	SELECT p.oid::regprocedure
	FROM pg_depend d
	JOIN pg_extension e ON e.oid = d.refobjid AND e.extname = 'idempotency_router'
	JOIN pg_proc p ON p.oid = d.objid
	WHERE d.classid = 'pg_proc'::regclass AND d.refclassid = 'pg_extension'::regclass AND d.deptype = 'e'
		AND p.proname ~ '^idem_' AND p.proname <> ALL ('{idem_grant,idem_revoke,idem_create_partitions,idem_claim_partitions,idem_move_partition}')
		AND (kind IS NULL OR kind = CASE
			WHEN p.proname ~ '^(idem_expire|idem_purge|idem_relay|idem_stat_reset)' THEN 'maintenance'
			WHEN p.proname IN ('idem_stat', 'idem_activity') THEN 'monitor'
			WHEN p.proname ~ '^idem_check$' THEN 'auditor'
			ELSE 'application' END);
END;
COMMENT ON FUNCTION idempotency_router.functions_of(text) IS
	'the functions that idem_grant() lets a role of a kind call';

CREATE FUNCTION @extschema@.idem_grant(
	role regrole,
	kind text DEFAULT NULL)
RETURNS void
LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	what text;
BEGIN
	IF role IS NULL THEN
		RAISE EXCEPTION 'role must not be null' USING ERRCODE = 'null_value_not_allowed';
	END IF;
	kind := coalesce(kind, 'application');
	IF kind NOT IN ('application', 'maintenance', 'auditor', 'monitor') THEN
		RAISE EXCEPTION 'unknown kind of role: "%"', kind USING ERRCODE = 'invalid_parameter_value',
			HINT = 'The kinds are application, maintenance, auditor and monitor.';
	END IF;
	FOR what IN SELECT 'FUNCTION ' || f FROM idempotency_router.functions_of(kind) f
		UNION ALL SELECT 'SCHEMA idempotency_router'
		UNION ALL SELECT 'SCHEMA @extschema@'
		UNION ALL SELECT 'FOREIGN SERVER idempotency'
		UNION ALL SELECT 'idempotency_router.stat, idempotency_router.activity' WHERE kind = 'monitor'
	LOOP
		EXECUTE format('GRANT %s ON %s TO %s',
			CASE WHEN what ~ '^FUNCTION' THEN 'EXECUTE' WHEN what ~ '^idempotency_router' THEN 'SELECT' ELSE 'USAGE' END, what, role);
	END LOOP;
END
$$;
COMMENT ON FUNCTION @extschema@.idem_grant(regrole, text) IS
	'grants a role the rights of kind application (the default), maintenance, auditor or monitor on this router; it needs them on the partitions, too, and a user mapping';

CREATE FUNCTION @extschema@.idem_revoke(role regrole)
RETURNS void
LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	what text;
BEGIN
	IF role IS NULL THEN
		RAISE EXCEPTION 'role must not be null' USING ERRCODE = 'null_value_not_allowed';
	END IF;
	FOR what IN SELECT 'FUNCTION ' || f FROM idempotency_router.functions_of(NULL) f
		UNION ALL SELECT 'SCHEMA idempotency_router'
		UNION ALL SELECT 'FOREIGN SERVER idempotency'
		UNION ALL SELECT 'idempotency_router.stat, idempotency_router.activity'
	LOOP
		EXECUTE format('REVOKE ALL ON %s FROM %s', what, role);
	END LOOP;
END
$$;
COMMENT ON FUNCTION @extschema@.idem_revoke(regrole) IS
	'revokes all rights of a role on this router, except USAGE on the schema of the functions';

-- PUBLIC gets no right on the functions of administrators.
REVOKE ALL ON FUNCTION @extschema@.idem_grant(regrole, text), @extschema@.idem_revoke(regrole),
	@extschema@.idem_create_partitions(text, integer), @extschema@.idem_claim_partitions(), @extschema@.idem_move_partition(integer, text),
	@extschema@.idem_partition(text) FROM PUBLIC;

-- A role that may use the foreign server may make its own user mapping, and name any user in it. If the partitions did not ask
-- for a password, it would be that user there. So only superusers make mappings for it.
CREATE FUNCTION idempotency_router.check_user_mapping()
RETURNS event_trigger
LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
	IF NOT (SELECT rolsuper FROM pg_roles WHERE rolname = current_user) AND EXISTS (
		SELECT FROM pg_event_trigger_ddl_commands() c
		JOIN pg_user_mappings m ON m.umid = c.objid
		WHERE c.classid = 'pg_user_mapping'::regclass AND m.srvname = 'idempotency')
	THEN
		RAISE EXCEPTION 'user mappings for partitions are made by superusers' USING ERRCODE = 'insufficient_privilege';
	END IF;
END
$$;
COMMENT ON FUNCTION idempotency_router.check_user_mapping() IS
	'raises an error if a role changes as whom it connects to partitions';
CREATE EVENT TRIGGER idempotency_router_user_mapping ON ddl_command_end
	WHEN TAG IN ('CREATE USER MAPPING', 'ALTER USER MAPPING')
	EXECUTE FUNCTION idempotency_router.check_user_mapping();
COMMENT ON EVENT TRIGGER idempotency_router_user_mapping IS
	'only superusers say as whom a role connects to partitions';

-- These made the functions above, and are not needed any more.
DROP FUNCTION idempotency_router.define(text, text, text, text);
DROP FUNCTION idempotency_router.define_batch(text, text, text);
DROP FUNCTION idempotency_router.define_public(text, text, text, text, text);
DROP FUNCTION idempotency_router.define_remote(text, text[], text[], text, text, text);
