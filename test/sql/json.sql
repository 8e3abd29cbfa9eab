-- JSON arguments: text, json and jsonb are taken alike, and so is what has no type.

-- each type, and none
PREPARE untyped AS SELECT metadata, replayed FROM idem_pay('json-1', 1, metadata => $1);
EXECUTE untyped('{"a": [1, "x"]}');
SELECT parameter_types FROM pg_prepared_statements WHERE name = 'untyped';
SELECT metadata, replayed FROM idem_pay('json-1', 1, metadata => '{"a":[1,"x"]}');
SELECT metadata, replayed FROM idem_pay('json-1', 1, metadata => '{"a":[1,"x"]}'::text);
SELECT metadata, replayed FROM idem_pay('json-1', 1, metadata => '{"a":[1,"x"]}'::varchar);
SELECT metadata, replayed FROM idem_pay('json-1', 1, metadata => '{"a":[1,"x"]}'::json);
SELECT metadata, replayed FROM idem_pay('json-1', 1, metadata => '{"a":[1,"x"]}'::jsonb);
CREATE DOMAIN meta_object AS jsonb CHECK (jsonb_typeof(VALUE) = 'object');
SELECT metadata, replayed FROM idem_pay('json-1', 1, metadata => '{"a":[1,"x"]}'::meta_object);
DROP DOMAIN meta_object;
-- by position, too, and in a function that passes its argument on
SELECT metadata, replayed FROM idem_pay('json-1', 1, NULL, NULL, NULL, NULL, '{"a":[1,"x"]}'::jsonb, NULL);
CREATE FUNCTION pay_with(metadata json) RETURNS jsonb LANGUAGE plpgsql AS
	'DECLARE result jsonb; BEGIN result := (idem_pay(''json-1'', 1, metadata => metadata)).metadata; RETURN result; END';
SELECT pay_with('{"a":[1,"x"]}');
DROP FUNCTION pay_with;

-- null is no metadata, whatever its type; JSON's null is some
SELECT metadata IS NULL AS none FROM idem_pay('json-2', 1, metadata => NULL);
SELECT replayed FROM idem_pay('json-2', 1, metadata => NULL::jsonb);
SELECT replayed FROM idem_pay('json-2', 1, metadata => NULL::integer);
SELECT replayed FROM idem_pay('json-2', 1, metadata => 'null'::jsonb);

-- what is no JSON, and other types
-- (the message does not quote them, since they may be personal)
SELECT idem_pay('json-3', 1, metadata => '{"a": ');
SELECT idem_pay('json-3', 1, metadata => '{"a": '::varchar);
SELECT idem_pay('json-3', 1, metadata => '"\u0000"'::json);
SELECT idem_pay('json-3', 1, metadata => 'Jane Doe');
SELECT detail FROM idem_pay_batch('{json-3}', '{1}', metadatas => '{Jane Doe}');
SELECT idem_pay('json-3', 1, metadata => 5);
SELECT idem_pay('json-3', 1, metadata => '{}'::text[]);
SELECT idem_pay('json-3', 1, metadata => '{}'::bytea);
SELECT count(*) FROM idem_lookup('json-3');

-- the follow-ups
SELECT payment_id AS id FROM idem_authorize('json-4', 5, metadata => '1'::json) \gset
SELECT metadata FROM idem_capture('json-4-capture', :'id', 3, false, metadata => '2'::jsonb);
SELECT metadata FROM idem_void('json-4-void', :'id', metadata => '3'::json);
SELECT metadata FROM idem_refund('json-4-refund', :'id', 1, metadata => '"four"');

-- requests: each argument, with each type
SELECT outcome FROM idem_begin('json-5', '{"a": 1}'::jsonb, lease => '1 hour');
SELECT idem_checkpoint('json-5', 'half', '{"b": 2}'::jsonb, 1);
SELECT idem_complete('json-5', '{"c": 3}'::jsonb, 1);
SELECT response, checkpoint_data FROM idem_lookup_request('json-5');
SELECT outcome FROM idem_begin('json-6', '{"a": 1}'::json, lease => '1 hour');
SELECT idem_checkpoint('json-6', 'half', '{"b":2}'::json, 1);
SELECT idem_fail('json-6', '{"c":3}'::json, 1);
SELECT response, checkpoint_data FROM idem_lookup_request('json-6');
SELECT outcome FROM idem_begin('json-7', '{"a": 1}'::text, lease => '1 hour');
SELECT idem_checkpoint('json-7', 'half', '{"b":2}'::text, 1);
SELECT idem_complete('json-7', '{"c":3}', 1);
SELECT response, checkpoint_data FROM idem_lookup_request('json-7');
SELECT outcome FROM idem_begin('json-8', lease => '1 hour');
SELECT idem_complete('json-8', 8, 1);
\set VERBOSITY sqlstate
SELECT idem_complete('json-8', '{"c"', 1);
SELECT idem_checkpoint('json-8', 'half', 'x', 1);
\set VERBOSITY default
SELECT idem_complete('json-8', NULL, 1);
SELECT rows FROM idem_execute('json-9', 'SELECT $1::int AS a', '[9]'::json);
SELECT rows, replayed FROM idem_execute('json-9', 'SELECT $1::int AS a', '[9]'::jsonb);
SELECT rows, replayed FROM idem_execute('json-9', 'SELECT $1::int AS a', '[9]');
SELECT idem_execute('json-10', 'SELECT $1::int AS a', 9);
\set VERBOSITY sqlstate
SELECT idem_execute('json-10', 'SELECT $1::int AS a', '[9');
\set VERBOSITY default
