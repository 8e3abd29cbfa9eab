-- idem_execute: one SQL command, run once.
\getenv srcdir PG_ABS_SRCDIR
\set include :srcdir '/include/error.psql'
\i :include

CREATE TABLE job (id int GENERATED ALWAYS AS IDENTITY, name text UNIQUE, at date, n numeric(10,2), tags text[], doc jsonb);
SELECT * FROM idem_execute('x1', 'INSERT INTO job (name, at, n, tags, doc) VALUES ($1, $2, $3, $4, $5) RETURNING *',
	'["first", "2026-01-02", 1.50, "{a,b}", {"k": [1, null]}]');
SELECT * FROM idem_execute('x1', 'INSERT INTO job (name, at, n, tags, doc) VALUES ($1, $2, $3, $4, $5) RETURNING *',
	'["first", "2026-01-02", 1.5, "{a,b}", {"k": [1, null]}]');
SELECT pg_temp.error($$SELECT idem_execute('x1', 'SELECT 1')$$);
SELECT * FROM job;
-- no rows, no parameters, nulls
SELECT * FROM idem_execute('x2', 'UPDATE job SET n = n + 1');
SELECT * FROM idem_execute('x2', 'UPDATE job SET n = n + 1');
SELECT * FROM idem_execute('x3', 'INSERT INTO job (name, doc) VALUES ($1, $2)', '[null, null]');
SELECT id, name, n, doc, doc IS NULL AS doc_is_null FROM job ORDER BY id;
-- an error undoes the command, and leaves the key free
SELECT pg_temp.error($$SELECT idem_execute('x4', 'INSERT INTO job (name) VALUES ($1)', '["first"]')$$);
SELECT * FROM idem_execute('x4', 'INSERT INTO job (name) VALUES ($1) RETURNING name', '["fourth"]');
-- with declines recorded, the error is the answer
SET idempotency.declines = record;
SELECT * FROM idem_execute('x5', 'INSERT INTO job (name) VALUES ($1)', '["first"]');
DELETE FROM job WHERE name = 'first';
SELECT * FROM idem_execute('x5', 'INSERT INTO job (name) VALUES ($1)', '["first"]');
SELECT * FROM idem_execute('x6', 'SELECT count(*) FROM job');
-- an error of the command's surroundings is raised, not recorded
SELECT pg_temp.error($$SELECT idem_execute('x10', 'EXECUTE not_prepared')$$);
SELECT pg_temp.error($$SELECT idem_execute('x10', 'DO ''BEGIN RAISE ''''disk on fire'''' USING ERRCODE = ''''58030''''; END''')$$);
SELECT pg_temp.error($$SELECT idem_execute('x10', 'DO ''BEGIN RAISE ''''not now'''' USING ERRCODE = ''''55006''''; END''')$$);
-- so is an error that goes away when a schema, a role or a plan is made again
SELECT pg_temp.error($$SELECT idem_execute('x10', 'CREATE TABLE no_such_schema.t (i integer)')$$);
SELECT pg_temp.error($$SELECT idem_execute('x10', 'DO ''BEGIN RAISE ''''no such database'''' USING ERRCODE = ''''3D000''''; END''')$$);
SELECT pg_temp.error($$SELECT idem_execute('x10', 'SELECT set_config(''role'', ''regress_idem_no_such_role'', true)')$$);
SELECT pg_temp.error($$SELECT idem_execute('x10', 'DO ''BEGIN RAISE ''''cached plan must not change result type'''' USING ERRCODE = ''''0A000''''; END''')$$);
SELECT pg_temp.error($$SELECT idem_execute('x10', 'DO ''BEGIN RAISE ''''of another system'''' USING ERRCODE = ''''HV000''''; END''')$$);
SELECT pg_temp.error($$SELECT idem_execute('x10', 'SELECT idem_pay(''x10'', 1, ''no currency'')')$$);
CREATE SEQUENCE short_sequence MAXVALUE 2 START 2;
SELECT nextval('short_sequence');
SELECT pg_temp.error($$SELECT idem_execute('x10', 'SELECT nextval(''short_sequence'')')$$);
DROP SEQUENCE short_sequence;
SELECT pg_temp.error($$SELECT idem_execute('x10', 'SELECT convert_from(''\xff'', ''UTF8'')')$$);
SELECT count(*) FROM idem_lookup_request('x10');
-- an error in the data, or one that the command raises itself, is recorded
SELECT sqlstate, message FROM idem_execute('final-1', 'SELECT 1 / $1::integer', '[0]');
SELECT sqlstate, message FROM idem_execute('final-2', 'DO ''BEGIN RAISE ''''too young''''; END''');
SELECT sqlstate, message FROM idem_execute('final-3', 'DO ''BEGIN RAISE ''''sold out'''' USING ERRCODE = ''''SHOP1''''; END''');
SELECT sqlstate, message FROM idem_execute('final-4', 'SELECT idem_pay('''', 1)');
SELECT replayed, sqlstate, message FROM idem_execute('final-3', 'DO ''BEGIN RAISE ''''sold out'''' USING ERRCODE = ''''SHOP1''''; END''');
SELECT * FROM idem_execute('raised', 'SELECT 1 / 0', declines => 'raise');
RESET idempotency.declines;
SELECT * FROM idem_execute('recorded', 'SELECT 1 / 0', declines => 'record');
SELECT * FROM idem_execute('recorded', 'SELECT 1 / 0');
SELECT * FROM idem_execute('raised', 'SELECT 1', declines => 'maybe');
SELECT count(*) FROM idem_lookup_request('raised');
-- commands and arguments that are refused
SELECT pg_temp.error($$SELECT idem_execute('x7', NULL)$$);
SELECT pg_temp.error($$SELECT idem_execute('x7', '')$$);
SELECT pg_temp.error($$SELECT idem_execute('x7', 'SELECT 1; SELECT 2')$$);
SELECT pg_temp.error($$SELECT idem_execute('x7', 'SELECT $1::int', '[1, 2]')$$);
SELECT pg_temp.error($$SELECT idem_execute('x7', 'SELECT $1::int', '{"a": 1}')$$);
SELECT pg_temp.error($$SELECT idem_execute('x7', 'SELECT $1::int', '["one"]')$$);
SELECT pg_temp.error($$SELECT idem_execute('x7', 'COMMIT')$$);
SELECT pg_temp.error($$SELECT idem_execute('x7', 'SELECT idem_execute(''x7'', ''SELECT 1'')')$$);
-- the command may not end its own request
SELECT pg_temp.error($$SELECT idem_execute('x7', 'SELECT idem_release(''x7'')')$$);
SELECT pg_temp.error($$SELECT idem_execute('x7', 'SELECT idem_complete(''x7'', ''1'')')$$);
SET idempotency.declines = record;
SELECT pg_temp.error($$SELECT idem_execute('x7', 'SELECT idem_fail(''x7'', ''1'')')$$);
RESET idempotency.declines;
SELECT count(*) FROM idem_lookup_request('x7');
-- a domain may forbid null, and be JSON
CREATE DOMAIN regress_idem_name AS text NOT NULL;
CREATE DOMAIN regress_idem_named AS text CHECK (VALUE IS NOT NULL);
CREATE DOMAIN regress_idem_doc AS jsonb;
SELECT pg_temp.error($$SELECT idem_execute('d1', 'SELECT $1::regress_idem_name', '[null]')$$);
SELECT pg_temp.error($$SELECT idem_execute('d1', 'SELECT $1::regress_idem_named', '[null]')$$);
SELECT rows FROM idem_execute('d1', 'SELECT $1::regress_idem_doc AS a, $2::regress_idem_doc AS b, $3::regress_idem_doc AS c', '["5", 5, null]');
DROP DOMAIN regress_idem_name, regress_idem_named, regress_idem_doc;
-- the position of a syntax error is one in the command
SELECT idem_execute('d2', 'SELECT 1 AS one, no_such_column');
SELECT idem_execute('d2', 'SELECT 1 +');
-- two columns of the same name
SELECT pg_temp.error($$SELECT idem_execute('d2', 'SELECT 1 AS id, 2 AS n, 3 AS id')$$);
SELECT pg_temp.error($$SELECT idem_execute('d2', 'SELECT 1, 2 WHERE false')$$);
SELECT count(*) FROM idem_lookup_request('d2');
SELECT rows FROM idem_execute('d2', 'SELECT 1 AS id, 2 AS n, 3 AS "ID"');
-- args as an array of SQL, and as its text: elements are texts for their parameters
SELECT rows FROM idem_execute('d4', 'SELECT $1::int AS room, $2::text AS guest, $3::date AS on', ARRAY['8', 'Bob', NULL]);
SELECT replayed FROM idem_execute('d4', 'SELECT $1::int AS room, $2::text AS guest, $3::date AS on', '{"8","Bob",NULL}');
SELECT replayed FROM idem_execute('d4', 'SELECT $1::int AS room, $2::text AS guest, $3::date AS on', ' { 8, Bob, null }');
SELECT pg_temp.error($$SELECT idem_execute('d4', 'SELECT $1::int AS room, $2::text AS guest, $3::date AS on', '["8", "Bob", null]')$$);
SELECT rows FROM idem_execute('d5', 'SELECT $1::int + $2::int AS sum', ARRAY[3, 4]);
SELECT replayed FROM idem_execute('d5', 'SELECT $1::int + $2::int AS sum', ARRAY['3', '4']);
SELECT rows FROM idem_execute('d6', 'SELECT $1::jsonb AS doc, $2::json AS text', '{"{\"a\": [1]}","\"x\""}');
SELECT rows FROM idem_execute('d7', 'SELECT 1 AS none', '{}');
SELECT replayed FROM idem_execute('d7', 'SELECT 1 AS none', '[]');
SELECT replayed FROM idem_execute('d7', 'SELECT 1 AS none');
SELECT replayed FROM idem_execute('d7', 'SELECT 1 AS none', '{}'::text[]);
SELECT pg_temp.error($$SELECT idem_execute('x7', 'SELECT $1::int', '{1,2}')$$);
SELECT pg_temp.error($$SELECT idem_execute('x7', 'SELECT $1::int', '{{1},{2}}')$$);
SELECT left(pg_temp.error($$SELECT idem_execute('x7', 'SELECT $1::int', '{1')$$), 5) AS state;
SELECT pg_temp.error($$SELECT idem_execute('x7', 'SELECT $1::int', '{"a": 1}'::jsonb)$$);
SELECT pg_temp.error($$SELECT idem_execute('x7', 'SELECT $1::int', '{}'::jsonb)$$);
SELECT pg_temp.error($$SELECT idem_execute('x7', 'SELECT $1::int', 5)$$);
SELECT pg_temp.error($$SELECT idem_execute('x7', 'SELECT $1::int', '5'::bytea)$$);
-- numbers as text: bigint and numeric become strings, and so do those in arrays; a replay has what was stored
CREATE DOMAIN regress_idem_cents AS bigint;
SELECT rows FROM idem_execute('d8', $$SELECT 9007199254740993 AS id, 0.10 AS amount, 1::int AS i, 1.5::float8 AS f, ARRAY[1.0, NULL, 2.50] AS amounts,
	'{5}'::bigint[] AS ids, 7::regress_idem_cents AS cents, NULL::bigint AS nothing, true AS yes, 'NaN'::numeric AS nan$$, numbers => 'text');
SELECT rows FROM idem_execute('d9', $$SELECT 9007199254740993 AS id, 0.10 AS amount$$);
SELECT replayed, rows FROM idem_execute('d8', $$SELECT 9007199254740993 AS id, 0.10 AS amount, 1::int AS i, 1.5::float8 AS f, ARRAY[1.0, NULL, 2.50] AS amounts,
	'{5}'::bigint[] AS ids, 7::regress_idem_cents AS cents, NULL::bigint AS nothing, true AS yes, 'NaN'::numeric AS nan$$, numbers => 'text');
SELECT pg_temp.error($$SELECT idem_execute('d9', 'SELECT 9007199254740993 AS id, 0.10 AS amount', numbers => 'text')$$);
SELECT replayed FROM idem_execute('d9', $$SELECT 9007199254740993 AS id, 0.10 AS amount$$, numbers => 'number');
SELECT rows FROM idem_execute('d10', 'INSERT INTO job (name, n) VALUES ($1, $2) RETURNING name, n', '["texts", 1.50]', 'text');
SELECT rows FROM idem_execute('d11', 'UPDATE job SET n = n', numbers => 'text');
DROP DOMAIN regress_idem_cents;
SELECT pg_temp.error($$SELECT idem_execute('x7', 'SELECT 1', numbers => NULL)$$);
SELECT pg_temp.error($$SELECT idem_execute('x7', 'SELECT 1', NULL, NULL, NULL)$$);
SELECT pg_temp.error($$SELECT idem_execute('x7', 'SELECT 1', numbers => 'string')$$);
-- an answer that idem_begin's caller stored is not one of idem_execute
BEGIN;
SELECT outcome FROM idem_begin('d3', '{"command": "SELECT 1", "args": []}');
SELECT idem_complete('d3', '"no rows"');
COMMIT;
SELECT pg_temp.error($$SELECT idem_execute('d3', 'SELECT 1')$$);
-- the command runs with the caller's rights
CREATE ROLE regress_idem_execute;
SELECT idem_grant('regress_idem_execute');
SET ROLE regress_idem_execute;
SELECT pg_temp.error($$SELECT idem_execute('x8', 'DELETE FROM job')$$);
SELECT pg_temp.error($$SELECT idem_execute('x1', 'SELECT 1')$$);
RESET ROLE;
SELECT idem_revoke('regress_idem_execute');
REVOKE ALL ON SCHEMA public FROM regress_idem_execute;
DROP ROLE regress_idem_execute;
DROP TABLE job;
