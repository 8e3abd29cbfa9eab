-- Giving and taking rights: in whose name, and that nobody gets by it what he could not have without it.
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
-- what some roles were granted on the extension's objects, and by whom
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

-- the installer, the owner of the database, a superuser: each gives in the superuser's name, and takes
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

-- what a role gave by hand, it gives by idem_grant in the superuser's name
GRANT EXECUTE ON FUNCTION app.idem_purge() TO regress_idem_app;
SELECT role, giver(giver), is_grantable, objects FROM granted;
SELECT app.idem_grant('regress_idem_app', 'maintenance');
SELECT role, giver(giver), is_grantable, objects FROM granted;
SELECT app.idem_revoke('regress_idem_app');

-- a deputy gives what he holds the grant option on, and no more; whoever calls a function of his
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
GRANT EXECUTE ON FUNCTION app.idem_expire(integer), app.idem_purge() TO regress_idem_deputy WITH GRANT OPTION;
SET ROLE regress_idem_deputy;
SELECT app.idem_grant('regress_idem_app', 'maintenance');
SELECT pg_temp.error($$SELECT app.idem_grant('regress_idem_app')$$);
SELECT role, giver(giver), is_grantable, objects FROM granted;
-- and takes what is given so, but not what is the superuser's own doing
RESET ROLE;
GRANT EXECUTE ON FUNCTION app.idem_purge() TO regress_idem_other WITH GRANT OPTION;
SET ROLE regress_idem_deputy;
SELECT app.idem_revoke('regress_idem_app');
SELECT replace(pg_temp.error($$SELECT app.idem_revoke('regress_idem_other')$$), :'superuser', 'superuser');
SELECT replace(pg_temp.error($$SELECT app.idem_revoke('regress_idem_installer')$$), :'superuser', 'superuser');
SET ROLE regress_idem_owner;
SELECT replace(pg_temp.error($$SELECT app.idem_revoke('regress_idem_installer')$$), :'superuser', 'superuser');
-- of what he gave by hand, he is the giver: others are told so
SET ROLE regress_idem_deputy;
GRANT EXECUTE ON FUNCTION app.idem_purge() TO regress_idem_app;
SET ROLE regress_idem_installer;
SELECT pg_temp.error($$SELECT app.idem_revoke('regress_idem_app')$$);
SELECT pg_temp.error($$SELECT app.idem_revoke('regress_idem_deputy')$$);
-- a failure in another's name leaves the caller who he was
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

-- nothing is given of what the installer has added to the extension, under our names
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
-- nor does he get at ours
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
-- what is missing is missed
BEGIN;
ALTER EXTENSION idempotency DROP FUNCTION app.idem_void(text, uuid, text, jsonb, text);
SELECT pg_temp.error($$SELECT app.idem_grant('regress_idem_app')$$);
ROLLBACK;

-- names in the installer's schemas, and his types, are not looked at in another's name
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
-- event triggers of a superuser do not run with his rights for the installer
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

-- who owns the database when the extension is installed has what the installer has, but for INSERT
SET ROLE regress_idem_owner;
SELECT replayed FROM app.idem_pay('of the owner', 1);
SELECT count(*) FROM idempotency.operation;
SELECT count(*) FROM app.idem_check() WHERE NOT ok;
INSERT INTO idempotency.currency VALUES ('POINTS', 0);
SELECT pg_temp.error('INSERT INTO idempotency.operation SELECT * FROM idempotency.operation');
SELECT pg_temp.error('DELETE FROM idempotency.operation');
GRANT SELECT ON idempotency.operation TO regress_idem_other;
SELECT role, giver(giver), is_grantable, objects FROM granted;
-- who owns it later has that too, as long as he does, but hands it on by idem_grant alone
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
-- who may give rights on the functions, but cannot open their schema
SELECT pg_temp.error($$SELECT app.idem_grant('regress_idem_new')$$);
RESET ROLE;
ALTER DATABASE :db OWNER TO :superuser;
SET ROLE regress_idem_later;
SELECT pg_temp.error($$SELECT app.idem_lookup('of a later owner')$$);
SELECT pg_temp.error($$SELECT app.idem_grant('regress_idem_later')$$);
-- a superuser can take it from both
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
-- a giver that can no longer name what it gave
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
-- where PUBLIC gets no rights on new functions
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
