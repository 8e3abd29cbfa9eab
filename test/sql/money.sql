-- What an amount and a currency may be.
\getenv srcdir PG_ABS_SRCDIR
\set include :srcdir '/include/error.psql'
\i :include

-- malformed amounts
SELECT pg_temp.error($$SELECT idem_pay('k', NULL)$$);
SELECT pg_temp.error($$SELECT idem_pay('k', 'NaN')$$);
SELECT pg_temp.error($$SELECT idem_pay('k', 'Infinity')$$);
SELECT pg_temp.error($$SELECT idem_pay('k', '-Infinity')$$);
SELECT pg_temp.error($$SELECT idem_authorize('k', 0)$$);
SELECT pg_temp.error($$SELECT idem_authorize('k', 0.00)$$);
SELECT pg_temp.error($$SELECT idem_pay('k', -50)$$);
SELECT pg_temp.error($$SELECT idem_pay('k', -0.01)$$);
SELECT pg_temp.error($$SELECT idem_pay('k', 1e400)$$);
SELECT pg_temp.error($$SELECT idem_pay('k', 1e18)$$);
SELECT pg_temp.error($$SELECT idem_pay('k', 1e-400)$$);

-- more decimals than the currency has
SELECT pg_temp.error($$SELECT idem_pay('k', 50.001)$$);
SELECT pg_temp.error($$SELECT idem_pay('k', 50.001, 'USD')$$);
SELECT pg_temp.error($$SELECT idem_pay('k', 0.005, 'EUR')$$);
SELECT pg_temp.error($$SELECT idem_pay('k', 50.5, 'JPY')$$);
SELECT pg_temp.error($$SELECT idem_pay('k', 50.0001, 'KWD')$$);
SELECT pg_temp.error($$SELECT idem_pay('k', 0.00001, 'CLF')$$);
SELECT pg_temp.error($$SELECT idem_pay('k', 1.0000000000000000000000000000000000000000000000000001)$$);

-- as many decimals as the currency has; further zeros are ignored
SELECT amount, currency, refundable FROM idem_pay('usd', 50);
SELECT amount, currency, refundable FROM idem_pay('usd-cents', 0.01);
SELECT amount, currency, refundable FROM idem_pay('usd-zeros', 50.000);
SELECT amount, currency, refundable FROM idem_pay('kwd', 50.001, 'KWD');
SELECT amount, currency, refundable FROM idem_pay('jpy', 50, 'JPY');
SELECT amount, currency, refundable FROM idem_pay('jpy-zeros', 50.00, 'JPY');
SELECT amount, currency, refundable FROM idem_pay('clf', 0.0001, 'CLF');
SELECT amount, currency, refundable FROM idem_pay('largest', 999999999999999999.99);

-- 50, 50.0 and 50.00 are one amount
SELECT amount, replayed FROM idem_pay('usd', 50.0);
SELECT amount, replayed FROM idem_pay('usd', 50.00);
SELECT amount, replayed FROM idem_pay('usd', 5e1);

-- unknown currencies
SELECT pg_temp.error($$SELECT idem_pay('k', 50, 'XYZ')$$);
SELECT pg_temp.error($$SELECT idem_pay('k', 50, 'usd')$$);
SELECT pg_temp.error($$SELECT idem_pay('k', 50, 'USD ')$$);
SELECT pg_temp.error($$SELECT idem_pay('k', 50, '')$$);
SELECT pg_temp.error($$SELECT idem_pay('k', 50, 'XXX')$$);
SELECT pg_temp.error($$SELECT idem_pay('k', 50, 'XAU')$$);
SELECT pg_temp.error($$SELECT idem_pay('k', 50, repeat('€', 1000000))$$);

-- the default currency is a setting
SET idempotency.currency = 'JPY';
SELECT amount, currency FROM idem_pay('default-jpy', 50);
SELECT pg_temp.error($$SELECT idem_pay('k', 50.5)$$);
SET idempotency.currency = 'nonsense';
SELECT pg_temp.error($$SELECT idem_pay('k', 50)$$);
SELECT amount, currency FROM idem_pay('named', 50, 'EUR');
RESET idempotency.currency;

-- a user's own currencies: known at once, gone after a rollback, and preferred to ISO 4217
SELECT pg_temp.error($$SELECT idem_pay('k', 0.00000001, 'BTC')$$);
BEGIN;
INSERT INTO idempotency.currency VALUES ('BTC', 8);
SELECT amount, currency FROM idem_pay('btc-rolled-back', 0.00000001, 'BTC');
ROLLBACK;
SELECT pg_temp.error($$SELECT idem_pay('k', 0.00000001, 'BTC')$$);
INSERT INTO idempotency.currency VALUES ('BTC', 8), ('POINTS', 0), ('ETH', 18), ('USD', 4);
SELECT amount, currency FROM idem_pay('btc', 0.00000001, 'BTC');
SELECT amount, currency FROM idem_pay('points', 7, 'POINTS');
SELECT amount, currency FROM idem_pay('wei', 0.000000000000000001, 'ETH');
SELECT amount, currency FROM idem_pay('usd-4', 50.0001);
SELECT pg_temp.error($$SELECT idem_pay('k', 1.000000001, 'BTC')$$);
UPDATE idempotency.currency SET exponent = 3 WHERE code = 'USD';
SELECT pg_temp.error($$SELECT idem_pay('k', 50.0001)$$);
INSERT INTO idempotency.currency SELECT 'T' || g, 1 FROM generate_series(1000, 1099) g;
SELECT amount, currency FROM idem_pay('many', 50.1, 'T1099');
TRUNCATE idempotency.currency;
SELECT pg_temp.error($$SELECT idem_pay('k', 0.00000001, 'BTC')$$);
SELECT pg_temp.error($$SELECT idem_pay('k', 50.001)$$);

-- a replay works when its currency is no longer known
SELECT amount, currency, replayed FROM idem_pay('btc', 0.00000001, 'BTC');
SELECT amount, currency, replayed FROM idem_pay('usd-4', 50.0001);

-- what idempotency.currency refuses
SELECT pg_temp.error($$INSERT INTO idempotency.currency VALUES ('btc', 8)$$);
SELECT pg_temp.error($$INSERT INTO idempotency.currency VALUES ('BTC', 19)$$);
SELECT pg_temp.error($$INSERT INTO idempotency.currency VALUES ('BTC', -1)$$);
SELECT pg_temp.error($$INSERT INTO idempotency.currency VALUES ('BTC', NULL)$$);
SELECT pg_temp.error($$SELECT idempotency.table_changed()$$);

-- accounts are not supported yet
SELECT pg_temp.error($$SELECT idem_pay('k', 50, from_account => 'alice')$$);
SELECT pg_temp.error($$SELECT idem_pay('k', 50, to_account => 'bob')$$);

-- every code of ISO 4217 has the number of decimals that the standard gives it
SELECT exponent, count(*), string_agg(code, ' ' ORDER BY code) AS codes
FROM (SELECT code, (SELECT max(e) FROM generate_series(0, 5) e
		WHERE pg_temp.error(format($f$SELECT idem_pay('iso %s %s', %s, %L)$f$, code, e, 1 + 0.1 ^ e, code)) = 'no error') AS exponent
	FROM unnest(string_to_array('AED AFN ALL AMD AOA ARS AUD AWG AZN BAM BBD BDT BHD BIF BMD BND BOB BOV BRL BSD BTN BWP BYN BZD CAD CDF CHE CHF CHW CLF CLP CNY COP COU CRC CUP CVE CZK DJF DKK DOP DZD EGP ERN ETB EUR FJD FKP GBP GEL GHS GIP GMD GNF GTQ GYD HKD HNL HTG HUF IDR ILS INR IQD IRR ISK JMD JOD JPY KES KGS KHR KMF KPW KRW KWD KYD KZT LAK LBP LKR LRD LSL LYD MAD MDL MGA MKD MMK MNT MOP MRU MUR MVR MWK MXN MXV MYR MZN NAD NGN NIO NOK NPR NZD OMR PAB PEN PGK PHP PKR PLN PYG QAR RON RSD RUB RWF SAR SBD SCR SDG SEK SGD SHP SLE SOS SRD SSP STN SVC SYP SZL THB TJS TMT TND TOP TRY TTD TWD TZS UAH UGX USD USN UYI UYU UYW UZS VED VES VND VUV WST XAD XAF XCD XCG XOF XPF YER ZAR ZMW ZWG', ' ')) code) c
GROUP BY exponent ORDER BY exponent;

-- no refused call stored a row
SELECT count(*) FROM idempotency.operation WHERE key = 'k';
