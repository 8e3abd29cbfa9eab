-- What a request is compared by: json and jsonb by their meaning, text and bytea by their bytes.
\getenv srcdir PG_ABS_SRCDIR
\set include :srcdir '/include/error.psql'
\i :include

-- Begins and completes a request. Then: is the second request another one? And the third, ...
CREATE FUNCTION pg_temp.compare(first text, VARIADIC others text[]) RETURNS SETOF text LANGUAGE plpgsql AS $$
DECLARE
	key text := 'fp ' || clock_timestamp();
	other text;
BEGIN
	EXECUTE format('SELECT idem_begin(%L, %s)', key, first);
	PERFORM idem_complete(key, '1');
	FOREACH other IN ARRAY others LOOP
		BEGIN
			EXECUTE format('SELECT idem_begin(%L, %s)', key, other);
			RETURN NEXT 'the same: ' || other;
		EXCEPTION WHEN SQLSTATE 'ID422' THEN
			RETURN NEXT 'another one: ' || other;
		END;
	END LOOP;
END
$$;

-- json and jsonb are one kind: white space and the order of members do not matter
SELECT pg_temp.compare($$'{"room": 7, "guest": "Ann"}'::json$$, $$' {"guest":"Ann","room":7}'::json$$, $$'{"room": 7, "guest": "Ann"}'::jsonb$$,
	$$'{"room": 8, "guest": "Ann"}'::json$$, $$'{"room": 7}'::json$$, $$NULL$$, $$'{"room": 7, "guest": ["Ann"]}'::json$$);
-- text and bytea are one kind, in which each byte counts; JSON as text is another kind than JSON
SELECT pg_temp.compare($$'{"room": 7}'$$, $$'{"room": 7}'::text$$, $$'{"room": 7}'::varchar$$, $$'{"room": 7}'::bytea$$,
	$$'{"room":7}'$$, $$'{"room": 7}'::json$$, $$'{"room": 7}'::jsonb$$);
SELECT pg_temp.compare($$'\xff00ff'::bytea$$, $$'\xff00fe'::bytea$$, $$'\xff00ff'::bytea$$, $$'\\xff00ff'$$);
SELECT pg_temp.compare($$'<order id="1"/>'$$, $$'<order id="1"/>'$$, $$'<order id="2"/>'$$);
SELECT pg_temp.compare($$''$$, $$''::bytea$$, $$NULL$$, $$' '$$);
SELECT pg_temp.compare($$NULL$$, $$NULL::json$$, $$NULL::bytea$$, $$'null'::json$$);

-- numbers are compared by their value, with all digits, at any size
SELECT pg_temp.compare($$'1.50'::json$$, $$'1.5'::json$$, $$'15e-1'::json$$, $$'0.15E+01'::json$$, $$'1.5'::jsonb$$, $$'1.51'::json$$, $$'-1.5'::json$$, $$'"1.5"'::json$$, $$'[1.5]'::json$$);
SELECT pg_temp.compare($$'0'::json$$, $$'-0.0'::json$$, $$'0e999999999'::json$$, $$'1e-999999999'::json$$);
SELECT pg_temp.compare($$'9007199254740993'::json$$, $$'9007199254740992'::json$$, $$'9007199254740993.0'::jsonb$$);
SELECT pg_temp.compare($$'1e200000'::json$$, $$'10e199999'::json$$, $$'1e200001'::json$$);
SELECT pg_temp.compare($$'1e99999999999999999999'::json$$, $$'0.1e100000000000000000000'::json$$, $$'10e99999999999999999999'::json$$);
-- escapes are resolved; what is valid JSON and does not fit into jsonb is compared, too
SELECT pg_temp.compare($$'{"caf\u00e9": "\u20ac \ud83d\ude00 \/"}'::json$$, $$'{"café": "€ 😀 /"}'::json$$, $$'{"café": "€ 😀 /"}'::jsonb$$, $$'{"cafe": "€ 😀 /"}'::json$$);
SELECT pg_temp.compare($$'"a\u0000b"'::json$$, $$'"a\u0000b"'::json$$, $$'"ab"'::json$$, $$'"a\\u0000b"'::json$$);
SELECT pg_temp.compare($$'"\ud83d"'::json$$, $$'"\uD83D"'::json$$, $$'"\ude00"'::json$$, $$'"\\ud83d"'::json$$, $$'"\ud83d\ude00"'::json$$);
-- a member that comes twice counts twice; jsonb has lost the first one
SELECT pg_temp.compare($$'{"amount": 5, "amount": 500}'::json$$, $$'{"amount": 500}'::json$$, $$'{"amount": 5}'::json$$, $$'{"amount": 500, "amount": 5}'::json$$,
	$$'{"amount": 5, "amount": 500}'::jsonb$$, $$'{"amount":5,"amount":5e2}'::json$$);
SELECT pg_temp.compare($$'{"amount": 5, "amount": 500}'::jsonb$$, $$'{"amount": 500}'::json$$);
SELECT pg_temp.compare($$'{"a": 1, "b": 0, "a": 2}'::json$$, $$'{"a": 1, "a": 2, "b": 0}'::json$$, $$'{"b": 0, "a": 2, "a": 1}'::json$$);
-- deep in other values
SELECT pg_temp.compare($$'[{"b": [{"d": 1, "c": {}}], "a": []}, null, true]'::json$$, $$'[{"a": [], "b": [{"c": {}, "d": 1.0}]}, null, true]'::json$$,
	$$'[{"a": [], "b": [{"c": [], "d": 1.0}]}, null, true]'::json$$, $$'[null, {"a": [], "b": [{"c": {}, "d": 1.0}]}, true]'::json$$);
-- as text, it need not be JSON that the server can read
SELECT pg_temp.compare($$repeat('[', 100000) || repeat(']', 100000)$$, $$repeat('[', 100000) || repeat(']', 100000)$$, $$repeat('[', 99999) || repeat(']', 99999)$$);

-- a fingerprint that is stored stays valid: it is the SHA-256 that the documentation describes
BEGIN;
SELECT idem_begin('fp stored 1', '{"b": 1.50, "a\u0009": ["é", -0, 1200, "\u0000\ud83d"], "b": 2}'::json);
SELECT idem_complete('fp stored 1', '1');
SELECT idem_begin('fp stored 2', 'any text');
SELECT idem_complete('fp stored 2', '1');
SELECT rows FROM idem_execute('fp stored 3', 'SELECT $1::text AS "é"', '["é"]');
COMMIT;
WITH r AS (SELECT * FROM idempotency.request_0 UNION ALL SELECT * FROM idempotency.request_1 UNION ALL SELECT * FROM idempotency.request_2)
SELECT key, fingerprint = sha256(convert_to(content, 'UTF8')) AS as_described
FROM r JOIN (VALUES
	('fp stored 1', E'json 1\n{"a\\t":["é",0,12e2,"\\u0000\\ud83d"],"b":15e-1,"b":2}'),
	('fp stored 2', E'bytes 1\nany text'),
	('fp stored 3', E'command 1\n{"args":["é"],"command":"SELECT $1::text AS \\"é\\""}')) v (k, content) ON key = k
ORDER BY key;

-- what JavaScript makes of an object is refused, as all objects would be the same request
SELECT pg_temp.error($$SELECT idem_begin('fp object', '[object Object]')$$);
SELECT pg_temp.error($$SELECT idem_begin('fp object', '[object Object]'::varchar)$$);
SELECT pg_temp.error($$SELECT idem_begin('fp object', 5)$$);
SELECT pg_temp.error($$SELECT idem_begin('fp object', '{1}'::int[])$$);
SELECT count(*) FROM idem_lookup_request('fp object');

-- a database in another encoding: an escape is the character, and JSON has the same fingerprint
SELECT current_database() AS here \gset
CREATE DATABASE regress_idem_latin1 ENCODING 'LATIN1' LOCALE 'C' TEMPLATE template0;
\c regress_idem_latin1
SET client_encoding = 'UTF8';
CREATE EXTENSION idempotency;
BEGIN;
SELECT outcome FROM idem_begin('e', '{"caf\u00e9": "\u20ac"}'::json);
SELECT idem_complete('e', '1');
COMMIT;
SELECT outcome FROM idem_begin('e', '{"café": "\u20ac"}'::json);
SELECT r.fingerprint = sha256(convert_to(E'json 1\n{"café":"', 'UTF8') || '\xe282ac' || '"}') AS as_described
FROM (SELECT * FROM idempotency.request_0 UNION ALL SELECT * FROM idempotency.request_1 UNION ALL SELECT * FROM idempotency.request_2) r;
\c :here
DROP DATABASE regress_idem_latin1;
