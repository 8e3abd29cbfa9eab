-- The two shops, and the books of both. Run by a superuser.

CREATE EXTENSION idempotency;

-- The shop's role can call the functions, and has a schema of its own. It has no rights on the extension's tables.
CREATE ROLE shop LOGIN;
SELECT idem_grant('shop');
CREATE SCHEMA AUTHORIZATION shop;

-- The books are read by a role that can change nothing.
CREATE ROLE auditor LOGIN IN ROLE pg_read_all_data;
CREATE SCHEMA AUTHORIZATION auditor;

SET ROLE shop;

-- The shop without keys: an order can be charged as often as it comes.
CREATE TABLE shop.plain_payment (
	payment_id		uuid DEFAULT gen_random_uuid() PRIMARY KEY,
	visit			text NOT NULL,		-- each page has its own ledger
	order_id		text NOT NULL,
	kind			text NOT NULL CHECK (kind IN ('pay', 'refund')),
	amount			numeric NOT NULL,
	currency		text NOT NULL,
	item			text NOT NULL,
	created_at		timestamptz NOT NULL DEFAULT clock_timestamp()
);

CREATE INDEX ON shop.plain_payment (visit);

SET ROLE auditor;

-- What both shops have booked. In the shop with keys, a visit is a scope, and the order is the reference.
CREATE VIEW auditor.booking AS
	SELECT 'with' AS shop, scope AS visit, reference AS order_id, kind, amount, currency, metadata->>'item' AS item,
		payment_id, created_at
	FROM idempotency.operation
	WHERE kind IN ('pay', 'refund')
	UNION ALL
	SELECT 'without', visit, order_id, kind, amount, currency, item, payment_id, created_at
	FROM shop.plain_payment;

-- How often an order was charged, and how often refunded. The first time is due, and any other is too much.
CREATE VIEW auditor.once AS
	SELECT shop, visit, order_id, kind, count(*) AS times, min(currency) AS currency, min(amount) AS due,
		sum(amount) AS booked
	FROM auditor.booking
	GROUP BY shop, visit, order_id, kind;

-- Sums, per currency. Money leaves the database as text.
CREATE VIEW auditor.money AS
	SELECT shop, visit, kind, count(*) AS orders, count(*) FILTER (WHERE times > 1) AS twice,
		currency, sum(due)::text AS due, sum(booked)::text AS booked, nullif(sum(booked - due), 0)::text AS too_much
	FROM auditor.once
	GROUP BY shop, visit, kind, currency;

RESET ROLE;
