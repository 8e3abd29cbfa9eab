"""Runs a handler, and holds its answer instead of sending it."""

from __future__ import annotations

import asyncio
from typing import Any, Awaitable, Callable, Optional, Tuple

from starlette.background import BackgroundTask
from starlette.middleware.exceptions import ExceptionMiddleware
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import Message, Receive, Scope, Send

from .answer import Answer

Handler = Callable[[Request], Awaitable[Response]]
Held = Tuple[Answer, Optional[BackgroundTask]]


async def hold(handler: Handler, request: Request, body: bytes, limit: int) -> Held:
    """Returns the answer, and the background tasks that were given with it.

    body: what was read of the request. The handler reads it as if it came now, and does not learn that the client left.
    """
    background: BackgroundTask | None = None
    unread = [{"type": "http.request", "body": body, "more_body": False}]
    start: Message = {}
    content = bytearray()

    async def receive() -> Message:
        if not unread:
            await asyncio.Event().wait()
        return unread.pop()

    async def keep(message: Message) -> None:
        if message["type"] == "http.response.start":
            start.update(message)
        content.extend(message.get("body", b""))
        if len(content) > limit:
            raise ValueError(f"the answer is larger than {limit} bytes")

    async def route(scope: Scope, receive: Receive, send: Send) -> None:
        nonlocal background
        response = await handler(Request(scope, receive))
        background, response.background = response.background, None
        await response(scope, receive, send)

    # The application's handlers of exceptions make answers of HTTPException and the like. Errors of the database are ours.
    handlers: dict[Any, Any] = {
        kind: function for kind, function in getattr(request.scope.get("app"), "exception_handlers", {}).items()
        if kind not in (500, Exception) and not hasattr(kind, "sqlstate")}
    await ExceptionMiddleware(route, handlers)({**request.scope, "extensions": {}}, receive, keep)
    headers = [(name.decode("latin-1"), value.decode("latin-1")) for name, value in start["headers"]]
    return Answer(start["status"], headers, bytes(content)), background
