"""Runs a handler, and holds its answer instead of sending it."""

from __future__ import annotations

import asyncio
from typing import Any, Awaitable, Callable, NamedTuple

from starlette.background import BackgroundTask
from starlette.exceptions import HTTPException
from starlette.middleware.exceptions import ExceptionMiddleware
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import Message, Receive, Scope, Send

from .answer import Answer

Handler = Callable[[Request], Awaitable[Response]]
NOT_STORED = (401, 403, 408, 425, 429)  # another try may succeed, as after a 5xx: the key stays free


class Held(NamedTuple):
    """An answer, the background tasks that were given with it, and the exception that it answers."""

    answer: Answer
    background: BackgroundTask | None = None
    raised: Exception | None = None

    @property
    def is_done(self) -> bool:
        """Whether what the handler did is committed. What raised may be half done, whatever it is answered with."""
        return self.answer.status < 400 and self.raised is None

    @property
    def is_refusal(self) -> bool:
        """Whether the answer is stored, although nothing is done. To raise HTTPException is a way to answer."""
        status = self.answer.status
        return (400 <= status < 500 and status not in NOT_STORED
                and (self.raised is None or isinstance(self.raised, HTTPException)))


def exception_handlers(request: Request) -> dict[Any, Any]:
    """The application's handlers of exceptions, but not that of all other exceptions, which answers last."""
    handlers = getattr(request.scope.get("app"), "exception_handlers", {})
    return {kind: function for kind, function in handlers.items() if kind not in (500, Exception)}


async def hold(handler: Handler, request: Request, body: bytes, limit: int) -> Held:
    """Returns the answer of a handler, or of the application's handler of the exception that it raised.

    body: what was read of the request. The handler reads it as if it came now, and does not learn that the client left.
    """
    background: BackgroundTask | None = None
    raised: Exception | None = None
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
        nonlocal background, raised
        try:
            response = await handler(Request(scope, receive))
            background, response.background = response.background, None
            await response(scope, receive, send)
        except Exception as error:
            raised = error
            raise

    # The application's handlers of exceptions make answers of HTTPException and the like. Errors of the database are ours.
    theirs = {kind: function for kind, function in exception_handlers(request).items() if not hasattr(kind, "sqlstate")}
    await ExceptionMiddleware(route, theirs)({**request.scope, "extensions": {}}, receive, keep)
    headers = [(name.decode("latin-1"), value.decode("latin-1")) for name, value in start["headers"]]
    return Held(Answer(start["status"], headers, bytes(content)), background, raised)
