-- Posts: several entries that add up to zero, all or nothing, once per key.
\getenv srcdir PG_ABS_SRCDIR
\set include :srcdir '/include/error.psql'
\i :include
\pset format unaligned
\pset tuples_only on
SET idempotency.scope = 'post';

-- what an account has available, and how many entries
CREATE FUNCTION pg_temp.has(VARIADIC accounts text[]) RETURNS text LANGUAGE sql AS $$
	SELECT string_agg(format('%s %s (%s)', a, b.available, b.entries), ', ' ORDER BY n)
	FROM unnest(accounts) WITH ORDINALITY x (a, n), idem_balance(a) b
$$;
-- a receipt, with its legs
CREATE FUNCTION pg_temp.show(r idem_receipt) RETURNS text LANGUAGE sql AS $$
	SELECT concat_ws(' ', r.seq, r.kind, r.status, r.amount, r.currency, r.legs, r.sqlstate || ' ' || r.message,
		CASE WHEN r.replayed THEN '(replayed)' END)
$$;

SELECT string_agg(a.name, ', ') FROM (VALUES ('world', 'USD', NULL, NULL), ('alice', 'USD', 0, NULL), ('bob', 'USD', 0, 50), ('shop', 'USD', NULL, NULL),
	('fees', 'USD', NULL, NULL), ('euro', 'EUR', NULL, NULL), ('euro shop', 'EUR', NULL, NULL), ('yen', 'JPY', NULL, NULL)) x (n, c, f, m), idem_account_open(n, c, f, m) a;

-- several legs in one currency: the receipt has it, and what the accounts get
SELECT pg_temp.show(p) FROM idem_post('fund', ARRAY[('world', -150), ('alice', 100), ('bob', 50)]::idem_entry[]) p;
SELECT pg_temp.show(p) FROM idem_post('sale', '{"(alice,-10)","(shop,9.7)","(fees,0.30)"}', 'order 7', '{"n": 1}') p;
SELECT kind, status, authorized, captured, refunded, capturable, refundable, from_account, to_account, from_seq, to_seq, reference, metadata, expires_at
FROM idem_lookup('sale');
SELECT pg_temp.has('world', 'alice', 'bob', 'shop', 'fees');
-- the entries belong to the post, and have the decimals of their currency
SELECT a.name, e.seq, e.amount, e.held, e.operation, e.payment_id = l.payment_id AS of_the_post, e.created_at >= l.created_at AS later
FROM idempotency.entry e JOIN idempotency.account a ON a.id = e.account, idem_lookup('sale') l
WHERE a.scope = 'post' AND e.payment_id = l.payment_id ORDER BY e.amount;

-- several currencies: each adds up to zero, and the receipt has none of them
SELECT pg_temp.show(p) FROM idem_post('exchange', ARRAY[('alice', -11), ('world', 11), ('euro', -10), ('euro shop', 10.00)]::idem_entry[]) p;
SELECT pg_temp.has('alice', 'euro', 'euro shop');

-- a replay: the same entries, in any order and however their amounts are written
SELECT pg_temp.show(p) FROM idem_post('sale', '{"(alice,-10)","(shop,9.7)","(fees,0.30)"}', 'order 7', '{"n": 1}') p;
SELECT pg_temp.show(p) FROM idem_post('sale', '{"(fees,0.3)","(shop,9.70000)","(alice,-10.00)"}', 'order 7', '{"n": 1.0}') p;
SELECT pg_temp.show(p) FROM idem_post('exchange', ARRAY[('euro', -10), ('euro shop', 10.00), ('world', 11), ('alice', -11)]::idem_entry[]) p;
SELECT pg_temp.has('alice', 'bob', 'shop', 'fees', 'euro', 'euro shop');
-- a replay looks at no account and at no currency
BEGIN;
SELECT closed FROM idem_account_change('shop', closed => true);
DELETE FROM idempotency.account WHERE scope = 'post' AND name = 'fees';
SELECT pg_temp.show(p) FROM idem_post('sale', '{"(alice,-10)","(shop,9.7)","(fees,0.30)"}', 'order 7', '{"n": 1}') p;
ROLLBACK;
-- in a read-only transaction
BEGIN READ ONLY;
SELECT replayed FROM idem_post('sale', '{"(alice,-10)","(shop,9.7)","(fees,0.30)"}', 'order 7', '{"n": 1}');
SELECT pg_temp.error($$SELECT idem_post('read only', '{"(alice,-10)","(shop,10)"}')$$);
ROLLBACK;
-- a request that differs
SELECT pg_temp.error($$SELECT idem_post('sale', '{"(alice,-10)","(shop,9.71)","(fees,0.29)"}', 'order 7', '{"n": 1}')$$);
SELECT pg_temp.error($$SELECT idem_post('sale', '{"(bob,-10)","(shop,9.7)","(fees,0.30)"}', 'order 7', '{"n": 1}')$$);
SELECT pg_temp.error($$SELECT idem_post('sale', '{"(alice,-10)","(shop,10)"}', 'order 7', '{"n": 1}')$$);
SELECT pg_temp.error($$SELECT idem_post('sale', '{"(alice,-10)","(shop,9.7)","(fees,0.25)","(bob,0.05)"}', 'order 7', '{"n": 1}')$$);
SELECT pg_temp.error($$SELECT idem_post('sale', '{"(alice,-10)","(shop,9.7)","(fees,0.30)"}', 'order 8', '{"n": 1}')$$);
SELECT pg_temp.error($$SELECT idem_post('sale', '{"(alice,-10)","(shop,9.7)","(fees,0.30)"}', 'order 7', '{"n": 2}')$$);
SELECT pg_temp.error($$SELECT idem_pay('sale', 10, 'USD', 'alice', 'shop')$$);
SELECT count(*) FROM idem_pay('pay', 10, 'USD', 'alice', 'shop');
SELECT pg_temp.error($$SELECT idem_post('pay', '{"(alice,-10)","(shop,10)"}')$$);
-- the key belongs to its scope
SELECT pg_temp.error($$SELECT idem_post('sale', '{"(alice,-10)","(shop,10)"}', scope => 'another')$$);

-- Nothing goes on with a post. Another post undoes it.
SELECT payment_id AS p FROM idem_lookup('sale') \gset
SELECT pg_temp.error($$SELECT idem_cancel('sale')$$);
SELECT pg_temp.error(format('SELECT idem_refund(''r'', %L)', :'p'));
SELECT pg_temp.error(format('SELECT idem_capture(''c'', %L, currency => ''EUR'', declines => ''record'')', :'p'));
SELECT pg_temp.error(format('SELECT idem_void(''v'', %L)', :'p'));
SELECT pg_temp.error(format('SELECT idem_increase(''i'', %L, 5)', :'p'));
SELECT outcome, sqlstate, message, detail FROM idem_refund_batch(ARRAY['r'], ARRAY[:'p'::uuid], ARRAY[1], declines => 'record');
SELECT count(*) FROM unnest('{r,c,v,i}'::text[]) k, idem_lookup(k);
SELECT pg_temp.show(p) FROM idem_post('sale back', '{"(alice,10)","(shop,-9.7)","(fees,-0.30)"}') p;
SELECT pg_temp.has('alice', 'shop', 'fees');
-- a key that is cancelled unused makes no post
SELECT kind, status FROM idem_cancel('lost');
SELECT pg_temp.show(p) FROM idem_post('lost', '{"(alice,-10)","(shop,10)"}') p;

-- The functions that show payments show it. It is not in the views, which show what payments hold and take.
SELECT pg_temp.show(p) FROM idem_payment(:'p') p;
SELECT pg_temp.show(h) FROM idem_history(:'p') h;
SELECT string_agg(key, ', ' ORDER BY payment_id) FROM idem_payments();
SELECT pg_temp.error($$SELECT idem_payment(gen_random_uuid())$$) LIKE 'ID404%';
SELECT key FROM idempotency.payment WHERE scope = 'post';
SELECT key, moved FROM idempotency.movement WHERE scope = 'post';

-- Bad input: a clear error, and nothing is left.
CREATE TEMP TABLE before AS SELECT (SELECT count(*) FROM idempotency.operation) AS operations, (SELECT count(*) FROM idempotency.entry) AS entries;
SELECT pg_temp.error($$SELECT idem_post('bad', NULL)$$);
SELECT pg_temp.error($$SELECT idem_post('bad', '{}')$$);
SELECT pg_temp.error($$SELECT idem_post('bad', '{"(alice,-10)"}')$$);
SELECT pg_temp.error($$SELECT idem_post('bad', '{{"(alice,-10)"},{"(shop,10)"}}')$$);
SELECT pg_temp.error($$SELECT idem_post('bad', '{"(alice,-10)",NULL}')$$);
SELECT pg_temp.error($$SELECT idem_post('bad', '{"(alice,-10)","(,10)"}')$$);
SELECT pg_temp.error($$SELECT idem_post('bad', '{"(alice,-10)","(\"\",10)"}')$$);
SELECT pg_temp.error(format($$SELECT idem_post('bad', ARRAY[('alice', -10), (%L, 10)]::idem_entry[])$$, repeat('a', 256)));
SELECT pg_temp.error($$SELECT idem_post('bad', ARRAY[('alice', -10), (E'a\tb', 10)]::idem_entry[])$$);
SELECT pg_temp.error($$SELECT idem_post('bad', '{"(alice,)","(shop,10)"}')$$);
SELECT pg_temp.error($$SELECT idem_post('bad', '{"(alice,-10)","(shop,10)","(fees,0)"}')$$);
SELECT pg_temp.error($$SELECT idem_post('bad', '{"(alice,NaN)","(shop,10)"}')$$);
SELECT pg_temp.error($$SELECT idem_post('bad', '{"(alice,-Infinity)","(shop,Infinity)"}')$$);
SELECT pg_temp.error($$SELECT idem_post('bad', '{"(world,-1000000000000000000)","(shop,1000000000000000000)"}')$$);
SELECT pg_temp.error($$SELECT idem_post('bad', '{"(world,-999999999999999999)","(fees,-999999999999999999)","(shop,999999999999999999)","(alice,999999999999999999)"}')$$);
SELECT pg_temp.error($$SELECT idem_post('bad', '{"(alice,-10)","(shop,20)","(alice,-10)"}')$$);
SELECT pg_temp.error($$SELECT idem_post('bad', '{"(alice,-10.001)","(shop,10.001)"}')$$);
SELECT pg_temp.error($$SELECT idem_post('bad', '{"(yen,-1.5)","(shop,1.5)"}')$$);
SELECT pg_temp.error($$SELECT idem_post('bad', '{"(alice,-10)","(shop,9.99)"}')$$);
SELECT pg_temp.error($$SELECT idem_post('bad', '{"(alice,-10)","(euro,10)"}')$$);
SELECT pg_temp.error($$SELECT idem_post('bad', '{"(alice,-10)","(shop,10)","(euro,1)","(yen,-5)"}')$$);
SELECT pg_temp.error($$SELECT idem_post('bad', '{"(alice,-10)","(nobody,10)"}', declines => 'record')$$);
SELECT pg_temp.error($$SELECT idem_post('bad', array_agg((n::text, 1)::idem_entry)) FROM generate_series(1, 257) n$$);
SELECT pg_temp.error($$SELECT idem_post(NULL, '{"(alice,-10)","(shop,10)"}')$$);
SELECT pg_temp.error($$SELECT idem_post('bad', '{"(alice,-10)","(shop,10)"}', metadata => '{')$$);
SELECT pg_temp.error($$SELECT idem_post('bad', '{"(alice,-10)","(shop,10)"}', declines => 'maybe')$$);
-- other types of the entries: what is another type is no match, and a domain is read
SELECT left(pg_temp.error($$SELECT idem_post('bad', ARRAY[('alice', -10.0::float8), ('shop', 10)])$$), 5);
CREATE DOMAIN pg_temp.some_entries AS idem_entry[] CHECK (cardinality(VALUE) > 1);
CREATE DOMAIN pg_temp.giving AS idem_entry CHECK ((VALUE).amount > 0);
SELECT pg_temp.show(p) FROM idem_post('domain', '{"(alice,-1)","(shop,1)"}'::pg_temp.some_entries) p;
SELECT pg_temp.error($$SELECT idem_post('bad', ARRAY[ROW('shop', 10), ROW('fees', 5)]::pg_temp.giving[])$$);
SELECT pg_temp.error($$SELECT idem_post('bad', ARRAY[ROW('shop', 10), ROW('fees', -10)]::pg_temp.giving[])$$);
-- entries that are kept in a table, compressed
CREATE TEMP TABLE kept AS SELECT ARRAY[ROW('alice', ('-1.' || repeat('0', 9000))::numeric), ROW('shop', 1)]::idem_entry[] AS entries;
SELECT pg_temp.show(p) FROM kept, idem_post('kept', entries) p;
SELECT replayed FROM kept, idem_post('kept', entries);
BEGIN;
ALTER TYPE idem_entry ADD ATTRIBUTE note text;
SELECT pg_temp.error($$SELECT idem_post('bad', '{"(alice,-10,)","(shop,10,)"}')$$);
ROLLBACK;
-- two posts were made since
SELECT (SELECT count(*) FROM idempotency.operation) - operations, (SELECT count(*) FROM idempotency.entry) - entries FROM before;

-- As many entries as there can be
SELECT count(*) FROM generate_series(1, 255) n, idem_account_open('many ' || n, 'USD', 0);
SELECT amount, currency, jsonb_array_length(legs) AS legs, legs -> 0 AS first, legs -> -1 AS last, replayed
FROM idem_post('many', (SELECT array_agg(('many ' || n, n)::idem_entry) || ('world', -255 * 128)::idem_entry FROM generate_series(1, 255) n));
SELECT amount, replayed
FROM idem_post('many', (SELECT ('world', -255 * 128)::idem_entry || array_agg(('many ' || n, n)::idem_entry) FROM generate_series(1, 255) n));
SELECT amount FROM idem_post('many back', (SELECT array_agg(('many ' || n, -n)::idem_entry ORDER BY n % 7) || ('world', 255 * 128)::idem_entry FROM generate_series(1, 255) n));
SELECT pg_temp.has('many 1', 'many 255');

-- Closed accounts, limits: all or nothing
SELECT pg_temp.has('alice', 'bob', 'shop', 'fees');
SELECT pg_temp.error($$SELECT idem_post('short', '{"(alice,-10)","(bob,-50.01)","(shop,60.01)"}')$$);
SELECT pg_temp.error($$SELECT idem_post('full', '{"(world,-1)","(shop,0.99)","(bob,0.01)"}')$$);
SELECT closed FROM idem_account_change('fees', closed => true);
SELECT pg_temp.error($$SELECT idem_post('closed', '{"(alice,-10)","(shop,9)","(fees,1)"}')$$);
-- of several entries that are refused, the first one is reported; closed accounts come before limits
SELECT split_part(pg_temp.error(format('SELECT idem_post(''first'', %L)', entries)), E'\n', 2)
FROM unnest(ARRAY['{"(alice,-1000)","(bob,998)","(shop,2)"}', '{"(bob,998)","(alice,-1000)","(shop,2)"}', '{"(shop,2)","(bob,998)","(alice,-1000)"}',
	'{"(bob,998)","(fees,2)","(alice,-1000)"}', '{"(fees,2)","(alice,-1000)","(bob,998)"}']) entries;
SELECT count(*), count(*) FILTER (WHERE error LIKE format('ID402%%The request takes 1.00 USD from account "many %s",%%', first)) AS named
FROM generate_series(1, 50) first, LATERAL (SELECT pg_temp.error(format('SELECT idem_post(''first'', %L)',
	('world', 50)::idem_entry || array_agg(('many ' || 1 + (first + n - 1) % 50, -1)::idem_entry ORDER BY n))) AS error FROM generate_series(0, 49) n) e;
SELECT pg_temp.has('alice', 'bob', 'shop', 'fees');
-- each of these keys is free
SELECT status FROM idem_post('short', '{"(alice,-10)","(bob,-50)","(shop,60)"}');
SELECT status FROM idem_post('full', '{"(world,-1)","(shop,0.50)","(bob,0.50)"}');
-- what is not a matter of limits comes first
SELECT left(pg_temp.error($$SELECT idem_post('closed', '{"(fees,-10)","(shop,9)"}', declines => 'record')$$), 40);
-- stored as declined: the key's answer, with the entries asked for
SELECT pg_temp.show(p) FROM idem_post('closed', '{"(alice,-10)","(shop,9)","(fees,1)"}', 'r', declines => 'record') p;
SELECT closed FROM idem_account_change('fees', closed => false);
SELECT pg_temp.show(p) FROM idem_post('closed', '{"(alice,-10)","(shop,9)","(fees,1)"}', 'r') p;
SELECT pg_temp.error($$SELECT idem_post('closed', '{"(alice,-10)","(shop,8)","(fees,2)"}', 'r')$$);
SELECT pg_temp.show(p) FROM idem_post('declined', '{"(alice,-1000)","(shop,1000)","(euro,-1)","(euro shop,1)"}', declines => 'record') p;
SELECT pg_temp.show(p) FROM idem_post('declined', '{"(alice,-1000)","(shop,1000)","(euro,-1)","(euro shop,1)"}', declines => 'raise') p;
SELECT pg_temp.show(c) FROM idem_cancel('declined') c;
SELECT left(pg_temp.error(format('SELECT idem_payment(%L)', payment_id)), 5), left(pg_temp.error(format('SELECT idem_refund(''d'', %L)', payment_id)), 5)
FROM idem_lookup('declined');
SET idempotency.declines = record;
SELECT status FROM idem_post('by setting', '{"(bob,-100)","(shop,100)"}');
RESET idempotency.declines;
SELECT pg_temp.has('alice', 'bob', 'shop', 'fees');
-- what is held is not available
SELECT status FROM idem_authorize('hold', 15, 'USD', 'alice', 'shop');
SELECT pg_temp.has('alice');
SELECT left(pg_temp.error($$SELECT idem_post('held', '{"(alice,-60)","(shop,60)"}')$$), 5);
SELECT status FROM idem_void('void', (SELECT payment_id FROM idem_lookup('hold')));

-- Several posts in a transaction, and savepoints
BEGIN;
SELECT status FROM idem_post('tx 1', '{"(alice,-1)","(shop,0.5)","(bob,0.5)"}');
SAVEPOINT a;
SELECT status FROM idem_post('tx 2', '{"(alice,-2)","(shop,1)","(bob,1)"}');
SELECT pg_temp.has('alice', 'bob', 'shop');
SELECT left(pg_temp.error($$SELECT idem_post('tx 3', '{"(alice,-500)","(shop,500)"}')$$), 5);
ROLLBACK TO a;
SELECT pg_temp.show(p) FROM idem_post('tx 2', '{"(alice,-4)","(shop,2)","(bob,2)"}') p;
SELECT replayed FROM idem_post('tx 2', '{"(alice,-4)","(shop,2)","(bob,2)"}');
SELECT pg_temp.has('alice', 'bob', 'shop');
COMMIT;
SELECT pg_temp.has('alice', 'bob', 'shop');
SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND pid = pg_backend_pid();

-- Taking needs the privileges of the owner of the account; giving does not.
CREATE ROLE regress_idem_post;
SELECT idem_grant('regress_idem_post');
SET ROLE regress_idem_post;
SELECT count(*) FROM idem_account_open('other', 'USD');
SELECT pg_temp.error($$SELECT idem_post('other', '{"(alice,-1)","(other,1)"}', declines => 'record')$$);
SELECT status FROM idem_post('other', '{"(alice,1)","(other,-1)"}');
SELECT left(pg_temp.error($$SELECT idem_post('sale', '{"(alice,1)","(other,-1)"}')$$), 5);
RESET ROLE;
SELECT left(pg_temp.error($$SELECT idem_post('other', '{"(alice,1)","(other,-1)"}')$$), 8);

-- At the higher levels
BEGIN ISOLATION LEVEL SERIALIZABLE;
SELECT status FROM idem_post('serializable', '{"(alice,-1)","(shop,1)"}');
SELECT left(pg_temp.error($$SELECT idem_post('serializable 2', '{"(alice,-1000)","(shop,1000)"}')$$), 5);
COMMIT;

-- A post is part of what idem_check() checks.
SELECT bool_and(ok) FROM idem_check();
CREATE FUNCTION pg_temp.broken(assignment text) RETURNS SETOF text LANGUAGE plpgsql AS $$
BEGIN
	BEGIN
		EXECUTE 'UPDATE idempotency.operation SET ' || assignment || ' WHERE scope = ''post'' AND key = ''sale''';
		RETURN QUERY SELECT invariant || ': ' || detail FROM idem_check() WHERE NOT ok;
		RAISE EXCEPTION USING ERRCODE = 'ZZ000';
	EXCEPTION WHEN SQLSTATE 'ZZ000' THEN
	END;
END
$$;
SELECT pg_temp.broken('amount = 9.00');
SELECT pg_temp.broken('amount = 0.00');
SELECT pg_temp.broken('authorized = 10.00, captured = 10.00');
SELECT pg_temp.broken('currency = NULL');
SELECT pg_temp.broken('from_account = ''alice''');
SELECT pg_temp.broken('legs = NULL');
SELECT pg_temp.broken('kind = ''pay''');
SELECT pg_temp.broken('expires_at = now()');
SELECT pg_temp.broken('legs = ''7''');
SELECT pg_temp.broken('legs = ''["alice", "shop", null]''');
SELECT pg_temp.broken('legs = legs - 2');
SELECT pg_temp.broken($$legs = jsonb_set(legs, '{0,amount}', '-10')$$);
SELECT pg_temp.broken($$legs = jsonb_set(legs, '{0,amount}', '"-10.01"')$$);
SELECT pg_temp.broken($$legs = jsonb_set(legs, '{1,account}', '"alice"')$$);
SELECT pg_temp.broken($$legs = legs #- '{1,seq}'$$);
-- a replay is not misled by legs that were written by hand
BEGIN;
UPDATE idempotency.operation SET legs = '["alice", {"account": 7}, {"amount": 7}]' WHERE scope = 'post' AND key = 'sale';
SELECT left(pg_temp.error($$SELECT idem_post('sale', '{"(alice,-10)","(shop,9.7)","(fees,0.30)"}', 'order 7', '{"n": 1}')$$), 5);
UPDATE idempotency.operation SET legs = '[{"account": "a", "amount": "-"}, {"account": "b", "amount": "1-2"}, {"account": "c", "amount": "1.2.3"}]' WHERE scope = 'post' AND key = 'sale';
SELECT left(pg_temp.error($$SELECT idem_post('sale', '{"(alice,-10)","(shop,9.7)","(fees,0.30)"}', 'order 7', '{"n": 1}')$$), 5);
UPDATE idempotency.operation SET legs = '{"account": 7}' WHERE scope = 'post' AND key = 'sale';
SELECT left(pg_temp.error($$SELECT idem_post('sale', '{"(alice,-10)","(shop,9.7)","(fees,0.30)"}', 'order 7', '{"n": 1}')$$), 5);
UPDATE idempotency.operation SET legs = '7' WHERE scope = 'post' AND key = 'sale';
SELECT left(pg_temp.error($$SELECT idem_post('sale', '{"(alice,-10)","(shop,9.7)","(fees,0.30)"}', 'order 7', '{"n": 1}')$$), 5);
ROLLBACK;
DROP OWNED BY regress_idem_post;
DROP ROLE regress_idem_post;
