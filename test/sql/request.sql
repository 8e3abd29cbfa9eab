-- ID422: a key stands for one request, and DETAIL names the first field that differs.
\getenv srcdir PG_ABS_SRCDIR
\set include :srcdir '/include/error.psql'
\i :include

SELECT replayed FROM idem_pay('r', 50, 'USD', reference => 'order 1', metadata => '{"a": 1, "b": [1.0, null]}');
SELECT replayed FROM idem_pay('plain', 50);

SELECT pg_temp.error($$SELECT idem_pay('r', 60, 'USD', reference => 'order 1', metadata => '{"a": 1, "b": [1.0, null]}')$$);
SELECT pg_temp.error($$SELECT idem_pay('r', 50.01, 'USD', reference => 'order 1', metadata => '{"a": 1, "b": [1.0, null]}')$$);
SELECT pg_temp.error($$SELECT idem_pay('r', 50, 'EUR', reference => 'order 1', metadata => '{"a": 1, "b": [1.0, null]}')$$);
SELECT pg_temp.error($$SELECT idem_pay('r', 50, 'USD', from_account => 'a', to_account => 'b', reference => 'order 1', metadata => '{"a": 1, "b": [1.0, null]}')$$);
SELECT pg_temp.error($$SELECT idem_pay('r', 50, 'USD', reference => 'order 2', metadata => '{"a": 1, "b": [1.0, null]}')$$);
SELECT pg_temp.error($$SELECT idem_pay('r', 50, 'USD', reference => 'order 1', metadata => '{"a": 2, "b": [1.0, null]}')$$);
-- a field that is given in one call only
SELECT pg_temp.error($$SELECT idem_pay('r', 50)$$);
SELECT pg_temp.error($$SELECT idem_pay('r', 50, reference => 'order 1')$$);
SELECT pg_temp.error($$SELECT idem_pay('plain', 50, reference => '')$$);
SELECT pg_temp.error($$SELECT idem_pay('plain', 50, metadata => 'null')$$);
-- several fields: the first that differs
SELECT pg_temp.error($$SELECT idem_pay('r', 60, 'EUR', reference => 'order 2')$$);
-- an amount that no currency allows is malformed; too many decimals for this one are a different request
SELECT pg_temp.error($$SELECT idem_pay('r', -1)$$);
SELECT pg_temp.error($$SELECT idem_pay('r', 50.001)$$);
-- the default currency is an abbreviation: the currency that it stands for is compared
SET idempotency.currency = 'EUR';
SELECT pg_temp.error($$SELECT idem_pay('plain', 50)$$);
SELECT replayed FROM idem_pay('plain', 50, 'USD');
RESET idempotency.currency;

-- an overlong currency is shown shortened
SELECT length(pg_temp.error($$SELECT idem_pay('plain', 50, repeat('Q', 1000000))$$)) < 300 AS short;

-- the same request, written differently
SELECT replayed FROM idem_pay('r', 50.00, reference => 'order 1', metadata => '{"b":[1,null],"a":1.00}');

-- a refused call changes nothing, and stores no row
SELECT amount, currency, reference, metadata, replayed FROM idem_lookup('r');
SELECT count(*) FROM idempotency.operation WHERE key = 'r';

-- an operation of another kind, here written by hand
INSERT INTO idempotency.operation (payment_id, created_at, seq, scope, key, kind, amount, currency, authorized, captured, released, refunded, role)
	VALUES ('01900000-0000-7000-8000-000000000001', now(), 1, '', 'by-hand', 'authorize', 50, 'USD', 50, 0, 0, 0, current_user);
SELECT pg_temp.error($$SELECT idem_pay('by-hand', 50)$$);
SELECT status, capturable, refundable FROM idem_lookup('by-hand');
