------------------------------------------------------------------------------
-- Rights
------------------------------------------------------------------------------

-- PUBLIC gets no right. The roles of applications need idem_remit() and idem_lookup_remittance(), and what these use. Relays need
-- due(), deliver(), settle() and totals().
REVOKE ALL ON FUNCTION @extschema@.idem_remit(text, text, text, text, numeric, text, text, anycompatible, text, text),
	@extschema@.idem_lookup_remittance(text, text) FROM PUBLIC;
DO $do$
DECLARE
	f regprocedure;
BEGIN
	FOR f IN SELECT p.oid FROM pg_catalog.pg_proc p
		WHERE p.pronamespace OPERATOR(pg_catalog.=) 'idempotency_remit'::pg_catalog.regnamespace
	LOOP
		EXECUTE pg_catalog.format('REVOKE ALL ON FUNCTION %s FROM PUBLIC', f);
	END LOOP;
END
$do$;

CREATE FUNCTION @extschema@.idem_grant_remit(
	role regrole,
	kind text DEFAULT NULL)
RETURNS void
LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	functions constant text := CASE coalesce(kind, 'application')
		WHEN 'application' THEN '@extschema@.idem_remit, @extschema@.idem_lookup_remittance, idempotency_remit.scope, idempotency_remit.state, '
			'idempotency_remit.clearing_account, idempotency_remit.store_order'
		WHEN 'relay' THEN 'idempotency_remit.due, idempotency_remit.deliver, idempotency_remit.settle, idempotency_remit.totals' END;
BEGIN
	IF role IS NULL THEN
		RAISE EXCEPTION 'role must not be null' USING ERRCODE = 'null_value_not_allowed';
	ELSIF functions IS NULL THEN
		RAISE EXCEPTION 'unknown kind of role: "%"', kind USING ERRCODE = 'invalid_parameter_value',
			HINT = 'The kinds are application and relay.';
	END IF;
	EXECUTE format('GRANT USAGE ON SCHEMA idempotency_remit, @extschema@ TO %s', role);
	EXECUTE format('GRANT EXECUTE ON FUNCTION %s TO %s', functions, role);
	IF kind IS DISTINCT FROM 'relay' THEN
		EXECUTE format('GRANT SELECT ON idempotency_remit.own_remittance TO %s', role);
	END IF;
END
$$;
COMMENT ON FUNCTION @extschema@.idem_grant_remit(regrole, text) IS
	'lets a role send money to other scopes (application, the default), or deliver what others send (relay)';
REVOKE ALL ON FUNCTION @extschema@.idem_grant_remit(regrole, text) FROM PUBLIC;

CREATE FUNCTION @extschema@.idem_revoke_remit(role regrole)
RETURNS void
LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
	IF role IS NULL THEN
		RAISE EXCEPTION 'role must not be null' USING ERRCODE = 'null_value_not_allowed';
	END IF;
	EXECUTE format('REVOKE ALL ON ALL FUNCTIONS IN SCHEMA idempotency_remit FROM %s', role);
	EXECUTE format('REVOKE ALL ON FUNCTION @extschema@.idem_remit, @extschema@.idem_lookup_remittance FROM %s', role);
	EXECUTE format('REVOKE ALL ON idempotency_remit.own_remittance FROM %s', role);
	EXECUTE format('REVOKE ALL ON SCHEMA idempotency_remit FROM %s', role);
END
$$;
COMMENT ON FUNCTION @extschema@.idem_revoke_remit(regrole) IS
	'revokes all rights of a role on this extension, except USAGE on the schema of the functions';
REVOKE ALL ON FUNCTION @extschema@.idem_revoke_remit(regrole) FROM PUBLIC;
