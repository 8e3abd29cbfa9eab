#!/usr/bin/python3
"""Two clients of a pooler in transaction mode, which share one server connection. The first says SET, and the second pays."""
import os

import psycopg


def connect():
    return psycopg.connect(autocommit=True, prepare_threshold=None)


def call(name, connection, query):
    try:
        result = connection.execute(query).fetchone()[0]
    except psycopg.Error as error:
        result = error.sqlstate
    print(f"{name}: {result}")


first, second = connect(), connect()
first.execute("SET idempotency.scope = 'tenant-a'")
first.execute("SET idempotency.declines = 'record'")
call("no scope", second, "SELECT replayed FROM idem_pay('order', 10)")
call("a scope", second, "SELECT replayed FROM idem_pay('order', 10, scope => 'b')")
refund = """SELECT status FROM idem_refund('refund', (SELECT payment_id FROM idem_lookup('order', 'b')), 11,
    scope => 'b', declines => 'raise')"""
call("too large a refund", second, refund)
first.execute("RESET ALL")
call("no scope, another setting", second, "SELECT replayed FROM idem_pay('order', 10)")
call("a scope, another setting", second, "SELECT replayed FROM idem_pay('order', 10, scope => 'b')")
call("the key of the refund", second, "SELECT count(*) FROM idem_lookup('refund', 'b')")
