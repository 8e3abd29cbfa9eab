-- Holding an amount, and for how long.
\getenv srcdir PG_ABS_SRCDIR
\set include :srcdir '/include/step.psql'
\i :include
SET idempotency.scope = 'authorize';

-- a hold captures nothing
SELECT pg_temp.step($$idem_authorize('a', 100, 'EUR')$$);
SELECT pg_temp.step($$idem_authorize('a', 100, 'EUR')$$);
SELECT seq, kind, status, from_account, to_account, reference, metadata, sqlstate, message,
	expires_at - created_at AS hold FROM idem_lookup('a') \gx

-- all arguments, by position and by name
SELECT pg_temp.step($$idem_authorize('all', 12.5, 'EUR', NULL, NULL, '1 hour', 'order 7', '{"cart": [1, 2]}', 'shop-authorize')$$);
SELECT pg_temp.step($$idem_authorize(scope => 'shop-authorize', metadata => '{"cart":[1,2]}', reference => 'order 7',
	expires_in => '60 minutes', currency => 'EUR', amount => 12.50, key => 'all')$$);
SELECT reference, metadata, expires_at - created_at AS hold FROM idem_lookup('all', 'shop-authorize');

-- the defaults, and NULL for each of them that has no default but null; a hold that was to have a time has one
SELECT pg_temp.step($$idem_authorize('defaults', 5)$$);
SELECT pg_temp.step($$idem_authorize('defaults', 5, NULL, NULL, NULL, '7 days', NULL, NULL, NULL)$$);
SELECT pg_temp.step($$idem_authorize('defaults', 5, 'USD', expires_in => '7 days', scope => 'authorize')$$);
SELECT pg_temp.step($$idem_authorize('defaults', 5, expires_in => '168:00')$$);
SELECT pg_temp.step($$idem_authorize('defaults', 5, expires_in => NULL)$$);
SET idempotency.currency = 'JPY';
SELECT amount, currency FROM idem_authorize('default-jpy', 500);
SELECT pg_temp.step($$idem_authorize('defaults', 5)$$);
RESET idempotency.currency;

-- a day has 24 hours and a month 30 days, whatever the calendar and the time zone say
SELECT k, expires_at - created_at AS hold
FROM unnest('{1 microsecond,0.5 seconds,1 month,1 year,100 years -1500 days,1 month -29 days,1 day -1 second}'::text[]) k,
	idem_authorize('for ' || k, 1, expires_in => k::interval);
SET TimeZone = 'America/New_York';
SELECT expires_at - created_at = '8760 hours' AS no_daylight_saving FROM idem_authorize('time zone', 1, expires_in => '365 days');
RESET TimeZone;

-- durations that are refused
SELECT pg_temp.step($$idem_authorize('k', 1, expires_in => '0')$$);
SELECT pg_temp.step($$idem_authorize('k', 1, expires_in => '-1 second')$$);
SELECT pg_temp.step($$idem_authorize('k', 1, expires_in => '1 month -30 days')$$);
SELECT pg_temp.step($$idem_authorize('k', 1, expires_in => '1 month -31 days')$$);
SELECT pg_temp.step($$idem_authorize('longest', 1, expires_in => '36500 days')$$);
SELECT pg_temp.step($$idem_authorize('k', 1, expires_in => '36500 days 1 second')$$);
SELECT pg_temp.step($$idem_authorize('k', 1, expires_in => '178000000 years')$$);
SELECT pg_temp.step($$idem_authorize('k', 1, expires_in => '-178000000 years')$$);
-- infinite intervals exist since PostgreSQL 17; before that they are malformed
SELECT left(pg_temp.step($$idem_authorize('k', 1, expires_in => 'infinity')$$), 5) IN ('22023', '22007') AS refused;
SELECT left(pg_temp.step($$idem_authorize('k', 1, expires_in => '-infinity')$$), 5) IN ('22023', '22007') AS refused;
-- refused before the key is looked at
SELECT pg_temp.step($$idem_authorize('a', 100, 'EUR', expires_in => '0')$$);

-- the rules for amounts, currencies, accounts, keys and scopes are those of idem_pay
SELECT pg_temp.step($$idem_authorize('k', NULL)$$);
SELECT pg_temp.step($$idem_authorize('k', 0)$$);
SELECT pg_temp.step($$idem_authorize('k', -1)$$);
SELECT pg_temp.step($$idem_authorize('k', 'NaN')$$);
SELECT pg_temp.step($$idem_authorize('k', 1.001)$$);
SELECT pg_temp.step($$idem_authorize('k', 1.5, 'JPY')$$);
SELECT pg_temp.step($$idem_authorize('k', 1, 'XYZ')$$);
SELECT pg_temp.step($$idem_authorize('kwd', 1.005, 'KWD')$$);
SELECT pg_temp.step($$idem_authorize('k', 1, from_account => 'alice')$$);
SELECT pg_temp.step($$idem_authorize('k', 1, to_account => 'bob')$$);
SELECT pg_temp.step($$idem_authorize('k', 1, from_account => 'alice', to_account => 'alice')$$);
SELECT pg_temp.step($$idem_authorize(NULL, 1)$$);
SELECT pg_temp.step($$idem_authorize('', 1)$$);
SELECT pg_temp.step($$idem_authorize('k', 1, scope => E'\n')$$);

-- a key stands for one request; DETAIL names the first field that differs
SELECT pg_temp.step($$idem_authorize('a', 101, 'EUR')$$);
SELECT pg_temp.step($$idem_authorize('a', 100, 'USD')$$);
SELECT pg_temp.step($$idem_authorize('a', 100, 'EUR', expires_in => '6 days')$$);
SELECT pg_temp.step($$idem_authorize('a', 100, 'EUR', expires_in => '7 days 0.000001 seconds')$$);
SELECT pg_temp.step($$idem_authorize('all', 12.5, 'EUR', scope => 'shop-authorize')$$);
SELECT pg_temp.step($$idem_authorize('a', 100, 'EUR', from_account => 'alice', to_account => 'bob')$$);
SELECT pg_temp.step($$idem_authorize('a', 100, 'EUR', reference => 'order 8')$$);
SELECT pg_temp.step($$idem_authorize('a', 100, 'EUR', metadata => '{}')$$);
SELECT pg_temp.step($$idem_authorize('a', 102, 'USD', expires_in => '6 days', reference => 'order 8')$$);
SELECT pg_temp.step($$idem_pay('a', 100, 'EUR')$$);
SELECT pg_temp.step($$idem_pay('p', 100, 'EUR')$$);
SELECT pg_temp.step($$idem_authorize('p', 100, 'EUR')$$);

SELECT pg_temp.unlike_at_first();
SELECT count(*) FROM idempotency.operation WHERE scope = 'authorize' AND key IN ('k', '');
