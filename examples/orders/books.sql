-- The books: what the demo prints, and what to look at in psql afterwards.

CREATE SCHEMA AUTHORIZATION auditor;

SET ROLE auditor;
SET search_path = auditor, shop, public;

CREATE VIEW charge AS
	SELECT 'idem_pay' AS way, key AS order_id, payment_id, amount, currency
	FROM idempotency.operation
	UNION ALL
	SELECT 'plain', order_id, payment_id, amount, currency
	FROM plain_payment;

CREATE VIEW money AS
	SELECT currency, coalesce(due, 0) AS due, coalesce(idem_pay, 0) AS idem_pay,
		coalesce(plain, 0) AS plain, coalesce(plain, 0) - coalesce(due, 0) AS overcharged
	FROM (SELECT currency, sum(amount) AS due FROM orders GROUP BY currency) AS o
		FULL JOIN (SELECT currency, sum(amount) FILTER (WHERE way = 'idem_pay') AS idem_pay,
				sum(amount) FILTER (WHERE way = 'plain') AS plain
			FROM charge GROUP BY currency) AS c USING (currency)
	ORDER BY currency;

-- The demo prints the names of these columns as they are.
CREATE VIEW counts AS
	SELECT way,
		count(*) AS "payments sent",
		count(*) FILTER (WHERE EXISTS (
			SELECT FROM sent o
			WHERE o.way = s.way AND o.order_id = s.order_id AND o.delivery <> s.delivery
				AND o.from_time < s.to_time AND s.from_time < o.to_time))
			AS "  while another for the same order was on its way",
		count(*) FILTER (WHERE lost = 'before') AS "  connection lost before COMMIT was sent",
		count(*) FILTER (WHERE lost = 'after') AS "  answer lost after COMMIT was sent",
		count(*) FILTER (WHERE again AND EXISTS (
			SELECT FROM sent o
			WHERE o.way = s.way AND o.delivery = s.delivery AND o.lost = 'after'
				AND o.payment_id = s.payment_id))
			AS "    recovered: sent again, the same payment_id",
		min(charges) AS "charges made",
		count(*) FILTER (WHERE replayed) AS "duplicates answered from the stored receipt",
		count(*) FILTER (WHERE lost = 'before' AND NOT replayed) AS "rolled back with the connection",
		min(overcharged) AS "orders charged more than once",
		min(most) AS "most charges for one order"
	FROM sent AS s
		JOIN (SELECT way, sum(n) AS charges, count(*) FILTER (WHERE n > 1) AS overcharged, max(n) AS most
			FROM (SELECT way, count(*) AS n FROM charge GROUP BY way, order_id) AS by_order
			GROUP BY way) AS c USING (way)
	GROUP BY way
	ORDER BY way;

-- Orders without their one charge by idem_pay, or with another amount; and charges without an order.
CREATE VIEW wrong_charge AS
	SELECT o.order_id, c.payment_id
	FROM orders o
		FULL JOIN (SELECT * FROM charge WHERE way = 'idem_pay') AS c USING (order_id)
	WHERE (o.amount, o.currency) IS DISTINCT FROM (c.amount, c.currency)
		OR (SELECT count(*) FROM charge d WHERE d.way = 'idem_pay' AND d.order_id = o.order_id) <> 1;

-- Receipts of idem_pay that have another payment_id than the order's charge.
CREATE VIEW wrong_receipt AS
	SELECT s.*
	FROM sent s
		LEFT JOIN (SELECT * FROM charge WHERE way = 'idem_pay') AS c USING (order_id)
	WHERE s.way = 'idem_pay' AND s.payment_id IS DISTINCT FROM c.payment_id
		AND (s.replayed OR s.lost IS DISTINCT FROM 'before');
