-- The class in which errors are raised is a setting. What is stored or returned as data has the class ID all the same,
-- and what the code does with an error does not depend on its class.
\getenv srcdir PG_ABS_SRCDIR
\set include :srcdir '/include/error.psql'
\i :include
SET idempotency.scope = 'class';
SELECT payment_id AS p FROM idem_pay('paid', 10) \gset
SELECT status FROM idem_refund('all', :'p');
SELECT outcome FROM idem_begin('leased', lease => '1 hour');
CREATE FUNCTION pg_temp.both(statement text) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
	id text;
	pt text;
BEGIN
	SET LOCAL idempotency.error_class = 'ID';
	id := pg_temp.error(statement);
	SET LOCAL idempotency.error_class = 'PT';
	pt := pg_temp.error(statement);
	RETURN left(id, 5) || ' ' || CASE WHEN substr(pt, 3) = substr(id, 3) THEN '' ELSE 'but ' END || pt;
END
$$;

-- what is raised
SHOW idempotency.error_class;
SELECT pg_temp.both($$SELECT idem_pay('', 10)$$);
SELECT pg_temp.both($$SELECT idem_pay('paid', 11)$$);
SELECT pg_temp.both($$SELECT idem_payment('00000000-0000-7000-8000-000000000000')$$);
SELECT pg_temp.both(format('SELECT idem_refund(%L, %L, 1)', 'more', :'p'));
SELECT pg_temp.both($$SELECT idem_begin('leased', lease => '1 hour')$$) ~ '^ID409 PT409 request is in flight' AS leased;
SELECT pg_temp.both($$SELECT idem_complete('nothing', NULL)$$);
CREATE ROLE regress_idem_class;
SELECT idem_grant('regress_idem_class');
SET ROLE regress_idem_class;
SELECT pg_temp.both($$SELECT idem_pay('paid', 10)$$);
RESET ROLE;
-- other classes stay
SELECT pg_temp.both($$SELECT idem_pay('k', -1)$$);
SELECT pg_temp.both($$DO 'BEGIN RAISE SQLSTATE ''ID412''; END'$$);
SELECT pg_temp.both($$DO 'BEGIN RAISE SQLSTATE ''PT402''; END'$$);

SET idempotency.error_class = 'PT';

-- what a declined operation stores
SET idempotency.declines = record;
SELECT status, sqlstate, message FROM idem_refund('declined', :'p', 1);
SELECT sqlstate FROM idempotency.operation WHERE scope = 'class' AND key = 'declined';

-- what a batch returns, also where a trigger raises an error of ours, or one of its own
CREATE FUNCTION pay_again() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
	IF NEW.key ^@ 'ours-' THEN
		PERFORM idem_lookup('');
	ELSIF NEW.key ^@ 'reraised-' THEN
		BEGIN
			PERFORM idem_lookup('');
		EXCEPTION WHEN SQLSTATE 'PT400' THEN
			RAISE;
		END;
	ELSIF NEW.key ^@ 'own-' THEN
		RAISE SQLSTATE 'PT402' USING MESSAGE = 'pay me first';
	END IF;
	RETURN NULL;
END
$$;
CREATE TRIGGER pay_again AFTER INSERT ON idempotency.operation FOR EACH ROW EXECUTE FUNCTION pay_again();
SELECT key, outcome, sqlstate, message
FROM idem_pay_batch('{b, paid, "", ours-1, reraised-1, own-1}', '{1, 11, 1, 1, 1, 1}');
DROP TRIGGER pay_again ON idempotency.operation;
DROP FUNCTION pay_again;

-- what idem_execute stores
SELECT * FROM idem_execute('x422', $$SELECT idem_pay('paid', 11)$$);
SELECT * FROM idem_execute('x422', $$SELECT idem_pay('paid', 11)$$);
SELECT * FROM idem_execute('own', $$DO 'BEGIN RAISE SQLSTATE ''PT402''; END'$$);
SELECT key, sqlstate FROM idempotency.request WHERE scope = 'class' AND sqlstate IS NOT NULL ORDER BY key;
-- that something is in flight is no answer, whoever raises it
SELECT pg_temp.both($$SELECT idem_execute('x409', $c$SELECT idem_begin('leased', lease => '1 hour')$c$)$$) ~ '^ID409 PT409 ' AS free;
SELECT pg_temp.both($$SELECT idem_execute('y409', $c$DO 'BEGIN RAISE SQLSTATE ''PT409''; END'$c$)$$);
SELECT count(*) FROM idempotency.request WHERE scope = 'class' AND key ~ '409';

SET idempotency.error_class = 'XX';
RESET ALL;
SELECT idem_release('leased', 1, scope => 'class');
SELECT idem_revoke('regress_idem_class');
DROP ROLE regress_idem_class;
