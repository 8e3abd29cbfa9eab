-- What the install script grants on each of its objects. pg_dump must find the same in pg_init_privs.
DROP EXTENSION idempotency;
CREATE ROLE regress_idem_installer;
CREATE ROLE regress_idem_owner;
SELECT current_user AS superuser, current_database() AS db \gset
\pset format unaligned
CREATE VIEW member AS
SELECT m.object, CASE WHEN m.acl IS NULL THEN '{default}' ELSE coalesce(acl.list, '{}') END AS acl, i.initprivs IS NOT DISTINCT FROM m.acl AS initial
FROM pg_depend d
JOIN pg_extension e ON d.refclassid = 'pg_extension'::regclass AND d.refobjid = e.oid AND e.extname = 'idempotency'
JOIN (SELECT 'pg_proc'::regclass, oid, oid::regprocedure::text, proacl FROM pg_proc
	UNION ALL SELECT 'pg_class'::regclass, oid, oid::regclass::text, relacl FROM pg_class
	-- since PostgreSQL 17 the row types of tables are members, too, and so are arrays
	UNION ALL SELECT 'pg_type'::regclass, oid, oid::regtype::text, typacl FROM pg_type
		WHERE typcategory <> 'A' AND NOT EXISTS (SELECT FROM pg_class c WHERE c.oid = typrelid AND c.relkind <> 'c')
	UNION ALL SELECT 'pg_namespace'::regclass, oid, 'schema ' || nspname, nspacl FROM pg_namespace)
	AS m(catalog, oid, object, acl) ON (d.classid, d.objid, d.deptype) = (m.catalog, m.oid, 'e')
LEFT JOIN pg_init_privs i ON (i.classoid, i.objoid, i.objsubid) = (m.catalog, m.oid, 0),
LATERAL (SELECT array_agg(format('%s=%s by %s', CASE a.grantee WHEN 0 THEN 'PUBLIC' ELSE a.grantee::regrole::text END,
	a.rights, a.grantor::regrole) ORDER BY a.n) AS list
	FROM (SELECT grantee, grantor, min(n) AS n,
		string_agg(privilege_type || CASE WHEN is_grantable THEN '*' ELSE '' END, ' ' ORDER BY n) AS rights
		FROM aclexplode(m.acl) WITH ORDINALITY AS x(grantor, grantee, privilege_type, is_grantable, n)
		WHERE grantee <> grantor
		GROUP BY grantee, grantor) a) acl;

-- a superuser installs, and owns the database
CREATE EXTENSION idempotency;
SELECT object, replace(acl::text, :'superuser', 'superuser') AS acl, initial FROM member ORDER BY object COLLATE "C";
DROP EXTENSION idempotency;

-- neither the installer nor the database's owner is a superuser
GRANT CREATE ON DATABASE :db TO regress_idem_installer;
ALTER DATABASE :db OWNER TO regress_idem_owner;
SET ROLE regress_idem_installer;
CREATE SCHEMA app;
-- another function of the same name makes nothing ambiguous, and gets no rights
CREATE FUNCTION app.idem_pay(integer) RETURNS integer LANGUAGE sql AS 'SELECT $1';
CREATE EXTENSION idempotency SCHEMA app;
RESET ROLE;
SELECT object, replace(acl::text, :'superuser', 'superuser') AS acl, initial FROM member ORDER BY object COLLATE "C";
SELECT proacl FROM pg_proc WHERE oid = 'app.idem_pay(integer)'::regprocedure;

ALTER DATABASE :db OWNER TO :superuser;
DROP EXTENSION idempotency;
DROP SCHEMA app CASCADE;
DROP VIEW member;
REVOKE CREATE ON DATABASE :db FROM regress_idem_installer;
DROP ROLE regress_idem_installer, regress_idem_owner;
CREATE EXTENSION idempotency;
