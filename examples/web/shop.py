"""Two shops on one page: one whose requests have no keys, and one whose requests have them.

Connects as libpq's environment says, as the role shop. The pool, and so the settings of the connections, are those of
examples/fastapi. Both shops use the same package, and the same route class. They differ in the SQL.

Money is text in the page and numeric in the database. There is no float on the way.
"""
import json
import logging
import os
import pathlib
import re
from decimal import Decimal

import psycopg
import uvicorn
from app import lifespan, pool          # of examples/fastapi
from fastapi import APIRouter, FastAPI, HTTPException, Request, Response
from idempotency_fastapi import Idempotency
from psycopg.rows import dict_row
from psycopg_pool import AsyncConnectionPool

from guard import Guard
from trouble import Protocol, Trouble

HERE = pathlib.Path(__file__).parent
DECIMALS = {"USD": 2, "EUR": 2, "JPY": 0, "KWD": 3}
ID = re.compile(r"[a-z0-9-]{1,40}")
AMOUNT = re.compile(r"[0-9]{1,7}(?:\.[0-9]{1,3})?")
ROWS = 40                               # of a ledger, newest first; the sums are of all

# Without keys: each request books a row.
INSERT = """INSERT INTO plain_payment
    (visit, order_id, kind, amount, currency, item)
VALUES
    (%(visit)s, %(order)s, %(kind)s, %(amount)s, %(currency)s, %(item)s)
RETURNING *"""
WITHOUT = {"pay": INSERT, "refund": INSERT}

# With keys: the first request of a key books a row, and any other gets its receipt.
WITH = {
    "pay": """SELECT * FROM idem_pay(
    key => %(key)s,
    amount => %(amount)s,
    currency => %(currency)s,
    reference => %(order)s,
    metadata => %(metadata)s,
    scope => %(visit)s)""",
    "refund": """SELECT * FROM idem_refund(
    key => %(key)s,
    payment_id => %(payment)s,
    amount => %(amount)s,
    reference => %(order)s,
    metadata => %(metadata)s,
    scope => %(visit)s)""",
}

# The ledger of a visit, as JSON: sums, the orders, and the newest rows.
LEDGER = """
WITH rows AS (
    SELECT *, row_number() OVER (PARTITION BY shop, order_id, kind ORDER BY created_at, payment_id) AS time
    FROM auditor.booking WHERE visit = %(visit)s
    ORDER BY created_at DESC, payment_id LIMIT %(rows)s)
SELECT json_build_object(
    'money', (SELECT coalesce(json_agg(m ORDER BY currency), '[]') FROM auditor.money m WHERE visit = %(visit)s),
    'orders', (SELECT coalesce(json_agg(json_build_object('shop', shop, 'order', order_id, 'kind', kind, 'times', times,
            'currency', currency, 'booked', booked::text)), '[]')
        FROM auditor.once o WHERE visit = %(visit)s AND order_id = %(order)s),
    'rows', (SELECT coalesce(json_agg(json_build_object('shop', shop, 'order', order_id, 'kind', kind, 'time', time,
            'amount', amount::text, 'currency', currency, 'item', item, 'payment', payment_id,
            'at', to_char(created_at, 'YYYY-MM-DD"T"HH24:MI:SS"Z"')) ORDER BY created_at DESC, payment_id), '[]')
        FROM rows))::text"""

auditors = AsyncConnectionPool(min_size=1, max_size=4, timeout=2, open=False,
                               kwargs={"user": "auditor", "autocommit": True, "options": "-c timezone=UTC"})
trouble = Trouble(pool)
# The routes have a transaction, in request.state.db, which is committed before the answer is sent.
routes = APIRouter(route_class=Idempotency(pool, key="none", limit=4096).route)


async def book(request, queries):
    """Books what the request asks for, and answers with the row."""
    try:
        body = await request.json()
    except (ValueError, RecursionError):
        raise HTTPException(400, "the body is no JSON")
    values = checked(body)
    query = queries[values["kind"]]
    if "%(key)s" in query:
        if not request.state.idempotency_key:
            raise HTTPException(400, "an Idempotency-Key header is required")
        values["key"] = request.state.idempotency_key
    cursor = psycopg.AsyncClientCursor(request.state.db, row_factory=dict_row)
    sql = cursor.mogrify(query, values)
    await cursor.execute(sql)           # so the SQL that the page shows is the SQL that runs
    row = await cursor.fetchone()
    trouble.note(request, "found" if row.get("replayed") else "booked", sql=f"{sql};")
    await trouble.before_commit(request)
    return Response(json.dumps(row, default=str), 201, media_type="application/json")


def checked(body):
    """The values of a request. The page sends only good ones, so the messages are for those who send by hand."""
    def text(name, pattern):
        value = body.get(name)
        if not isinstance(value, str) or not pattern.fullmatch(value):
            raise HTTPException(400, f"{name} is missing or malformed")
        return value

    if not isinstance(body, dict):
        raise HTTPException(400, "the body must be an object")
    currency = body.get("currency")
    if not isinstance(currency, str) or currency not in DECIMALS:
        raise HTTPException(400, f"currency must be one of {', '.join(DECIMALS)}")
    amount = Decimal(text("amount", AMOUNT))
    rounded = amount.quantize(Decimal(1).scaleb(-DECIMALS[currency]))
    if amount != rounded or not amount:
        raise HTTPException(400, f"amount must be above zero, with at most {DECIMALS[currency]} decimals in {currency}")
    item = text("item", re.compile(r"[^\0\ud800-\udfff]{1,60}", re.DOTALL)).strip() or "nothing in particular"
    values = {"kind": text("kind", re.compile("pay|refund")), "visit": text("visit", ID), "order": text("order", ID),
              "amount": rounded, "currency": currency, "item": item, "metadata": json.dumps({"item": item})}
    if values["kind"] == "refund":
        values["payment"] = text("payment", re.compile("[0-9a-f-]{36}"))
    return values


@routes.post("/without-keys")
async def without_keys(request: Request):
    return await book(request, WITHOUT)


@routes.post("/with-keys")
async def with_keys(request: Request):
    return await book(request, WITH)


app = FastAPI(docs_url=None, redoc_url=None, openapi_url=None)
app.include_router(routes)


@app.get("/ledger")
async def ledger(visit: str, order: str = ""):
    if not ID.fullmatch(visit) or order and not ID.fullmatch(order):
        raise HTTPException(400, "visit or order is malformed")
    try:
        async with auditors.connection() as db:
            cursor = await db.execute(LEDGER, {"visit": visit, "order": order, "rows": ROWS})
            content, = await cursor.fetchone()
    except psycopg.OperationalError:
        raise HTTPException(503, "the database does not answer")
    return Response(content, media_type="application/json")


# What really happened to an attempt, which its client may not have been told.
@app.get("/attempts/{attempt}")
async def attempts(attempt: str):
    return trouble.notes.get(attempt, [])


def page(path, file, media_type):
    async def send():
        return Response((HERE / "page" / file).read_bytes(), media_type=media_type)
    app.get(path)(send)


page("/", "index.html", "text/html")
page("/style.css", "style.css", "text/css")
page("/page.js", "page.js", "text/javascript")
page("/client.js", "client.js", "text/javascript")
page("/icon.svg", "icon.svg", "image/svg+xml")


class Lifespan:
    """Opens both pools, and closes them."""

    def __init__(self, app):
        self.context = lifespan(app)

    async def __aenter__(self):
        await self.context.__aenter__()
        await auditors.open()

    async def __aexit__(self, *error):
        await auditors.close()
        return await self.context.__aexit__(*error)


app.router.lifespan_context = Lifespan

if __name__ == "__main__":
    # What goes wrong here is wanted, and the page tells it.
    for name in "idempotency", "psycopg.pool":
        logging.getLogger(name).setLevel(logging.ERROR)
    uvicorn.run(Guard(trouble.around(app)), http=Protocol, host="127.0.0.1", port=int(os.environ.get("PORT", "8000")),
                log_level="error", limit_concurrency=100, timeout_keep_alive=5)
