------------------------------------------------------------------------------
-- Rights of application roles
------------------------------------------------------------------------------

-- rights.c has the list of the rights that these functions grant.
CREATE FUNCTION @extschema@.idem_grant(
	role regrole,
	kind text DEFAULT NULL)
RETURNS void
LANGUAGE C VOLATILE PARALLEL UNSAFE
AS 'MODULE_PATHNAME';
COMMENT ON FUNCTION @extschema@.idem_grant(regrole, text) IS
	'grants a role the rights of kind application (the default), maintenance, auditor or monitor, and USAGE on the schema of the functions';

CREATE FUNCTION @extschema@.idem_revoke(role regrole)
RETURNS void
LANGUAGE C VOLATILE PARALLEL UNSAFE
AS 'MODULE_PATHNAME';
COMMENT ON FUNCTION @extschema@.idem_revoke(regrole) IS
	'revokes all rights of a role on the extension, except USAGE on the schema of the functions';

------------------------------------------------------------------------------
-- Rights of the installer. This block comes last, because it covers all objects above.
------------------------------------------------------------------------------

-- The extension is trusted. If its installer is not a superuser, the objects belong
-- to the bootstrap superuser. The installer gets the rights below, and may grant
-- them to others.
GRANT USAGE ON SCHEMA idempotency TO @extowner@ WITH GRANT OPTION;
GRANT SELECT ON idempotency.payment, idempotency.movement, idempotency.account_balance, idempotency.account_entry, idempotency.request
	TO @extowner@ WITH GRANT OPTION;
-- Roles that read the views idempotency.stat and idempotency.activity need the right on these functions, too.
GRANT SELECT ON idempotency.stat, idempotency.activity TO @extowner@ WITH GRANT OPTION;
GRANT EXECUTE ON FUNCTION idempotency.stat_counters, idempotency.session_keys, idempotency.worker_run TO @extowner@ WITH GRANT OPTION;
-- Roles that read the view idempotency.account_balance need this right. It shows the
-- balance of every account.
GRANT EXECUTE ON FUNCTION idempotency.entry_balance TO @extowner@ WITH GRANT OPTION;
-- INSERT is for restoring a dump. Nobody gets UPDATE or DELETE.
GRANT SELECT, INSERT ON idempotency.operation, idempotency.hold, idempotency.account, idempotency.entry, idempotency.request_0, idempotency.request_1, idempotency.request_2,
	idempotency.request_purge
	TO @extowner@ WITH GRANT OPTION;
GRANT SELECT, INSERT, UPDATE, DELETE ON idempotency.currency TO @extowner@ WITH GRANT OPTION;

-- PUBLIC gets no right on functions. The installer gets EXECUTE on the functions
-- outside the schema idempotency. The owner of the database gets the rights of the
-- installer on everything (see rights.c).
CREATE FUNCTION idempotency.set_rights(installer regrole)
RETURNS void
LANGUAGE C
AS 'MODULE_PATHNAME', 'idem_set_rights';
-- The role comes from the catalog. @extowner@ in a string would be unsafe: a role's
-- name could end the string, and what follows would run as a superuser.
SELECT idempotency.set_rights(e.extowner)
FROM pg_catalog.pg_extension e WHERE e.extname OPERATOR(pg_catalog.=) 'idempotency';
DROP FUNCTION idempotency.set_rights(regrole);

-- Roles that read the view idempotency.payment need this right.
GRANT EXECUTE ON FUNCTION idempotency.payment_status TO PUBLIC;
