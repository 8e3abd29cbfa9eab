-- The extension as an object: dropped and created again, altered, installed without superuser rights.

-- DROP and CREATE EXTENSION in a session that has the old tables cached
SELECT replayed FROM idem_pay('extension', 50);
DROP EXTENSION idempotency;
\set VERBOSITY terse
SELECT idem_pay('extension', 50);
\set VERBOSITY default
CREATE EXTENSION idempotency;
SELECT replayed FROM idem_pay('extension', 50);
SELECT replayed FROM idem_pay('extension', 50);

-- DROP and CREATE EXTENSION, rolled back
BEGIN;
DROP EXTENSION idempotency;
CREATE EXTENSION idempotency;
SELECT replayed FROM idem_pay('extension', 60);
ROLLBACK;
SELECT amount, replayed FROM idem_pay('extension', 50);

-- the user chooses the schema of the functions; the schema of the data is fixed
BEGIN;
DROP EXTENSION idempotency;
CREATE SCHEMA billing;
CREATE EXTENSION idempotency SCHEMA billing;
SELECT amount, replayed FROM billing.idem_pay('elsewhere', 50);
SELECT amount FROM billing.idem_lookup('elsewhere');
ALTER EXTENSION idempotency SET SCHEMA public;
ROLLBACK;

-- no language but C and SQL is needed
BEGIN;
DROP EXTENSION idempotency;
DROP EXTENSION plpgsql;
CREATE EXTENSION idempotency;
SELECT replayed FROM idem_pay('without plpgsql', 50);
ROLLBACK;

-- rebuilt and renamed indexes are used; a missing index is an error
REINDEX TABLE idempotency.operation;
SELECT replayed FROM idem_pay('extension', 50);
REINDEX TABLE CONCURRENTLY idempotency.operation;
SELECT replayed FROM idem_pay('extension', 50);
SELECT replayed FROM idem_pay('after-reindex', 50);
VACUUM FULL idempotency.operation;
SELECT replayed FROM idem_pay('after-reindex', 50);
BEGIN;
ALTER TABLE idempotency.operation DROP CONSTRAINT operation_key_scope_key;
SELECT replayed FROM idem_pay('extension', 50);
ROLLBACK;
SELECT replayed FROM idem_pay('extension', 50);
BEGIN;
ALTER TABLE idempotency.operation DROP CONSTRAINT operation_key_scope_key;
CREATE UNIQUE INDEX another_name ON idempotency.operation (key, scope) INCLUDE (amount);
SELECT replayed FROM idem_pay('extension', 50);
SELECT replayed FROM idem_pay('another-index', 50);
SELECT replayed FROM idem_pay('another-index', 50);
ROLLBACK;
-- a partial index and an index on an expression do not keep keys unique
BEGIN;
ALTER TABLE idempotency.operation DROP CONSTRAINT operation_key_scope_key;
CREATE UNIQUE INDEX partial ON idempotency.operation (key, scope) WHERE amount > 0;
SELECT replayed FROM idem_pay('extension', 50);
ROLLBACK;
BEGIN;
ALTER TABLE idempotency.operation DROP CONSTRAINT operation_key_scope_key;
CREATE UNIQUE INDEX by_upper ON idempotency.operation (scope, upper(key));
SELECT replayed FROM idem_pay('extension', 50);
ROLLBACK;

-- an administrator's indexes, constraints and AFTER ROW triggers work
CREATE INDEX by_reference ON idempotency.operation (lower(reference)) WHERE reference IS NOT NULL;
SELECT replayed FROM idem_pay('indexed', 50, reference => 'Order 77');
SET enable_seqscan = off;
SET enable_bitmapscan = off;
EXPLAIN (COSTS OFF) SELECT key FROM idempotency.operation WHERE lower(reference) = 'order 77';
SELECT key FROM idempotency.operation WHERE lower(reference) = 'order 77';
RESET enable_seqscan;
RESET enable_bitmapscan;
DROP INDEX idempotency.by_reference;
ALTER TABLE idempotency.operation ADD CONSTRAINT at_most_1000 CHECK (amount <= 1000) NOT VALID;
\set VERBOSITY terse
SELECT replayed FROM idem_pay('over-1000', 1001);
\set VERBOSITY default
SELECT replayed FROM idem_pay('at-1000', 1000);
ALTER TABLE idempotency.operation DROP CONSTRAINT at_most_1000;
CREATE TABLE outbox (key text, amount numeric, seen bigint);
CREATE FUNCTION to_outbox() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
	INSERT INTO outbox SELECT NEW.key, NEW.amount, count(*) FROM idempotency.operation WHERE key = NEW.key;
	RETURN NULL;
END
$$;
CREATE TRIGGER to_outbox AFTER INSERT ON idempotency.operation FOR EACH ROW EXECUTE FUNCTION to_outbox();
SELECT replayed FROM idem_pay('outbox', 50);
SELECT replayed FROM idem_pay('outbox', 50);
SELECT count(*) FROM (SELECT idem_pay('outbox-' || g % 2, 50) FROM generate_series(1, 4) g) s;
SELECT * FROM outbox ORDER BY key;
DROP TRIGGER to_outbox ON idempotency.operation;
CREATE TRIGGER to_outbox BEFORE INSERT ON idempotency.operation FOR EACH ROW EXECUTE FUNCTION to_outbox();
SELECT replayed FROM idem_pay('before', 50);
DROP TRIGGER to_outbox ON idempotency.operation;
CREATE TRIGGER to_outbox AFTER INSERT ON idempotency.operation FOR EACH STATEMENT EXECUTE FUNCTION to_outbox();
SELECT replayed FROM idem_pay('statement', 50);
DROP TRIGGER to_outbox ON idempotency.operation;
CREATE TRIGGER to_outbox AFTER INSERT ON idempotency.operation REFERENCING NEW TABLE AS rows
	FOR EACH ROW EXECUTE FUNCTION to_outbox();
SELECT replayed FROM idem_pay('transition', 50);
DROP TRIGGER to_outbox ON idempotency.operation;
DROP FUNCTION to_outbox;
DROP TABLE outbox;

-- a column must not be added
BEGIN;
ALTER TABLE idempotency.operation ADD COLUMN more text;
SELECT replayed FROM idem_pay('extension', 50);
ROLLBACK;
-- a column that was added and dropped again does no harm
BEGIN;
ALTER TABLE idempotency.operation ADD COLUMN more text NOT NULL DEFAULT 'x';
ALTER TABLE idempotency.operation DROP COLUMN more;
SELECT replayed FROM idem_pay('extension', 50);
SELECT replayed FROM idem_pay('more', 50);
SELECT outcome FROM idem_pay_batch(ARRAY['more', 'still more'], ARRAY[50, 50]);
SELECT status, refunded FROM idem_cancel('more');
SELECT key, message FROM idempotency.operation WHERE key ~ 'more' ORDER BY key;
ROLLBACK;
BEGIN;
ALTER EXTENSION idempotency DROP VIEW idempotency.payment;
ALTER EXTENSION idempotency DROP VIEW idempotency.movement;
DROP VIEW idempotency.payment, idempotency.movement;
ALTER TABLE idempotency.operation ALTER COLUMN amount TYPE double precision;
SELECT replayed FROM idem_pay('extension', 50);
ROLLBACK;
SELECT replayed FROM idem_pay('extension', 50);

BEGIN;
ALTER TABLE idempotency.operation ALTER COLUMN amount DROP NOT NULL;
SELECT replayed FROM idem_pay('extension', 50);
ROLLBACK;
BEGIN;
ALTER TABLE idempotency.operation DROP CONSTRAINT operation_key_scope_key;
CREATE UNIQUE INDEX other_collation ON idempotency.operation (key COLLATE "POSIX", scope);
SELECT replayed FROM idem_pay('extension', 50);
ROLLBACK;
BEGIN;
ALTER TABLE idempotency.operation DROP CONSTRAINT operation_key_scope_key;
CREATE UNIQUE INDEX descending ON idempotency.operation (key DESC, scope);
SELECT replayed FROM idem_pay('extension', 50);
ROLLBACK;
BEGIN;
ALTER EXTENSION idempotency DROP VIEW idempotency.payment;
ALTER EXTENSION idempotency DROP VIEW idempotency.movement;
DROP VIEW idempotency.payment, idempotency.movement;
ALTER TABLE idempotency.operation ALTER COLUMN amount TYPE numeric(12, 2);
SELECT replayed FROM idem_pay('extension', 50);
ROLLBACK;
-- an unlogged table, one with a rule, and a partition are refused
BEGIN;
ALTER TABLE idempotency.operation SET UNLOGGED;
SELECT replayed FROM idem_pay('extension', 50);
ROLLBACK;
BEGIN;
CREATE RULE ignored AS ON INSERT TO idempotency.operation DO INSTEAD NOTHING;
SAVEPOINT refused;
SELECT replayed FROM idem_pay('extension', 50);
ROLLBACK TO refused;
DROP RULE ignored ON idempotency.operation;
SELECT replayed FROM idem_pay('extension', 50);
ROLLBACK;
BEGIN;
CREATE TABLE parent (LIKE idempotency.operation) PARTITION BY LIST (scope);
ALTER TABLE parent ATTACH PARTITION idempotency.operation FOR VALUES IN ('');
SELECT replayed FROM idem_pay('extension', 50);
ROLLBACK;
-- a table that Citus has distributed is refused: it is empty, and listed in pg_dist_partition
BEGIN;
SET LOCAL allow_system_table_mods = on;
CREATE TABLE pg_catalog.pg_dist_partition (logicalrelid regclass, partmethod "char");
INSERT INTO pg_dist_partition VALUES ('pg_class', 'h');
ALTER TABLE idempotency.operation SET (fillfactor = 100);	-- as whatever changes it does, it makes all sessions look again
SAVEPOINT s;
SELECT replayed FROM idem_pay('extension', 50);
INSERT INTO pg_dist_partition VALUES ('idempotency.operation', 'h');
ALTER TABLE idempotency.operation SET (fillfactor = 100);
SELECT replayed FROM idem_pay('extension', 50);
ROLLBACK TO s;
SELECT outcome FROM idem_begin('distributed', lease => '1 second');
INSERT INTO pg_dist_partition VALUES ('idempotency.request_1', 'h');
ALTER TABLE idempotency.request_1 SET (fillfactor = 100);
SELECT outcome FROM idem_begin('distributed', lease => '1 second');
ROLLBACK;
-- a pg_dist_partition in another schema is not that of Citus
BEGIN;
CREATE TABLE pg_dist_partition (logicalrelid regclass);
INSERT INTO pg_dist_partition VALUES ('idempotency.operation');
ALTER TABLE idempotency.operation SET (fillfactor = 100);
SELECT replayed FROM idem_pay('extension', 50);
ROLLBACK;
-- the schema must have its name
BEGIN;
ALTER SCHEMA idempotency RENAME TO renamed;
SELECT replayed FROM idem_pay('extension', 50);
ROLLBACK;
SELECT replayed FROM idem_pay('extension', 50);

-- settings
SHOW idempotency.scope;
SHOW idempotency.currency;
SHOW idempotency.in_flight;
SET idempotency.in_flight = 'maybe';
SET idempotency.unknown = 'x';

-- a trusted extension: a role with CREATE on the database installs it, grants rights and revokes them
DROP EXTENSION idempotency;
CREATE ROLE regress_idem_owner;
CREATE ROLE regress_idem_app;
CREATE ROLE regress_idem_deputy;
SELECT format('GRANT CREATE ON DATABASE %I TO regress_idem_owner', current_database()) \gexec
SET ROLE regress_idem_owner;
CREATE SCHEMA app;
CREATE EXTENSION idempotency SCHEMA app;
SELECT app.idem_grant('regress_idem_app');
SELECT app.idem_grant('regress_idem_deputy');
SET ROLE regress_idem_app;
SELECT amount, replayed FROM app.idem_pay('trusted', 50);
SET ROLE regress_idem_owner;
SELECT key, amount, role FROM idempotency.operation;
SELECT * FROM app.idem_lookup('trusted');
INSERT INTO idempotency.currency VALUES ('POINTS', 0);
UPDATE idempotency.operation SET amount = 1;
DELETE FROM idempotency.operation;
TRUNCATE idempotency.operation;
GRANT SELECT ON idempotency.operation TO regress_idem_app;
SELECT app.idem_revoke('regress_idem_app');
SET ROLE regress_idem_app;
SELECT * FROM app.idem_lookup('trusted');
-- EXECUTE on idem_grant() is not enough: the caller also needs the grant options
SET ROLE regress_idem_owner;
GRANT EXECUTE ON FUNCTION app.idem_grant(regrole, text) TO regress_idem_deputy;
SET ROLE regress_idem_deputy;
SELECT app.idem_grant('regress_idem_app');
-- a superuser can revoke what the installer gave, and the installer what the superuser gave
RESET ROLE;
SELECT app.idem_grant('regress_idem_app');
SET SESSION AUTHORIZATION regress_idem_owner;
SELECT app.idem_revoke('regress_idem_app');
SELECT app.idem_grant('regress_idem_app');
RESET SESSION AUTHORIZATION;
SELECT app.idem_revoke('regress_idem_app');
SELECT app.idem_revoke('regress_idem_deputy');
REVOKE ALL ON FUNCTION app.idem_grant(regrole, text) FROM regress_idem_deputy;
SET ROLE regress_idem_deputy;
SELECT * FROM app.idem_lookup('trusted');
RESET ROLE;
DROP EXTENSION idempotency;
DROP SCHEMA app;
SELECT format('REVOKE CREATE ON DATABASE %I FROM regress_idem_owner', current_database()) \gexec
DROP ROLE regress_idem_owner, regress_idem_app, regress_idem_deputy;

-- every object of the extension has a comment
CREATE EXTENSION idempotency;
SELECT pg_describe_object(classid, objid, 0) AS without_comment FROM pg_depend
WHERE refclassid = 'pg_extension'::regclass AND deptype = 'e'
	AND refobjid = (SELECT oid FROM pg_extension WHERE extname = 'idempotency')
	AND obj_description(objid, classid::regclass::name) IS NULL
	-- a table's comment is its row type's too, and arrays have none
	AND NOT (classid = 'pg_type'::regclass AND NOT EXISTS (SELECT FROM pg_type t JOIN pg_class c ON c.oid = t.typrelid
		WHERE t.oid = objid AND c.relkind = 'c'));
SELECT attrelid::regclass, attname AS without_comment FROM pg_attribute
WHERE attrelid IN ('idempotency.operation'::regclass, 'idempotency.currency'::regclass, (SELECT typrelid FROM pg_type WHERE typname = 'idem_receipt'))
	AND attnum > 0 AND NOT attisdropped AND col_description(attrelid, attnum) IS NULL;
