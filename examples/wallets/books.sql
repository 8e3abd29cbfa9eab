-- The books: what the demo prints, and what to look at in psql afterwards.

SELECT idem_grant('auditor', 'auditor');
CREATE SCHEMA AUTHORIZATION auditor;

SET ROLE auditor;
SET search_path = auditor, shop, public;

-- Each account as it must be, and as it is.
CREATE VIEW balance AS
	SELECT d.account, d.kind, d.currency, d.amount AS due, i.posted AS idem_pay, i.held AS idem_held,
		h.balance AS by_hand, h.held AS hand_held
	FROM due_account d
		LEFT JOIN idempotency.account_balance i ON i.name = d.account
		LEFT JOIN hand_account h ON h.account = d.account;

-- The shops and the wallets have what the customers have brought.
CREATE VIEW money AS
	SELECT currency || ' ' || coalesce(CASE kind WHEN 'wallet' THEN 'wallets' ELSE kind END, 'in all') AS what,
		sum(due) AS due, sum(idem_pay) AS idem_pay, sum(by_hand) AS by_hand, sum(by_hand) - sum(due) AS wrong_by
	FROM balance
	WHERE kind <> 'world'
	GROUP BY GROUPING SETS ((currency, kind), currency)
	ORDER BY currency, kind DESC NULLS LAST;

-- How often each thing was done that had to be done once.
CREATE VIEW done AS
	SELECT way, d.key, d.kind, count(c.key) AS times
	FROM due_operation d
		CROSS JOIN (VALUES ('idem_pay'), ('hand')) AS w (way)
		LEFT JOIN (SELECT 'idem_pay' AS way, key FROM idempotency.operation
			UNION ALL
			SELECT 'hand', key FROM hand_entry) AS c USING (way, key)
	GROUP BY way, d.key, d.kind;

-- The demo prints the names of these columns as they are.
CREATE VIEW counts AS
	SELECT *
	FROM (SELECT way,
			count(*) AS "calls sent",
			count(*) FILTER (WHERE outcome = 'before') AS "  connection lost before COMMIT was sent",
			count(*) FILTER (WHERE outcome = 'after') AS "  answer lost after COMMIT was sent",
			count(*) FILTER (WHERE outcome = 'crash') AS "  no answer, as the server crashed",
			count(*) FILTER (WHERE replayed) AS "  answered from the stored receipt",
			count(*) FILTER (WHERE outcome = 'declined') AS "  declined: the wallet has not enough"
		FROM sent GROUP BY way) AS s
		JOIN (SELECT way,
				count(*) FILTER (WHERE kind IN ('pay', 'capture') AND times > 0) AS "orders paid",
				count(*) FILTER (WHERE kind IN ('pay', 'capture') AND times > 1) AS "  more than once",
				count(*) FILTER (WHERE kind IN ('pay', 'capture') AND times = 0)
					AS "  not at all, though the wallet was filled for them",
				count(*) FILTER (WHERE kind = 'refund' AND times > 1) AS "refunds given more than once",
				count(*) FILTER (WHERE kind = 'top-up' AND times > 1) AS "top-ups credited more than once"
			FROM done GROUP BY way) AS d USING (way)
		JOIN (SELECT way,
				count(*) AS "wallets",
				count(*) FILTER (WHERE amount <> due OR held <> 0) AS "  with a wrong balance",
				count(*) FILTER (WHERE amount < 0) AS "  below zero"
			FROM (SELECT 'idem_pay' AS way, kind, due, idem_pay AS amount, idem_held AS held FROM balance
				UNION ALL
				SELECT 'hand', kind, due, by_hand, hand_held FROM balance) AS all_balances
			WHERE kind = 'wallet' GROUP BY way) AS b USING (way)
	ORDER BY way DESC;

-- What can be wrong with idem_pay; each must be empty.

CREATE VIEW wrong_balance AS
	SELECT * FROM balance WHERE (idem_pay, idem_held) IS DISTINCT FROM (due, 0);

-- Wallets that had less than nothing at some time, in the order of their entries.
CREATE VIEW below_zero AS
	SELECT *
	FROM (SELECT a.name AS account, e.seq,
			sum(e.amount - coalesce(e.held, 0)) OVER (PARTITION BY a.name ORDER BY e.seq) AS available
		FROM idempotency.entry e
			JOIN idempotency.account a ON a.id = e.account
			JOIN due_account d ON d.account = a.name
		WHERE d.kind = 'wallet') AS entries
	WHERE available < 0;

-- Operations that are missing or should not be, or have another amount.
CREATE VIEW wrong_operation AS
	SELECT key, d.amount AS due, o.amount
	FROM due_operation d FULL JOIN idempotency.operation o USING (key)
	WHERE d.amount IS DISTINCT FROM o.amount
		OR CASE d.kind WHEN 'top-up' THEN 'pay' ELSE d.kind END <> o.kind;

-- Answers with another payment_id than that of the key's operation.
CREATE VIEW wrong_receipt AS
	SELECT s.*
	FROM sent s LEFT JOIN idempotency.operation o USING (key)
	WHERE s.way = 'idem_pay' AND (s.outcome = 'done' OR s.replayed) AND s.payment_id IS DISTINCT FROM o.payment_id;

-- Currencies whose entries do not add up to zero, over all accounts.
CREATE VIEW wrong_sum AS
	SELECT a.currency, sum(e.amount) AS amount
	FROM idempotency.entry e JOIN idempotency.account a ON a.id = e.account
	GROUP BY a.currency
	HAVING sum(e.amount) <> 0;

RESET ROLE;
