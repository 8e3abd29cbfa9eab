-- Where bench/ledger keeps what it measures.
CREATE UNLOGGED TABLE rate (waits text, round integer, way text, rate numeric);
CREATE UNLOGGED TABLE rows_read (n bigint);
-- How many entries of the index of idempotency.entry reading this balance takes: all that the scans go over, also those of rows
-- that are not visible. These numbers of the session are not reset within its transaction.
CREATE FUNCTION entries_read(account text) RETURNS bigint LANGUAGE plpgsql VOLATILE AS $$
DECLARE
	start bigint := pg_stat_get_xact_tuples_returned('idempotency.entry_pkey'::regclass);
BEGIN
	PERFORM idem_balance(account);
	RETURN pg_stat_get_xact_tuples_returned('idempotency.entry_pkey'::regclass) - start;
END
$$;
-- Payments between random wallets, each in a transaction of its own.
CREATE PROCEDURE pay_between(n integer, accounts integer) LANGUAGE plpgsql AS $$
DECLARE
	a integer;
BEGIN
	SET LOCAL synchronous_commit = off;
	FOR i IN 1 .. n LOOP
		a := floor(random() * accounts)::integer;
		PERFORM idem_pay('r' || 10000000000000 + floor(random() * 89999999999999)::bigint, 50.00,
			from_account => 'w' || a + 1, to_account => 'w' || (a + 1 + floor(random() * (accounts - 1))::integer) % accounts + 1);
		COMMIT;
	END LOOP;
END
$$;
