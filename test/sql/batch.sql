-- Many payments in one call: each item is answered by itself.
\getenv srcdir PG_ABS_SRCDIR
\set include :srcdir '/include/error.psql'
\i :include

SELECT payment_id AS p FROM idem_pay('known', 50, reference => 'r') \gset
SELECT item, key, outcome, payment_id = :'p' AS same, status, sqlstate, message, detail FROM idem_pay_batch(
	ARRAY['b-z', 'b-a', 'known', 'b-a', 'b-a', '', NULL, 'bad', 'bad', 'bad', 'yen', 'known', 'no', E'ctl\n', 'idem_cancel:a', 'nan', 'null', 'deep'],
	ARRAY[1, 2, 50, 2.00, 3, 1, 1, -1, 1.001, 5, 100, 51, 1, 1, 1, 'NaN', NULL, 1.5],
	ARRAY[NULL, NULL, NULL, 'USD', NULL, NULL, NULL, NULL, NULL, 'USD', 'JPY', NULL, 'XYZ', NULL, NULL, NULL, NULL, 'JPY'],
	ARRAY[NULL, NULL, 'r', NULL, NULL, NULL, NULL, NULL, NULL, 'ref', NULL, 'r', NULL, NULL, NULL, NULL, NULL, NULL]);
SELECT key, seq, kind, status, amount, currency, reference, replayed FROM
	unnest('{b-z,b-a,bad,yen,no,nan,deep}'::text[]) k, idem_lookup(k);

-- a batch stores what single calls store, and each replays what the other has stored
SELECT count(*) FILTER (WHERE outcome = 'new') AS new FROM idem_pay_batch(
	(SELECT array_agg('many-' || g ORDER BY g) FROM generate_series(1, 300) g),
	(SELECT array_agg(g + 0.5 ORDER BY g) FROM generate_series(1, 300) g),
	(SELECT array_agg(CASE WHEN g % 2 = 0 THEN 'EUR' END ORDER BY g) FROM generate_series(1, 300) g),
	(SELECT array_agg('order ' || g ORDER BY g) FROM generate_series(1, 300) g));
SELECT count(*) FILTER (WHERE replayed) AS replayed FROM generate_series(1, 300) g,
	idem_pay('many-' || g, g + 0.5, CASE WHEN g % 2 = 0 THEN 'EUR' END, reference => 'order ' || g);
SELECT count(DISTINCT payment_id) AS payments, min(o.seq), max(o.seq), min(p.status), max(p.status)
FROM idempotency.operation o JOIN idempotency.payment p USING (scope, payment_id) WHERE o.key LIKE 'many-%';
SELECT outcome, count(*), bool_and(item = g AND key = 'many-' || g) AS in_order FROM idem_pay_batch(
	(SELECT array_agg('many-' || g ORDER BY g) FROM generate_series(1, 600) g),
	(SELECT array_agg(g + 0.5 ORDER BY g) FROM generate_series(1, 600) g),
	(SELECT array_agg(CASE WHEN g % 2 = 0 THEN 'EUR' END ORDER BY g) FROM generate_series(1, 600) g),
	(SELECT array_agg('order ' || g ORDER BY g) FROM generate_series(1, 600) g))
	WITH ORDINALITY AS b(item, key, outcome, payment_id, status, sqlstate, message, detail, g)
GROUP BY outcome ORDER BY outcome;

-- the same key in many scopes: neighbours in the index, which are never confused
SELECT count(*) FROM (SELECT idem_pay('shared', 1, scope => 'tenant-' || g) FROM generate_series(1, 100) g) s;
SELECT b.scope, item, outcome FROM unnest('{"",tenant-50,tenant-50x,tenant-}'::text[]) AS b(scope),
	idem_pay_batch('{sharec,shared,sharee}', '{1,1,1}', scope => b.scope);

-- keys that were cancelled, or that belong to an operation of another kind
SELECT status FROM idem_cancel('batch-cancelled');
SELECT status FROM idem_authorize('batch-held', 10);
SELECT item, outcome, status, sqlstate, detail
FROM idem_pay_batch('{batch-cancelled,batch-held,idem_cancel:batch-held}', '{1,10,10}');

-- empty arrays, and arrays that do not match
SELECT count(*) FROM idem_pay_batch('{}', '{}');
SELECT count(*) FROM idem_pay_batch('{}', '{}', '{}', '{}', '{}', 'scope');
SELECT pg_temp.error($$SELECT idem_pay_batch(NULL, '{}')$$);
SELECT pg_temp.error($$SELECT idem_pay_batch('{a}', NULL)$$);
SELECT pg_temp.error($$SELECT idem_pay_batch('{a,b}', '{1}')$$);
SELECT pg_temp.error($$SELECT idem_pay_batch('{a}', '{1}', '{}')$$);
SELECT pg_temp.error($$SELECT idem_pay_batch('{a}', '{1}', NULL, '{a,b}')$$);
SELECT pg_temp.error($$SELECT idem_pay_batch('{{a,b},{c,d}}', '{1,1,1,1}')$$);
SELECT pg_temp.error($$SELECT idem_pay_batch('{a}', '{1}', scope => E'\n')$$);
SELECT pg_temp.error($$SELECT idem_pay_batch(array_fill('k'::text, ARRAY[100001]), array_fill(1.0, ARRAY[100001]))$$);
-- arrays may begin at an index other than 1
SELECT item, key, outcome FROM idem_pay_batch('[7:8]={lower-7,lower-8}', '[0:1]={1,2}');

-- metadata: text, json and jsonb are taken alike, and so is a literal without a type; null is none, JSON's null is some
SELECT item, outcome FROM idem_pay_batch('{meta-1,meta-2,meta-3,meta-4}', '{1,1,1,1}', metadatas => ARRAY['{"a": [1, "x"]}', NULL, 'null', '"s"']);
SELECT key, metadata, metadata IS NULL AS none FROM unnest('{meta-1,meta-2,meta-3,meta-4}'::text[]) k, idem_lookup(k);
SELECT t, array_agg(outcome ORDER BY item) FROM unnest('{text,varchar,json,jsonb}'::text[]) t,
	LATERAL (SELECT item, outcome FROM idem_pay_batch('{meta-1,meta-2,meta-3,meta-4}', '{1,1,1,1}', NULL, NULL, '{"{\"a\":[1,\"x\"]}",NULL,"null","\"s\""}'::text[]) WHERE t = 'text'
		UNION ALL SELECT item, outcome FROM idem_pay_batch('{meta-1,meta-2,meta-3,meta-4}', '{1,1,1,1}', NULL, NULL, '{"{\"a\":[1,\"x\"]}",NULL,"null","\"s\""}'::varchar[]) WHERE t = 'varchar'
		UNION ALL SELECT item, outcome FROM idem_pay_batch('{meta-1,meta-2,meta-3,meta-4}', '{1,1,1,1}', NULL, NULL, '{"{\"a\":[1,\"x\"]}",NULL,"null","\"s\""}'::json[]) WHERE t = 'json'
		UNION ALL SELECT item, outcome FROM idem_pay_batch('{meta-1,meta-2,meta-3,meta-4}', '{1,1,1,1}', NULL, NULL, '{"{\"a\":[1,\"x\"]}",NULL,"null","\"s\""}'::jsonb[]) WHERE t = 'jsonb') b
GROUP BY t ORDER BY t;
PREPARE untyped AS SELECT item, outcome FROM idem_pay_batch($1, $2, metadatas => $3);
EXECUTE untyped('{meta-4,meta-1}', '{1,1}', '{"\"s\"","{\"a\": [1, \"x\"]}"}');
SELECT parameter_types FROM pg_prepared_statements WHERE name = 'untyped';
DEALLOCATE untyped;
CREATE DOMAIN meta_object AS jsonb CHECK (jsonb_typeof(VALUE) = 'object');
CREATE DOMAIN meta_list AS json[];
SELECT item, outcome FROM idem_pay_batch('{meta-1}', '{1}', metadatas => ARRAY['{"a":[1,"x"]}'::meta_object]);
SELECT item, outcome FROM idem_pay_batch('{meta-1}', '{1}', metadatas => ARRAY['{"a":[1,"x"]}']::meta_list);
DROP DOMAIN meta_object;
DROP DOMAIN meta_list;
-- single calls and batches replay each other's; other metadata is another request, and so is none
SELECT replayed FROM idem_pay('meta-1', 1, metadata => '{"a":[1,"x"]}');
SELECT FROM idem_pay('meta-5', 1, metadata => '{"b": 1.0, "c": 2}');
SELECT item, outcome, sqlstate, detail FROM idem_pay_batch('{meta-5,meta-1,meta-2,meta-3}', '{1,1,1,1}',
	metadatas => ARRAY['{"c": 2, "b": 1}', '{"a": [1]}', '{}', NULL]);
SELECT item, outcome, sqlstate, detail FROM idem_pay_batch('{meta-1,meta-2}', '{1,1}');
-- what is no JSON fails its item, and leaves the others: before, between and after them, and for known keys
SELECT item, key, outcome, sqlstate, message FROM idem_pay_batch(
	ARRAY['no-1', 'no-2', 'no-3', 'no-4', 'no-5', 'no-6', 'no-7', NULL, 'meta-1', 'no-9', 'no-9', 'no-10'],
	ARRAY[1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 0.001],
	metadatas => ARRAY['{"a": ', '1', '', '{}', '{"a": "\u0000"}', '[1] 2', '{"n": 1e200000}', 'x', '{a}', '{', '{"again": 1}', '"y"']);
SELECT key, metadata FROM unnest('{no-1,no-2,no-3,no-4,no-5,no-6,no-7,no-9,no-10}'::text[]) k, idem_lookup(k);
-- nested too deeply to be parsed: also an error of that item only
SET max_stack_depth = '200kB';
SELECT item, outcome, sqlstate FROM idem_pay_batch('{deep-1,deep-2,deep-3}', '{1,1,1}',
	metadatas => ARRAY['1', repeat('[', 100000) || repeat(']', 100000), '3']);
RESET max_stack_depth;
-- a large batch, of which every seventh item is no JSON; and large metadata
SELECT outcome, sqlstate, count(*) FROM idem_pay_batch(
	(SELECT array_agg('sevenths-' || g ORDER BY g) FROM generate_series(1, 700) g),
	(SELECT array_agg(g ORDER BY g) FROM generate_series(1, 700) g),
	metadatas => (SELECT array_agg(CASE WHEN g % 7 = 0 THEN '{' ELSE format('{"g": %s}', g) END ORDER BY g) FROM generate_series(1, 700) g))
GROUP BY outcome, sqlstate ORDER BY outcome;
SELECT count(*), bool_and(metadata ->> 'g' = amount::int::text) AS own FROM idempotency.operation WHERE key LIKE 'sevenths-%';
SELECT item, outcome FROM idem_pay_batch('{wide-1,wide-2}', '{1,2}', metadatas => ARRAY[jsonb_build_object('w', repeat('w', 100000)),
	(SELECT jsonb_object_agg(g, g) FROM generate_series(1, 5000) g)]);
SELECT key, length(metadata::text) FROM unnest('{wide-1,wide-2}'::text[]) k, idem_lookup(k);
SELECT replayed FROM idem_pay('wide-2', 2, metadata => (SELECT json_object_agg(g, g) FROM generate_series(1, 5000) g));
-- a failed item leaves nothing behind in the transaction
BEGIN;
SELECT item, outcome FROM idem_pay_batch('{bad-json}', '{1}', metadatas => '{"["}');
SELECT pg_current_xact_id_if_assigned() IS NULL AS no_transaction_id;
COMMIT;
BEGIN READ ONLY;
SELECT item, outcome, sqlstate FROM idem_pay_batch('{meta-1,bad-json}', '{1,1}', metadatas => ARRAY['{"a": [1, "x"]}', '[']);
COMMIT;
-- other types, and arrays that do not match
SELECT pg_temp.error($$SELECT idem_pay_batch('{a}', '{1}', metadatas => '{1}'::int[])$$);
SELECT pg_temp.error($$SELECT idem_pay_batch('{a}', '{1}', metadatas => ARRAY['1'::bytea])$$);
SELECT pg_temp.error($$SELECT idem_pay_batch('{a}', '{1}', metadatas => '{}'::int[])$$);
SELECT pg_temp.error($$SELECT idem_pay_batch('{a}', '{1}', metadatas => '{1,2}')$$);
SELECT pg_temp.error($$SELECT idem_pay_batch('{a,b}', '{1,1}', metadatas => '{}'::jsonb[])$$);
SELECT pg_temp.error($$SELECT idem_pay_batch('{a,b}', '{1,1}', metadatas => ARRAY[['1','2'],['3','4']])$$);
SELECT left(pg_temp.error($$SELECT idem_pay_batch('{a}', '{1}', metadatas => '{"a": 1}')$$), 5) AS sqlstate;
SELECT left(pg_temp.error($$SELECT idem_pay_batch('{a}', '{1}', metadatas => '[{"a": 1}]'::jsonb)$$), 5) AS sqlstate;
SELECT item, outcome FROM idem_pay_batch('{meta-2}', '{1}', metadatas => NULL::int[]);
SELECT item, outcome FROM idem_pay_batch('{meta-1}', '{1}', metadatas => '[5:5]={"{\"a\": [1, \"x\"]}"}');

-- the settings have the same effect as for a single call
SET idempotency.scope = 'batch scope';
SET idempotency.currency = 'JPY';
SELECT item, outcome, detail FROM idem_pay_batch('{yen,sen}', '{100,0.5}');
SET idempotency.currency = 'nonsense';
SELECT item, outcome, message, detail FROM idem_pay_batch('{from setting,from call}', '{1,1}', '{NULL,XYZ}');
RESET idempotency.scope;
RESET idempotency.currency;
SELECT key, amount, currency FROM idem_lookup('yen', 'batch scope');

-- a read-only transaction answers known keys; for a new key it raises an error
BEGIN READ ONLY;
SELECT item, outcome FROM idem_pay_batch('{b-z,known,b-a}', '{1,50,2}', NULL, '{NULL,r,NULL}');
SAVEPOINT s;
SELECT pg_temp.error($$SELECT idem_pay_batch('{b-z,new-one}', '{1,1}')$$);
COMMIT;
-- a batch of known keys is a replay: no transaction id, and only the locks of a SELECT
BEGIN;
SELECT count(*) FROM idem_pay_batch((SELECT array_agg('many-' || g) FROM generate_series(1, 300, 2) g),
	(SELECT array_agg(g + 0.5) FROM generate_series(1, 300, 2) g), NULL,
	(SELECT array_agg('order ' || g) FROM generate_series(1, 300, 2) g)) WHERE outcome = 'replayed';
SELECT pg_current_xact_id_if_assigned() IS NULL AS no_transaction_id;
SELECT locktype, mode FROM pg_locks WHERE pid = pg_backend_pid() AND locktype NOT IN ('virtualxid') AND mode <> 'AccessShareLock';
COMMIT;
-- a batch with a new key leaves no advisory lock
BEGIN;
SELECT outcome FROM idem_pay_batch('{many-1,batch-new}', '{1.5,1}', NULL, '{order 1,NULL}');
SELECT locktype, mode FROM pg_locks WHERE pid = pg_backend_pid() AND locktype = 'advisory';
ROLLBACK;
SELECT count(*) FROM idem_lookup('batch-new');

-- twice in one statement, twice in one transaction, and after a savepoint
SELECT outcome FROM generate_series(1, 2) g, idem_pay_batch('{twice}', ARRAY[1 + 0 * g]);
BEGIN;
SELECT outcome FROM idem_pay_batch('{own-1,own-2}', '{1,1}');
SAVEPOINT s;
SELECT outcome FROM idem_pay_batch('{own-2,own-3}', '{1,1}');
ROLLBACK TO s;
SELECT outcome FROM idem_pay_batch('{own-1,own-2,own-3}', '{1,1,1}');
COMMIT;

-- an administrator's constraints, indexes and triggers work
CREATE INDEX by_amount ON idempotency.operation (amount) WHERE amount > 10;
CREATE TABLE seen (key text);
CREATE FUNCTION see() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
	INSERT INTO seen VALUES (NEW.key);
	RETURN NULL;
END
$$;
CREATE TRIGGER see AFTER INSERT ON idempotency.operation FOR EACH ROW EXECUTE FUNCTION see();
SELECT count(*) FROM idem_pay_batch((SELECT array_agg('trigger-' || g) FROM generate_series(1, 100) g),
	(SELECT array_agg(g) FROM generate_series(1, 100) g));
SELECT count(*), count(DISTINCT key) FROM seen;
ALTER TABLE idempotency.operation ADD CONSTRAINT no_99 CHECK (amount <> 99.99) NOT VALID;
SELECT key, outcome, sqlstate FROM idem_pay_batch('{check-1,check-2}', '{1,99.99}');
SELECT count(*) FROM idem_lookup('check-1');
ALTER TABLE idempotency.operation DROP CONSTRAINT no_99;
DROP TRIGGER see ON idempotency.operation;
DROP FUNCTION see;
DROP TABLE seen;
DROP INDEX idempotency.by_amount;

-- a trigger may call idem_pay()
CREATE FUNCTION fee() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
	IF NEW.key NOT LIKE 'fee %' THEN
		PERFORM idem_pay('fee ' || NEW.key, 0.10);
	END IF;
	RETURN NULL;
END
$$;
CREATE TRIGGER fee AFTER INSERT ON idempotency.operation FOR EACH ROW EXECUTE FUNCTION fee();
SELECT key, outcome FROM idem_pay_batch('{t-1,t-2}', '{1,2}');
DROP TRIGGER fee ON idempotency.operation;
DROP FUNCTION fee;
SELECT key, amount FROM idempotency.operation WHERE key LIKE '%t-_' ORDER BY key;

SELECT bool_and(ok) FROM idem_check();

-- a batch works with a key that has many deleted rows
BEGIN;
DO $$
BEGIN
	FOR i IN 1 .. 100 LOOP
		PERFORM idem_pay('deleted', 1);
		DELETE FROM idempotency.operation WHERE key = 'deleted';
	END LOOP;
END
$$;
SELECT key, outcome FROM idem_pay_batch('{a-deleted,deleted,z-deleted}', '{1,1,1}');
ROLLBACK;
-- a long key that was written by hand is compressed in the index
BEGIN;
INSERT INTO idempotency.operation (payment_id, created_at, seq, scope, key, kind, amount, currency, authorized, captured, released, refunded, role)
	VALUES ('01900000-0000-7000-8000-000000000002', now(), 1, '', 'm-' || repeat('long', 600), 'pay', 50, 'USD', 50, 50, 0, 0, current_user);
SELECT status FROM idem_pay('m-z', 1);
SELECT key, outcome FROM idem_pay_batch('{m-a,m-lonf,m-lonh,m-z}', '{1,1,1,1}');
ROLLBACK;

-- if an administrator's constraint, index or trigger refuses an item, only that item fails, with its SQLSTATE
ALTER TABLE idempotency.operation ADD CONSTRAINT at_most_1000 CHECK (amount <= 1000) NOT VALID;
SELECT item, outcome, status, sqlstate, message FROM idem_pay_batch(
	ARRAY['cap-1', 'cap-2', 'cap-3', 'cap-2', 'cap-3'], ARRAY[1000, 1001, 3, 1001, 4]);
-- the next item with the same key is tried then
SELECT item, outcome, status, sqlstate FROM idem_pay_batch(ARRAY['cap-4', 'cap-4', 'cap-4', 'cap-4'], ARRAY[1001, 4, 1001, 4]);
ALTER TABLE idempotency.operation DROP CONSTRAINT at_most_1000;
CREATE UNIQUE INDEX one_reference ON idempotency.operation (reference) WHERE key LIKE 'unique-%';
SELECT item, outcome, sqlstate, message, detail FROM idem_pay_batch(ARRAY['unique-1', 'unique-2', 'unique-3'], ARRAY[1, 2, 3],
	NULL, ARRAY['bill 1', 'bill 2', 'bill 1']);
DROP INDEX idempotency.one_reference;
BEGIN;
DELETE FROM idempotency.operation;
ALTER TABLE idempotency.operation ALTER COLUMN reference SET NOT NULL;
SELECT item, outcome, sqlstate, message FROM idem_pay_batch(ARRAY['bill-1', 'bill-2'], ARRAY[1, 2], NULL, ARRAY['bill 1', NULL]);
ROLLBACK;
CREATE FUNCTION no_sevens() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
	IF NEW.amount = 7 THEN
		RAISE EXCEPTION 'no sevens' USING ERRCODE = 'SHOP7', DETAIL = 'They bring bad luck.';
	ELSIF NEW.amount = 8 THEN
		RAISE EXCEPTION 'not now' USING ERRCODE = '40001';
	END IF;
	RETURN NULL;
END
$$;
CREATE TRIGGER no_sevens AFTER INSERT ON idempotency.operation FOR EACH ROW EXECUTE FUNCTION no_sevens();
SELECT item, key, outcome, status, sqlstate, message, detail
FROM idem_pay_batch(ARRAY['seven-1', 'seven-2', 'seven-3'], ARRAY[1, 7, 3]);
SELECT key, amount FROM idempotency.operation WHERE key ~ '^(cap|unique|seven)-' ORDER BY key;
-- a large batch: items that fail in each portion
SELECT outcome, sqlstate, count(*) FROM (SELECT array_agg('large-' || g ORDER BY g) AS keys, array_agg(CASE WHEN g % 50 = 0 THEN 7 ELSE 1 END ORDER BY g) AS amounts
	FROM generate_series(1, 500) g) s, idem_pay_batch(keys, amounts) GROUP BY 1, 2 ORDER BY 1, 2;
SELECT count(*) FROM idempotency.operation WHERE key ~ '^large-';
-- an error that concerns the transaction is raised
\set VERBOSITY sqlstate
SELECT idem_pay_batch(ARRAY['seven-4', 'seven-5'], ARRAY[4, 8]);
\set VERBOSITY default
SELECT count(*) FROM idem_lookup('seven-4');
DROP TRIGGER no_sevens ON idempotency.operation;
DROP FUNCTION no_sevens;
SELECT invariant FROM idem_check() WHERE NOT ok;
