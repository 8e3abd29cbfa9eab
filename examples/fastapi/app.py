"""Payments over HTTP that are safe to repeat. Connects as libpq's environment says (PGHOST, PGUSER, ...).

All amounts go as text from the client's JSON to PostgreSQL's numeric and back. There is no float on the way.
"""
from contextlib import asynccontextmanager

from fastapi import APIRouter, FastAPI, Request, Response
from idempotency_fastapi import Idempotency
from psycopg_pool import AsyncConnectionPool

SETTINGS = {
    "idempotency.scope": "shop",
    "idempotency.currency": "USD",          # of requests that name none
    "idempotency.in_flight": "fail",        # 409 instead of waiting
    "lock_timeout": "5s",
    "idle_in_transaction_session_timeout": "10s",
    "timezone": "UTC",
}
options = " ".join(f"-c {name}={value}" for name, value in SETTINGS.items())
pool = AsyncConnectionPool(min_size=1, max_size=10, timeout=5, open=False, kwargs={"options": options})

# The handlers of both have a transaction, in request.state.db, which is committed before the answer is sent.
keyed = APIRouter(route_class=Idempotency(pool).route)                  # each request needs a key
unkeyed = APIRouter(route_class=Idempotency(pool, key="none").route)    # or it is idempotent by itself

# A receipt as JSON. A receipt never changes, so the bytes of a replay do not either.
RECEIPT = """json_build_object('id', p.payment_id, 'kind', p.kind, 'status', p.status,
    'amount', p.amount::text, 'currency', p.currency, 'refundable', p.refundable::text,
    'reference', p.reference, 'metadata', p.metadata, 'created_at', p.created_at)::text"""


async def run(request, query, **values):
    """Runs a query that returns one row. In the query, %(body)s is the body of the request."""
    cursor = await request.state.db.execute(query, {"body": await request.body(), **values})
    return await cursor.fetchone()


def answer(content, status=200, **headers):
    return Response(content, status, headers, media_type="application/json")


# The header is the payment's own key, which never expires. The keys of keyed routes expire after a day.
@unkeyed.post("/payments")
async def pay(request: Request):
    receipt, status, replayed = await run(request, f"""
        SELECT {RECEIPT}, p.status, p.replayed
        FROM (SELECT convert_from(%(body)s, 'UTF8')::jsonb) r (body),
            idem_pay(%(key)s::text, (body->>'amount')::numeric, body->>'currency',
                reference => body->>'reference', metadata => nullif(body->'metadata', 'null')) p""",
        key=request.state.idempotency_key)
    headers = {"Idempotent-Replayed": "true"} if replayed else {}
    return answer(receipt, 410 if status == "cancelled" else 201, **headers)


# Reads the payment. The status is that of now. A repeated POST returns the status of its time.
@unkeyed.get("/payments/{payment_id}")
async def look(request: Request, payment_id: str):
    state, = await run(request, """
        SELECT json_build_object('id', p.payment_id, 'status', p.status, 'currency', p.currency,
            'captured', p.captured::text, 'refunded', p.refunded::text, 'points', coalesce(s.points, 0))::text
        FROM idem_payment(%(id)s::uuid) p LEFT JOIN points s USING (payment_id)""", id=payment_id)
    return answer(state)


# Gives the money back. idem_cancel() derives its key from the payment's key, so it is done once.
@unkeyed.delete("/payments/{payment_id}")
async def give_back(request: Request, payment_id: str):
    receipt, = await run(request, f"""
        SELECT {RECEIPT}
        FROM idem_cancel((SELECT key FROM idem_history(%(id)s::uuid) WHERE seq = 1)) p""", id=payment_id)
    return answer(receipt)


# Replaces a value: however often it is sent, the result is the same.
@unkeyed.put("/payments/{payment_id}/points")
async def set_points(request: Request, payment_id: str):
    points, = await run(request, """
        INSERT INTO points (payment_id, points)
        SELECT payment_id, (convert_from(%(body)s, 'UTF8')::jsonb->>'points')::int FROM idem_payment(%(id)s::uuid)
        ON CONFLICT (payment_id) DO UPDATE SET points = excluded.points
        RETURNING json_build_object('points', points)::text""", id=payment_id)
    return answer(points)


# Increases a value: only the key makes it safe to repeat.
@keyed.patch("/payments/{payment_id}/points")
async def add_points(request: Request, payment_id: str):
    points, total = await run(request, """
        INSERT INTO points AS p (payment_id, points)
        SELECT payment_id, (convert_from(%(body)s, 'UTF8')::jsonb->>'add')::int FROM idem_payment(%(id)s::uuid)
        ON CONFLICT (payment_id) DO UPDATE SET points = p.points + excluded.points
        RETURNING json_build_object('points', points)::text, points""", id=payment_id)
    if total > 1000:
        return answer('{"error": "more than 1000 points"}', 409)    # undoes the INSERT
    return answer(points)


# Makes something new, as any POST. Only the key prevents a second parcel.
@keyed.post("/payments/{payment_id}/parcels")
async def send_parcel(request: Request, payment_id: str):
    status, closed = await run(request, """
        SELECT status, EXISTS (SELECT FROM closed) FROM idem_payment(%(id)s::uuid)""", id=payment_id)
    if closed:
        return answer('{"error": "closed"}', 503)   # not for good: the key stays free
    if status != "succeeded":
        return answer('{"error": "not paid, or given back"}', 409)
    parcel, parcel_id = await run(request, """
        INSERT INTO parcel (payment_id, address)
        VALUES (%(id)s::uuid, convert_from(%(body)s, 'UTF8')::jsonb->>'address')
        RETURNING json_build_object('parcel', parcel_id, 'address', address, 'sent_at', sent_at)::text, parcel_id""",
        id=payment_id)
    return answer(parcel, 201, Location=f"/payments/{payment_id}/parcels/{parcel_id}")


@asynccontextmanager
async def lifespan(app):
    async with pool:
        yield

app = FastAPI()
app.router.lifespan_context = lifespan
app.include_router(keyed)
app.include_router(unkeyed)
