-- What a key and a scope may be.
\getenv srcdir PG_ABS_SRCDIR
\set include :srcdir '/include/error.psql'
\i :include

-- ID400: missing, empty, too long, not printable
SELECT pg_temp.error($$SELECT idem_pay(NULL, 50)$$);
SELECT pg_temp.error($$SELECT idem_pay('', 50)$$);
SELECT pg_temp.error($$SELECT idem_pay(repeat('k', 256), 50)$$);
SELECT pg_temp.error($$SELECT idem_pay(repeat('k', 100000000), 50)$$);
SELECT pg_temp.error($$SELECT idem_pay(E'tab\there', 50)$$);
SELECT pg_temp.error($$SELECT idem_pay(E'line\n', 50)$$);
SELECT pg_temp.error($$SELECT idem_pay(E'\x01', 50)$$);
SELECT pg_temp.error($$SELECT idem_pay(E'delete\x7f', 50)$$);
SELECT pg_temp.error($$SELECT idem_pay(U&'next line \0085', 50)$$);
SELECT pg_temp.error($$SELECT * FROM idem_lookup(NULL)$$);
SELECT pg_temp.error($$SELECT * FROM idem_lookup('')$$);

-- the limit is 255 bytes, not characters
SELECT length(key), replayed FROM idem_pay(repeat('k', 255), 50);
SELECT length(key), octet_length(key), replayed FROM idem_pay(repeat('€', 85), 50);
SELECT pg_temp.error($$SELECT idem_pay(repeat('€', 86), 50)$$);

-- multi-byte keys, with a no-break space (U+00A0, the first after the control characters)
SELECT key, replayed FROM idem_pay('bestellung-zürich-注文-🧾', 50);
SELECT key, replayed FROM idem_pay('bestellung-zürich-注文-🧾', 50);
SELECT replayed FROM idem_pay(U&'no\00a0break', 50);

-- keys are compared byte by byte: case, spaces and Unicode normal forms make a difference
SELECT key || '.' AS key, replayed FROM unnest('{Order,order,ORDER,"order ","order  "," order"}'::text[]) k, idem_pay(k, 50);
SELECT octet_length(key), replayed FROM unnest(ARRAY[U&'caf\00e9', U&'cafe\0301']) k, idem_pay(k, 50);
SELECT count(*) FROM idempotency.operation WHERE key ILIKE '%order%';

-- a key that looks like SQL is a key like any other
SELECT key, replayed FROM idem_pay($$'; DROP TABLE idempotency.operation; --$$, 50);
SELECT key, replayed FROM idem_pay('%_\', 50);

-- the same key in two scopes is two keys
SELECT k.scope, p.amount, p.replayed
FROM (VALUES ('', 1), ('tenant-a', 2), ('tenant-b', 3), ('tenant-a', 2)) k (scope, amount),
	idem_pay('scoped', k.amount, scope => k.scope) p;
SELECT scope, key, amount FROM idempotency.operation WHERE key = 'scoped' ORDER BY scope;

-- the scope of the setting, and of the argument, which wins
SET idempotency.scope = 'tenant-a';
SELECT amount, replayed FROM idem_pay('scoped', 2);
SELECT amount, replayed FROM idem_pay('scoped', 3, scope => 'tenant-b');
SELECT amount, replayed FROM idem_pay('scoped', 1, scope => '');
SELECT amount FROM idem_lookup('scoped');
SELECT amount FROM idem_lookup('scoped', scope => 'tenant-b');
SELECT p.amount FROM idem_lookup('scoped') l, idem_payment(l.payment_id) p;
SELECT pg_temp.error($$SELECT p.amount FROM idem_lookup('scoped') l, idem_payment(l.payment_id, scope => 'tenant-b') p$$)
	~ '^ID404 payment [-0-9a-f]{36} does not exist$' AS other_scope;
BEGIN;
SET LOCAL idempotency.scope = 'tenant-b';
SELECT amount FROM idem_lookup('scoped');
COMMIT;
SELECT amount FROM idem_lookup('scoped');
RESET idempotency.scope;

-- scope and key are not concatenated: 'a' and 'bc' differ from 'ab' and 'c'
SELECT replayed FROM idem_pay('bc', 1, scope => 'a');
SELECT replayed FROM idem_pay('c', 1, scope => 'ab');

-- a scope that is too long or not printable
SELECT pg_temp.error($$SELECT idem_pay('k', 50, scope => repeat('s', 256))$$);
SELECT pg_temp.error($$SELECT idem_pay('k', 50, scope => E'\n')$$);
SELECT pg_temp.error($$SELECT idem_lookup('k', scope => E'\n')$$);
SELECT pg_temp.error($$SELECT idem_payment('00000000-0000-7000-8000-000000000000', scope => E'\n')$$);
SET idempotency.scope = E'\n';
SELECT pg_temp.error($$SELECT idem_pay('k', 50)$$);
RESET idempotency.scope;

-- ID404 and 22004
SELECT pg_temp.error($$SELECT idem_payment('00000000-0000-7000-8000-000000000000')$$);
SELECT pg_temp.error($$SELECT idem_payment(NULL)$$);

-- no refused call stored a row
SELECT count(*) FROM idempotency.operation WHERE key = 'k' OR key ~ '[[:cntrl:]]' OR octet_length(key) NOT BETWEEN 1 AND 255 AND NOT key ^@ 'idem_';

-- a setting that was set in a database of another encoding is refused if it is not valid in this one
CREATE DATABASE regress_idem_bytes ENCODING 'SQL_ASCII' LOCALE 'C' TEMPLATE template0;
CREATE ROLE regress_idem_latin LOGIN SUPERUSER;
SELECT current_database() AS here, current_user AS me \gset
\c regress_idem_bytes
DO $$ BEGIN EXECUTE E'ALTER ROLE regress_idem_latin SET idempotency.scope = ''caf\351'''; END $$;
DO $$ BEGIN EXECUTE E'ALTER ROLE regress_idem_latin SET idempotency.currency = ''caf\351'''; END $$;
\c :here regress_idem_latin
\getenv srcdir PG_ABS_SRCDIR
\set include :srcdir '/include/error.psql'
\i :include
SELECT pg_temp.error($$SELECT idem_pay('latin', 1, 'USD')$$);
SELECT pg_temp.error($$SELECT idem_pay('latin', 1, scope => '')$$);
SELECT pg_temp.error($$SELECT idem_pay_batch(ARRAY['latin'], ARRAY[1], scope => '')$$);
SELECT pg_temp.error($$SELECT idem_begin('latin')$$);
SELECT amount FROM idem_pay('latin', 1, 'USD', scope => '');
\c :here :me
DROP DATABASE regress_idem_bytes;
DROP ROLE regress_idem_latin;
