#!/usr/bin/python3
"""Prints two ledgers side by side, ours and the processor's. The exit status is 1 if they differ.

    reconcile.py            every order
    reconcile.py -q         only the orders that differ, and the totals
"""
import json
import sys
import time
from decimal import Decimal

import shop

LINE = "{:<12}{:<10}{:>12}{:>12}{:>10}{:>12}{:>12}  {}"

# %s: the processor's lists of charges and of refunds. An order that is "charging" differs: nobody knows yet.
COMPARE = """
    WITH charges AS (
        SELECT c.* FROM json_to_recordset(%s) AS c (id text, "order" text, currency text, amount numeric, status text)
        WHERE status = 'succeeded'),
    refunds AS (
        SELECT r.* FROM json_to_recordset(%s) AS r (charge text, amount numeric, status text)
        WHERE status = 'succeeded'),
    theirs AS (
        SELECT "order" AS order_id, currency, count(*) AS times, sum(amount) AS charged,
            coalesce(sum((SELECT sum(amount) FROM refunds WHERE charge = c.id)), 0) AS given_back
        FROM charges c GROUP BY 1, 2),
    ours AS (
        SELECT o.order_id, o.state, o.currency, p.captured, p.refunded
        FROM orders o, idem_payment(o.payment_id) p)
    SELECT order_id, coalesce(o.state, 'none') AS state, coalesce(o.currency, t.currency) AS currency,
        coalesce(captured, 0) AS captured, coalesce(refunded, 0) AS refunded,
        coalesce(times, 0) AS times, coalesce(charged, 0) AS charged, coalesce(given_back, 0) AS given_back,
        CASE WHEN o.state = 'charging' OR o.state = 'paid' AND t.order_id IS NULL OR o.currency <> t.currency THEN false
            ELSE coalesce(captured - refunded, 0) = coalesce(charged - given_back, 0)
        END AS same
    FROM ours o FULL JOIN theirs t USING (order_id) ORDER BY length(order_id), order_id"""


def ask(path):
    for _ in range(50):
        try:
            return json.dumps(shop.call("GET", path))
        except shop.NotKnown:
            time.sleep(0.1)
    sys.exit("the processor does not answer")


def show(*columns):
    print(LINE.format(*(f"{column:,}" if isinstance(column, Decimal) else column for column in columns)).rstrip())


def compare(quiet=False):
    lists = [ask("/charges"), ask("/refunds")]
    rows = shop.once(lambda connection: connection.execute(COMPARE, lists).fetchall())
    show("order", "ours", "captured", "refunded", "charged", "for", "refunded", "")
    for row in rows:
        if not (quiet and row.same):
            show(row.order_id, row.state, row.captured, row.refunded, f"{row.times} x", row.charged, row.given_back,
                 "" if row.same else "DIFFERS")
    for currency in sorted({row.currency for row in rows}):
        those = [row for row in rows if row.currency == currency]
        show("total", currency, sum(row.captured for row in those), sum(row.refunded for row in those), "",
             sum(row.charged for row in those), sum(row.given_back for row in those), "")
    differing = [row.order_id for row in rows if not row.same]
    print(f"{len(rows)} orders, {len(differing)} differ")
    return differing


if __name__ == "__main__":
    sys.exit(1 if compare("-q" in sys.argv[1:]) else 0)
