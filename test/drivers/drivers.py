#!/usr/bin/python3
"""What psycopg and asyncpg make of our arguments and errors. Connects as libpq's environment says, and prints a line for
each call: its name, and what came of it."""
import asyncio
import decimal

import asyncpg
import psycopg
from psycopg.types.json import Json, Jsonb

connection = psycopg.connect(autocommit=True)


def psycopg_call(name, query, *values):
    try:
        result = connection.execute(query, values).fetchone()[0]
    except psycopg.Error as error:
        result = error.sqlstate
    print(f"psycopg, {name}: {result}")


psycopg_call("request as Json", "SELECT outcome FROM idem_begin('p-1', %s, lease => '1h')", Json({"a": 1}))
psycopg_call("request as Jsonb", "SELECT outcome FROM idem_begin('p-2', %s, lease => '1h')", Jsonb({"a": 1}))
psycopg_call("request as str", "SELECT outcome FROM idem_begin('p-3', %s, lease => '1h')", '{"a": 1}')
psycopg_call("request as bytes", "SELECT outcome FROM idem_begin('p-4', %s, lease => '1h')", b"\x00\xff")
psycopg_call("response as Jsonb", "SELECT idem_complete('p-1', %s, 1)", Jsonb({"ok": True}))
psycopg_call("response as Json", "SELECT idem_complete('p-2', %s, 1)", Json({"ok": True}))
psycopg_call("the response", "SELECT response->>'ok' FROM idem_lookup_request('p-2')")
psycopg_call("metadata as Json", "SELECT metadata->>'a' FROM idem_pay('p-5', 1, metadata => %s)", Json({"a": 1}))
psycopg_call("metadata as Jsonb", "SELECT replayed FROM idem_pay('p-5', 1, metadata => %s)", Jsonb({"a": 1}))
psycopg_call("args as a list", "SELECT rows->0->>'guest' FROM idem_execute('p-6', 'SELECT $1::int AS room, $2::text AS guest', %s)", ["8", "Bob"])
psycopg_call("amount as Decimal", "SELECT amount FROM idem_pay('p-7', %s)", decimal.Decimal("1234567.89"))
psycopg_call("amount as str", "SELECT amount FROM idem_pay('p-8', %s)", "1234567.89")
psycopg_call("amount as float", "SELECT amount FROM idem_pay('p-9', %s)", 1234567.89)
psycopg_call("amount as None", "SELECT amount FROM idem_refund('p-10', (SELECT payment_id FROM idem_lookup('p-7')), %s)", None)


async def with_asyncpg():
    connection = await asyncpg.connect()

    async def call(name, query, *values):
        try:
            result = await connection.fetchval(query, *values)
        except asyncpg.PostgresError as error:
            # The SQLSTATE comes first: asyncpg takes what it does not know for fatal, and it is not.
            result = f"{error.sqlstate}{' (called fatal)' if isinstance(error, asyncpg.FatalPostgresError) else ''}"
        print(f"asyncpg, {name}: {result}")

    await call("amount as Decimal", "SELECT amount FROM idem_pay('a-1', $1)", decimal.Decimal("50.00"))
    await call("amount as float", "SELECT amount FROM idem_pay('a-2', $1)", 0.1)
    await call("amount as None", "SELECT amount FROM idem_pay('a-3', $1)", None)
    await call("metadata as str", "SELECT metadata->>'a' FROM idem_pay('a-4', 1, metadata => $1)", '{"a": 1}')
    await call("another amount", "SELECT amount FROM idem_pay('a-1', $1)", decimal.Decimal("51"))
    await call("the connection is not lost", "SELECT amount FROM idem_pay('a-1', $1)", decimal.Decimal("50"))
    await connection.close()


asyncio.run(with_asyncpg())
