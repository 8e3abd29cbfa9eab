"""Runs a handler in one transaction with the key of its request and with its answer.

What happens to a request, in this order:

1. Its key and its body are read. If they are refused, no connection is needed.
2. A transaction begins. idem_begin() finds the stored answer, which is sent; or it claims the key, and the handler runs.
   The handler's connection is request.state.db.
3. The handler's answer is held. idem_complete() stores it, and COMMIT makes key, effect and answer true at once.
4. The connection goes back to the pool. Only then the answer is sent, and background tasks run.

An answer of 400 or above undoes what the handler did. It is stored with the key, unless another try may succeed.
So does an exception, whatever the application answers it with. Only HTTPException is stored.
"""

from __future__ import annotations

import asyncio
import inspect
import logging
import random
from typing import Any, Awaitable, Callable, Iterable, Optional

from fastapi.routing import APIRoute
from starlette.requests import Request
from starlette.responses import Response

from .answer import HEADERS, Answer, Problem, for_now, is_ours, refusal, sqlstate
from .held import Handler, Held, exception_handlers, hold
from .request import fingerprint, read_body, read_key
from .transaction import Transaction, transaction

log = logging.getLogger("idempotency")

SAFE = ("GET", "HEAD", "OPTIONS")       # these need no key
AGAIN = ("40001", "40P01")              # the whole transaction is run again


class Idempotency:
    """Wraps handlers: APIRouter(route_class=once.route) in FastAPI, once(handler) in Starlette.

    pool: a ConnectionPool or an AsyncConnectionPool of psycopg_pool.
    key: "required"; "optional": without a key, the handler runs in a transaction, and nothing is stored; "none": so it
        is for all requests, GET and HEAD too. Their handlers may use the key: request.state.idempotency_key.
    scope: gives the scope of a request's key. None is the setting idempotency.scope.
    headers: the names of the headers that are stored with an answer.
    limit: the largest body in bytes, of a request and of an answer.
    """

    def __init__(self, pool: Any, *, key: str = "required", scope: Callable[[Request], Optional[str]] = lambda _: None,
                 headers: Iterable[str] = HEADERS, limit: int = 1024 * 1024) -> None:
        if key not in ("required", "optional", "none"):
            raise ValueError('key must be "required", "optional" or "none"')
        self.pool = pool
        self.key = key
        self.scope = scope
        self.kept = frozenset(name.lower() for name in headers)
        self.limit = limit

    @property
    def route(self) -> type[APIRoute]:
        """The class of FastAPI's routes whose handlers are wrapped."""
        once = self

        class Route(APIRoute):
            def __init__(self, path: str, endpoint: Callable[..., Any], **options: Any) -> None:
                if hasattr(once.pool, "__aenter__") and not is_async(endpoint):
                    raise TypeError(f"{endpoint!r} must be async def, as the pool is an AsyncConnectionPool")
                super().__init__(path, endpoint, **options)

            def get_route_handler(self) -> Any:
                return once(super().get_route_handler())

        return Route

    def __call__(self, handler: Handler) -> Handler:
        if not is_async(handler):
            raise TypeError(f"{handler!r} must be async def")

        async def once(request: Request) -> Response:
            if request.method in SAFE and self.key != "none":
                return await handler(request)
            try:
                key = request.state.idempotency_key = read_key(request)
                if key is None and self.key == "required":
                    raise Problem(400, "An Idempotency-Key header is required.")
                body = await read_body(request, self.limit)
            except Problem as error:
                return error.answer.response()
            try:
                return await again(lambda: self.run(handler, request, key, body))
            except Exception as error:
                answer = refusal(error)
                if answer is None:
                    raise
                if not is_ours(error):
                    if answer.status == 400 and set(type(error).__mro__) & exception_handlers(request).keys():
                        raise       # the application answers it
                    log.warning("%s %s: %d: %s", request.method, request.url.path, answer.status, error)
                return answer.response()

        return once

    async def run(self, handler: Handler, request: Request, key: str | None, body: bytes) -> Response:
        async with transaction(self.pool) as current:
            if key is None or self.key == "none":
                held = await self.handle(current, handler, request, body)
                if not held.is_done:
                    current.end_with = "ROLLBACK"
            else:
                held = await self.handle_once(current, handler, request, key, body)
        return held.answer.response(held.background if held.is_done else None)

    async def handle_once(self, current: Transaction, handler: Handler, request: Request, key: str, body: bytes) -> Held:
        scope = self.scope(request)
        outcome, stored, scope = await current.query(
            """SELECT outcome, response::text, coalesce(%s::text, current_setting('idempotency.scope'))
               FROM idem_begin(%s::text, %s::json, scope => %s::text)""",
            scope, key, fingerprint(request, body), scope)
        if outcome in ("completed", "failed"):
            return Held(Answer.replayed(stored))
        held = await self.handle(current, handler, request, body)
        if not held.is_done and not held.is_refusal:
            current.end_with = "ROLLBACK"
            return held
        if held.is_refusal:
            await current.undo()
        end = "idem_complete" if held.is_done else "idem_fail"
        try:
            await current.query(f"SELECT {end}(%s::text, %s::json, scope => %s::text)", key, held.answer.stored(self.kept), scope)
        except Exception as error:
            if for_now(error):
                raise
            raise RuntimeError("the answer could not be stored") from error     # the client is not to blame
        return held

    async def handle(self, current: Transaction, handler: Handler, request: Request, body: bytes) -> Held:
        async with current.lent_to(request):
            return await hold(handler, request, body, self.limit)


def is_async(function: Callable[..., Any]) -> bool:
    return inspect.iscoroutinefunction(function) or inspect.iscoroutinefunction(getattr(function, "__call__"))


async def again(work: Callable[[], Awaitable[Response]]) -> Response:
    for pause in (0.02, 0.1, 0.5):
        try:
            return await work()
        except Exception as error:
            if sqlstate(error) not in AGAIN:
                raise
        await asyncio.sleep(pause * random.uniform(0.5, 1.5))
    return await work()
