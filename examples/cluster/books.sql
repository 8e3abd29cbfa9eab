-- The views that count. "there" has what is really on the partitions, read from each of them at the end.
SET client_min_messages = warning;
SET ROLE shop;
SET search_path = client, public;

CREATE TABLE there (partition integer, scope text, key text, payment_id uuid, amount numeric);
CREATE INDEX ON there (key, scope);
-- What has happened: how long it took, and what is printed.
CREATE TABLE event (what text PRIMARY KEY, since timestamptz NOT NULL, until timestamptz);
CREATE TABLE note (what text, at timestamptz DEFAULT clock_timestamp());

CREATE VIEW answered AS
SELECT partition, scope, 'order-' || client || '-' || number AS key, amount, payment_id, replayed, at
FROM answer JOIN shop USING (client);

CREATE VIEW failed AS
SELECT partition, scope, 'order-' || client || '-' || number AS key, client, number, amount, sqlstate, at
FROM error JOIN shop USING (client);

-- For each partition: the payments that were answered, and those that are there. A payment is lost if the one that was answered is
-- not there. It is paid twice if its key is there more than once, on whatever partition.
CREATE VIEW ledger AS
SELECT p.partition, a.payments AS answered, t.payments AS there, a.lost, t.twice, a.money AS money_answered, t.money AS money_there
FROM (SELECT DISTINCT partition FROM shop) p,
LATERAL (
	SELECT count(*) AS payments, coalesce(sum(amount), 0.00) AS money, count(*) FILTER (WHERE NOT EXISTS (
		SELECT FROM there t
		WHERE (t.partition, t.scope, t.key, t.payment_id, t.amount) = (a.partition, a.scope, a.key, a.payment_id, a.amount))) AS lost
	FROM answered a WHERE a.partition = p.partition) a,
LATERAL (
	SELECT count(*) AS payments, coalesce(sum(amount), 0.00) AS money,
		count(*) FILTER (WHERE (SELECT count(*) FROM there o WHERE (o.scope, o.key) = (t.scope, t.key)) > 1) AS twice
	FROM there t WHERE t.partition = p.partition) t
ORDER BY partition;

-- The errors that clients saw, and what became of these payments.
CREATE VIEW errors AS
SELECT sqlstate, count(*) AS times, count(DISTINCT (scope, key)) AS payments,
	count(DISTINCT (scope, key)) FILTER (WHERE EXISTS (
		SELECT FROM answered a WHERE (a.scope, a.key) = (f.scope, f.key))) AS answered
FROM failed f GROUP BY sqlstate ORDER BY sqlstate;

-- Payments that were made at a call whose answer was lost, with its error. A later call got the receipt.
CREATE VIEW lost_answers AS
SELECT a.*, f.sqlstate, f.calls
FROM answered a, LATERAL (
	SELECT (array_agg(sqlstate ORDER BY at))[1] AS sqlstate, count(*) AS calls
	FROM failed WHERE (scope, key) = (a.scope, a.key)) f
WHERE a.replayed ORDER BY key;
