-- The router, and the clients' notebook. Variables: one, two, four: the directories of the servers.
SET client_min_messages = warning;
CREATE EXTENSION idempotency_router CASCADE;

-- Partitions 0 and 1 are on server one. Partitions 2 and 3 are on server two or on its standby, whichever is the primary.
SELECT idem_create_partitions('dbname=pay%s', 4);
CREATE USER MAPPING FOR postgres SERVER idempotency OPTIONS (user 'postgres');
SELECT idem_move_partition(p, format('host=%s dbname=pay%s', :'one', p)) FROM generate_series(0, 1) p;
SELECT idem_move_partition(p, format('host=%s,%s dbname=pay%s target_session_attrs=primary', :'two', :'four', p))
FROM generate_series(2, 3) p;
SELECT idem_claim_partitions();

SELECT idem_grant('shop');
CREATE USER MAPPING FOR shop SERVER idempotency OPTIONS (user 'shop');

-- What the clients write down. It stands for their own memory, so it is no part of a real router.
CREATE SCHEMA client AUTHORIZATION shop;
SET ROLE shop;
SET search_path = client, public;

-- Each client of pgbench is a shop, and each partition has four of them.
CREATE TABLE shop (client integer PRIMARY KEY, scope text NOT NULL, partition integer NOT NULL);
INSERT INTO shop
SELECT row_number() OVER () - 1, scope, partition
FROM (SELECT scope, partition, row_number() OVER (PARTITION BY partition ORDER BY n) AS number
	FROM generate_series(1, 200) n, format('shop-%s', n) AS scope, idem_partition(scope)) s
WHERE number <= 4
ORDER BY number, partition;

CREATE TABLE answer (
	client integer, number integer, amount numeric NOT NULL, payment_id uuid NOT NULL, replayed boolean NOT NULL, at timestamptz NOT NULL,
	PRIMARY KEY (client, number));
CREATE TABLE error (client integer, number integer, amount numeric NOT NULL, sqlstate text NOT NULL, at timestamptz NOT NULL);

-- Sends a payment, and writes down the answer or the error. After an error, the client sends the same payment again.
-- pgbench alone cannot do that: it gives up a client at such an error.
CREATE FUNCTION pay(client integer, number integer, amount numeric, OUT answered boolean)
LANGUAGE plpgsql
AS $$
DECLARE
	receipt idem_receipt;
BEGIN
	SELECT p.* INTO receipt
	FROM shop s, idem_pay('order-' || $1 || '-' || $2, $3, scope => s.scope) p
	WHERE s.client = $1;
	INSERT INTO answer VALUES ($1, $2, $3, receipt.payment_id, receipt.replayed, clock_timestamp());
	answered := true;
EXCEPTION WHEN connection_exception OR operator_intervention OR transaction_rollback OR read_only_sql_transaction THEN
	INSERT INTO error VALUES ($1, $2, $3, SQLSTATE, clock_timestamp());
	answered := false;
END
$$;
ALTER FUNCTION pay SET search_path = client, public;
