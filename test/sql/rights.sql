-- Giving and revoking rights: in whose name, and that no caller gains rights by it.
\getenv srcdir PG_ABS_SRCDIR
\set include :srcdir '/include/error.psql'
\i :include
DROP EXTENSION idempotency;
CREATE ROLE regress_idem_installer;
CREATE ROLE regress_idem_owner;
CREATE ROLE regress_idem_later;
CREATE ROLE regress_idem_deputy;
CREATE ROLE regress_idem_app;
CREATE ROLE regress_idem_other;
CREATE ROLE regress_idem_new;
SELECT current_user AS superuser, current_database() AS db \gset
GRANT CREATE ON DATABASE :db TO regress_idem_installer;
ALTER DATABASE :db OWNER TO regress_idem_owner;
SET ROLE regress_idem_installer;
CREATE SCHEMA app;
CREATE EXTENSION idempotency SCHEMA app;
GRANT USAGE ON SCHEMA app TO regress_idem_owner WITH GRANT OPTION;
GRANT USAGE ON SCHEMA app TO regress_idem_deputy, regress_idem_later;
RESET ROLE;
-- the rights of some roles on the extension's objects, and which role gave them
CREATE VIEW granted AS
SELECT acl.grantee::regrole AS role, acl.grantor::regrole AS giver, acl.is_grantable, count(*) AS objects
FROM (SELECT proacl AS acl FROM pg_proc WHERE pronamespace = 'app'::regnamespace
	UNION ALL SELECT relacl FROM pg_class WHERE relnamespace = 'idempotency'::regnamespace
	UNION ALL SELECT nspacl FROM pg_namespace WHERE nspname = 'idempotency') o,
LATERAL aclexplode(o.acl) acl
WHERE acl.grantee::regrole::text IN ('regress_idem_deputy', 'regress_idem_app', 'regress_idem_other')
GROUP BY 1, 2, 3 ORDER BY 1, 2, 3;
GRANT SELECT ON granted TO PUBLIC;
CREATE FUNCTION giver(role regrole) RETURNS text LANGUAGE sql AS
	$$ SELECT CASE role WHEN current_setting('regress.superuser')::regrole THEN 'the superuser' ELSE role::text END $$;
SELECT set_config('regress.superuser', :'superuser', false) = '' AS never;

-- the installer, the owner of the database and a superuser give rights in the superuser's name, and revoke them
SET ROLE regress_idem_installer;
SELECT app.idem_grant('regress_idem_app');
SELECT role, giver(giver), is_grantable, objects FROM granted;
SET ROLE regress_idem_owner;
SELECT app.idem_grant('regress_idem_app', 'auditor');
SELECT app.idem_grant('regress_idem_other', 'maintenance');
SELECT role, giver(giver), is_grantable, objects FROM granted;
RESET ROLE;
SELECT app.idem_grant('regress_idem_app', 'maintenance');
SELECT role, giver(giver), is_grantable, objects FROM granted;
SET ROLE regress_idem_owner;
SELECT app.idem_revoke('regress_idem_app');
SET ROLE regress_idem_installer;
SELECT app.idem_revoke('regress_idem_other');
SELECT role, giver(giver), is_grantable, objects FROM granted;

-- what a role gave by hand, idem_grant() gives in the superuser's name instead
GRANT EXECUTE ON FUNCTION app.idem_purge() TO regress_idem_app;
SELECT role, giver(giver), is_grantable, objects FROM granted;
SELECT app.idem_grant('regress_idem_app', 'maintenance');
SELECT role, giver(giver), is_grantable, objects FROM granted;
SELECT app.idem_revoke('regress_idem_app');

-- a deputy can give only what it has the grant option on, also if a superuser calls its function
GRANT EXECUTE ON FUNCTION app.idem_grant(regrole, text), app.idem_revoke(regrole) TO regress_idem_deputy;
SET ROLE regress_idem_deputy;
SELECT pg_temp.error($$SELECT app.idem_grant('regress_idem_app')$$);
SELECT pg_temp.error($$SELECT app.idem_grant('regress_idem_app', 'maintenance')$$);
SELECT pg_temp.error($$SELECT app.idem_grant('regress_idem_deputy', 'auditor')$$);
RESET ROLE;
CREATE FUNCTION of_deputy() RETURNS void LANGUAGE sql SECURITY DEFINER AS $$ SELECT app.idem_grant('regress_idem_deputy') $$;
ALTER FUNCTION of_deputy() OWNER TO regress_idem_deputy;
SELECT pg_temp.error('SELECT of_deputy()');
DROP FUNCTION of_deputy();
SET ROLE regress_idem_installer;
GRANT EXECUTE ON FUNCTION app.idem_expire(integer), app.idem_purge(), app.idem_stat_reset() TO regress_idem_deputy WITH GRANT OPTION;
SET ROLE regress_idem_deputy;
SELECT app.idem_grant('regress_idem_app', 'maintenance');
SELECT pg_temp.error($$SELECT app.idem_grant('regress_idem_app')$$);
SELECT role, giver(giver), is_grantable, objects FROM granted;
-- a deputy can revoke what idem_grant() gave, but not a grant option that the superuser gave
RESET ROLE;
GRANT EXECUTE ON FUNCTION app.idem_purge() TO regress_idem_other WITH GRANT OPTION;
SET ROLE regress_idem_deputy;
SELECT app.idem_revoke('regress_idem_app');
SELECT replace(pg_temp.error($$SELECT app.idem_revoke('regress_idem_other')$$), :'superuser', 'superuser');
SELECT replace(pg_temp.error($$SELECT app.idem_revoke('regress_idem_installer')$$), :'superuser', 'superuser');
SET ROLE regress_idem_owner;
SELECT replace(pg_temp.error($$SELECT app.idem_revoke('regress_idem_installer')$$), :'superuser', 'superuser');
-- the installer cannot revoke what the deputy gave by hand; the error names the deputy
SET ROLE regress_idem_deputy;
GRANT EXECUTE ON FUNCTION app.idem_purge() TO regress_idem_app;
SET ROLE regress_idem_installer;
SELECT pg_temp.error($$SELECT app.idem_revoke('regress_idem_app')$$);
SELECT pg_temp.error($$SELECT app.idem_revoke('regress_idem_deputy')$$);
-- after an error in another role's name, the caller is the current role again
DO $$
BEGIN
	PERFORM app.idem_revoke('regress_idem_deputy');
EXCEPTION WHEN dependent_objects_still_exist THEN
	RAISE NOTICE '% is still %', session_user = current_user, current_user;
	CREATE TEMP TABLE not_restricted ();
	DROP TABLE not_restricted;
END
$$;
RESET ROLE;
SELECT app.idem_revoke('regress_idem_app');
SELECT app.idem_revoke('regress_idem_deputy');
SELECT app.idem_revoke('regress_idem_other');
SELECT role, giver(giver), is_grantable, objects FROM granted;

-- objects that the installer has added to the extension under our names are not given
SET ROLE regress_idem_installer;
CREATE FUNCTION app.idem_pay(integer) RETURNS integer LANGUAGE sql AS 'SELECT $1';
REVOKE ALL ON FUNCTION app.idem_pay(integer) FROM PUBLIC;
CREATE TABLE app.operation (secret text);
ALTER EXTENSION idempotency ADD FUNCTION app.idem_pay(integer);
ALTER EXTENSION idempotency ADD TABLE app.operation;
RESET ROLE;
SELECT app.idem_grant('regress_idem_app');
SELECT app.idem_grant('regress_idem_app', 'auditor');
SELECT has_function_privilege('regress_idem_app', 'app.idem_pay(integer)', 'EXECUTE') AS function,
	has_table_privilege('regress_idem_app', 'app.operation', 'SELECT') AS "table";
SELECT app.idem_revoke('regress_idem_app');
-- the installer cannot change our objects
SET ROLE regress_idem_installer;
SELECT pg_temp.error('ALTER EXTENSION idempotency DROP FUNCTION app.idem_grant(regrole, text)');
SELECT pg_temp.error('ALTER FUNCTION app.idem_grant(regrole, text) SECURITY DEFINER');
SELECT pg_temp.error('ALTER FUNCTION app.idem_grant(regrole, text) SET search_path = app');
SELECT pg_temp.error('CREATE OR REPLACE FUNCTION app.idem_grant(regrole, text) RETURNS void LANGUAGE sql AS ''''');
SELECT pg_temp.error('DROP FUNCTION app.idem_grant(regrole, text)');
SELECT pg_temp.error('CREATE FUNCTION idempotency.mine() RETURNS void LANGUAGE sql AS ''''');
ALTER EXTENSION idempotency DROP FUNCTION app.idem_pay(integer);
ALTER EXTENSION idempotency DROP TABLE app.operation;
DROP FUNCTION app.idem_pay(integer);
DROP TABLE app.operation;
RESET ROLE;
-- a missing object is an error
BEGIN;
ALTER EXTENSION idempotency DROP FUNCTION app.idem_void(text, uuid, text, anycompatible, text, text, text);
SELECT pg_temp.error($$SELECT app.idem_grant('regress_idem_app')$$);
ROLLBACK;

-- functions and types of the installer's schemas are not used in another role's name
SET ROLE regress_idem_installer;
CREATE SCHEMA trap;
CREATE FUNCTION trap.trap() RETURNS boolean LANGUAGE plpgsql AS $$
BEGIN
	IF current_user <> 'regress_idem_installer' THEN
		RAISE EXCEPTION 'trapped %', current_user;
	END IF;
	RETURN true;
END
$$;
CREATE DOMAIN trap.role AS regrole CHECK (trap.trap());
CREATE DOMAIN trap.text AS pg_catalog.text CHECK (trap.trap());
CREATE FUNCTION trap.texteq(text, text) RETURNS boolean LANGUAGE sql AS 'SELECT trap.trap()';
CREATE OPERATOR trap.= (LEFTARG = text, RIGHTARG = text, FUNCTION = trap.texteq);
SET search_path = trap, app, pg_catalog;
SELECT app.idem_grant('regress_idem_app'::trap.role, 'auditor'::trap.text);
SELECT app.idem_revoke('regress_idem_app'::trap.role);
RESET search_path;
RESET ROLE;
-- an event trigger does not run as a superuser when the installer calls idem_grant()
CREATE FUNCTION watch() RETURNS event_trigger LANGUAGE plpgsql AS $$
BEGIN
	RAISE NOTICE '%, as %: % objects', tg_tag, current_user, (SELECT count(*) FROM pg_event_trigger_ddl_commands());
END
$$;
CREATE EVENT TRIGGER regress_idem_watch ON ddl_command_end EXECUTE FUNCTION watch();
SET ROLE regress_idem_installer;
SELECT app.idem_grant('regress_idem_app', 'maintenance');
CREATE TABLE trap.result AS SELECT app.idem_grant('regress_idem_app', 'maintenance') IS NULL AS nothing;
RESET ROLE;
DROP EVENT TRIGGER regress_idem_watch;
DROP FUNCTION watch();

-- the owner of the database at the time of the installation has the installer's rights, except the INSERT for restoring
SET ROLE regress_idem_owner;
SELECT replayed FROM app.idem_pay('of the owner', 1);
SELECT count(*) FROM idempotency.operation;
SELECT count(*) FROM app.idem_check() WHERE NOT ok;
INSERT INTO idempotency.currency VALUES ('POINTS', 0);
SELECT pg_temp.error('INSERT INTO idempotency.operation SELECT * FROM idempotency.operation');
SELECT pg_temp.error('DELETE FROM idempotency.operation');
GRANT SELECT ON idempotency.operation TO regress_idem_other;
SELECT role, giver(giver), is_grantable, objects FROM granted;
-- a later owner has them, too, while it owns the database, but can give them by idem_grant() only
RESET ROLE;
ALTER DATABASE :db OWNER TO regress_idem_later;
SET ROLE regress_idem_later;
SELECT replayed FROM app.idem_pay('of a later owner', 1);
INSERT INTO idempotency.currency VALUES ('MILES', 0);
GRANT SELECT ON idempotency.operation TO regress_idem_app;
SELECT app.idem_grant('regress_idem_app', 'auditor');
SELECT role, giver(giver), is_grantable, objects FROM granted;
SELECT app.idem_revoke('regress_idem_app');
SELECT pg_temp.error($$SELECT app.idem_revoke('regress_idem_other')$$);
-- a role that may give rights on the functions, but not USAGE on their schema
SELECT pg_temp.error($$SELECT app.idem_grant('regress_idem_new')$$);
RESET ROLE;
ALTER DATABASE :db OWNER TO :superuser;
SET ROLE regress_idem_later;
SELECT pg_temp.error($$SELECT app.idem_lookup('of a later owner')$$);
SELECT pg_temp.error($$SELECT app.idem_grant('regress_idem_later')$$);
-- a superuser can revoke the rights of both owners
RESET ROLE;
SELECT pg_temp.error($$SELECT app.idem_revoke('regress_idem_owner')$$);
SELECT app.idem_revoke('regress_idem_other');
SELECT app.idem_revoke('regress_idem_owner');
SELECT app.idem_revoke('pg_database_owner');
ALTER DATABASE :db OWNER TO regress_idem_owner;
SET ROLE regress_idem_owner;
SELECT pg_temp.error($$SELECT app.idem_lookup('of the owner')$$);
SELECT pg_temp.error($$SELECT app.idem_grant('regress_idem_owner')$$);
SELECT pg_temp.error('SELECT FROM idempotency.currency');
RESET ROLE;
-- a role that gave a right, and can no longer name the object
SET ROLE regress_idem_installer;
GRANT EXECUTE ON FUNCTION app.idem_purge() TO regress_idem_deputy WITH GRANT OPTION;
SET ROLE regress_idem_deputy;
GRANT EXECUTE ON FUNCTION app.idem_purge() TO regress_idem_other;
SET ROLE regress_idem_installer;
REVOKE USAGE ON SCHEMA app FROM regress_idem_deputy;
RESET ROLE;
SELECT app.idem_grant('regress_idem_other', 'maintenance');
SELECT role, giver(giver), is_grantable, objects FROM granted;
SELECT pg_temp.error($$SELECT app.idem_revoke('regress_idem_other')$$);
-- read-only
BEGIN READ ONLY;
SELECT pg_temp.error($$SELECT app.idem_grant('regress_idem_other')$$);
SELECT pg_temp.error($$SELECT app.idem_revoke('regress_idem_other')$$);
COMMIT;

ALTER DATABASE :db OWNER TO :superuser;
DROP VIEW granted;
DROP FUNCTION giver;
DROP EXTENSION idempotency;
DROP OWNED BY regress_idem_installer, regress_idem_owner, regress_idem_later, regress_idem_deputy, regress_idem_app, regress_idem_other, regress_idem_new CASCADE;
DROP ROLE regress_idem_installer, regress_idem_owner, regress_idem_later, regress_idem_deputy, regress_idem_app, regress_idem_other, regress_idem_new;
-- a database in which PUBLIC gets no rights on new functions
BEGIN;
ALTER DEFAULT PRIVILEGES REVOKE EXECUTE ON FUNCTIONS FROM PUBLIC;
CREATE EXTENSION idempotency;
CREATE ROLE regress_idem_auditor;
SELECT idem_grant('regress_idem_auditor', 'auditor');
SET LOCAL ROLE regress_idem_auditor;
SELECT count(status) FROM idempotency.payment;
ROLLBACK;
-- an installer whose name needs quotes
CREATE ROLE "regress_idem Installer";
BEGIN;
GRANT CREATE ON DATABASE :db TO "regress_idem Installer";
SET LOCAL ROLE "regress_idem Installer";
CREATE EXTENSION idempotency;
SELECT replayed FROM idem_pay('of the installer', 1);
ROLLBACK;
DROP ROLE "regress_idem Installer";
CREATE EXTENSION idempotency;
