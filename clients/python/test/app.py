"""The service that the package is tested with, by test/http/clients. clients/node/test/app.js has the same routes."""
import asyncio
import contextlib
import gzip
import urllib.parse
from typing import Any, Dict

import psycopg
from fastapi import APIRouter, BackgroundTasks, FastAPI, HTTPException, Request, Response
from fastapi.responses import JSONResponse, StreamingResponse
from psycopg.rows import dict_row
from psycopg_pool import AsyncConnectionPool, ConnectionPool
from starlette.background import BackgroundTask
from starlette.routing import Route

from idempotency_fastapi import Idempotency


async def configure(connection):
    await connection.execute("SET application_name = 'pooled'; SET idempotency.in_flight = 'fail'")
    await connection.commit()

pool = AsyncConnectionPool(min_size=1, max_size=10, open=False, configure=configure,
                           kwargs={"row_factory": dict_row})
sync_pool = ConnectionPool(min_size=1, open=False, kwargs={"autocommit": True})
single = AsyncConnectionPool(min_size=1, max_size=1, timeout=0.5, open=False, kwargs={"autocommit": True})
down = AsyncConnectionPool("host=/nonexistent", min_size=1, timeout=0.5, open=False)


@contextlib.asynccontextmanager
async def lifespan(app):
    async with pool, single, down:
        sync_pool.open()
        yield
        sync_pool.close()

once = Idempotency(pool, scope=lambda request: request.headers.get("x-tenant"), limit=100_000)
cookies = Idempotency(pool, headers=["SET-cookie", "Content-Type"])

app = FastAPI()
app.router.lifespan_context = lifespan
routes = APIRouter(route_class=once.route)
optional = APIRouter(route_class=Idempotency(pool, key="optional").route)
plain = APIRouter(route_class=Idempotency(pool, key="none").route)
alone = APIRouter(route_class=Idempotency(single).route)
silent = APIRouter(route_class=Idempotency(down).route)
sync = APIRouter(route_class=Idempotency(sync_pool).route)


async def hit(request, what):
    await request.state.db.execute("INSERT INTO hit VALUES (%s)", [what])


@routes.post("/label")
async def label(request: Request):
    await hit(request, "label")
    return Response(b"%PDF-1.7\n\xff\xfe\0\x80", 201, media_type="application/pdf")


@routes.post("/gzip")
async def zipped():
    return Response(gzip.compress(b'{"zip": true}'), headers={"Content-Encoding": "gzip"}, media_type="application/json")


@routes.post("/nul")
async def nul():
    return Response("a\0b é 😀", media_type="text/plain")


def many(*_):
    response = JSONResponse({"ok": True}, 201, {
        "cache-control": "no-store", "Content-Disposition": 'inline; filename="x"', "Content-Language": "de", "ETag": '"7"',
        "Location": "/x", "WWW-Authenticate": "Basic", "X-Other": "1"})
    for link in "</a>; rel=next", "</b>; rel=prev":
        response.headers.append("Link", link)
    response.set_cookie("a", "1")
    response.set_cookie("b", "2")
    return response


@routes.post("/headers")
async def headers():
    return many()


@cookies
async def with_cookies(request):
    return many()


# What the handler sees of a body.
async def seen(request, body):
    await hit(request, "seen")
    return JSONResponse(body)


@routes.post("/json")
async def as_json(request: Request, body: Dict[str, Any]):
    return await seen(request, body)


@routes.post("/form")
async def as_form(request: Request):
    return await seen(request, dict(urllib.parse.parse_qsl((await request.body()).decode())))


@routes.post("/raw")
@routes.post("/late")
async def as_bytes(request: Request):
    return await seen(request, {"bytes": (await request.body()).decode("latin-1")})


@routes.post("/none")
async def unread(request: Request):
    return await seen(request, {"none": True})


# Work for after the answer, and the ways to fail before.
async def note(what):
    async with pool.connection() as connection:
        await connection.execute("INSERT INTO hit SELECT 'after ' || count(*) FROM hit WHERE what = %s", [what])


class Handled(Exception):
    """The application's handler answers it."""


async def leave(request, what):
    await hit(request, what)
    if what.startswith("handled"):
        raise Handled(what)
    if what == "redirect":
        raise HTTPException(303, headers={"Location": "/x"})
    if what == "refuse":
        raise HTTPException(409, "refused")
    if what == "raise":
        raise ValueError("raised")
    if what == "ignore":
        with contextlib.suppress(Exception):
            await request.state.db.execute("SELECT 1/0")


@routes.post("/after", status_code=201)
async def after(request: Request, tasks: BackgroundTasks):
    what = (await request.json())["what"]
    tasks.add_task(note, what)
    await leave(request, what)
    return {"what": what}


@routes.post("/after-starlette")
async def after_starlette(request: Request):
    what = (await request.json())["what"]
    await leave(request, what)
    return JSONResponse({"what": what}, 201, background=BackgroundTask(note, what))


@routes.post("/idle")
async def idle(request: Request):
    await request.state.db.execute("SET LOCAL idle_in_transaction_session_timeout = 100")
    await asyncio.sleep(0.4)
    await hit(request, "idle")


@routes.post("/sqlstate")
async def sqlstate(request: Request):
    await hit(request, "sqlstate")
    code = (await request.json())["code"]
    await request.state.db.execute(
        f"DO $$BEGIN RAISE SQLSTATE '{code}' USING MESSAGE = 'a message', DETAIL = 'A detail.'; END$$")


class LikeAsyncpg(Exception):
    sqlstate, message, detail = "ID422", "a message", "A detail."


@routes.post("/asyncpg")
async def asyncpg(request: Request):
    raise LikeAsyncpg


@routes.post("/end")
@optional.post("/end-optional")
async def end(request: Request):
    how = (await request.json())["how"]
    await hit(request, "end")
    await (getattr(request.state.db, how)() if how in ("commit", "rollback") else request.state.db.execute(how))
    return {}


@routes.post("/part")
async def part(request: Request):
    await hit(request, "kept")
    async with request.state.db.transaction(force_rollback=True):
        await hit(request, "undone")
    return {}


@routes.post("/stream")
async def stream(request: Request):
    await hit(request, "stream")

    async def parts():
        for part in "one ", "two ", "three":
            await asyncio.sleep(0.01)
            yield part
    return StreamingResponse(parts(), 201, media_type="text/plain")


@routes.get("/stream")
async def look(request: Request):
    return StreamingResponse(iter(["db: ", str(hasattr(request.state, "db")).lower()]))


@routes.post("/large")
async def large(request: Request):
    await hit(request, "large")
    return Response("x" * 100_001)


@routes.post("/slow", status_code=201)
async def slow(request: Request):
    await request.state.db.execute("SELECT pg_advisory_xact_lock(1)")
    await hit(request, "slow")
    return {"slow": True}


@optional.post("/optional", status_code=201)
async def without(request: Request):
    await hit(request, "optional")
    return {}


@plain.get("/plain")
async def transaction(request: Request):
    cursor = await request.state.db.execute("SELECT pg_current_xact_id()::text AS id")
    first = await cursor.fetchone()
    cursor = await request.state.db.execute("SELECT pg_current_xact_id()::text AS id")
    return first == await cursor.fetchone()


# All on one connection.
@alone.post("/leak")
async def leak(request: Request):
    db = request.state.db
    sql = (await request.json())["sql"]
    if sql == "row_factory":
        db.row_factory = dict_row
        return {"pid": db.info.backend_pid}
    await db.execute(sql)
    return {"pid": db.info.backend_pid}


@alone.post("/hold")
async def hold(request: Request):
    await request.state.db.execute("SELECT pg_advisory_xact_lock(1)")
    return {}


@silent.post("/down")
async def unreachable():
    return many()


# A pool without async, and a handler without it.
@sync.post("/sync", status_code=201)
def blocking(request: Request):
    request.state.db.execute("INSERT INTO hit VALUES ('sync')")
    return {"sync": True}

# They are refused when they are made.
refused = []
for make in (lambda: routes.post("/refused")(lambda request: {}), lambda: Route("/refused", once(lambda request: {}))):
    try:
        make()
    except TypeError as error:
        refused.append(str(error))


@app.get("/refused")
async def were_refused():
    return refused

for router in routes, optional, plain, alone, silent, sync:
    app.include_router(router, prefix="/shop")
app.router.routes.append(Route("/shop/cookies", with_cookies, methods=["POST"]))


@app.post("/later")
async def later(request: Request):
    return {"later": not hasattr(request.state, "db")}


@app.exception_handler(psycopg.errors.NumericValueOutOfRange)
async def handle_error(request, error):
    return JSONResponse({"error": str(error)}, 402, {"X-Handler": "app"})


@app.exception_handler(Handled)
async def handle_kind(request, error):
    return JSONResponse({"error": str(error)}, int(str(error).split()[1]))


@app.exception_handler(Exception)
async def handle(request, error):
    return JSONResponse({"error": str(error)}, 500, {"X-Handler": "app"})
