"""An answer, the form in which it is stored, and the answers to errors."""

from __future__ import annotations

import base64
import json
import re
from http.client import responses
from typing import NamedTuple

import psycopg
from starlette.background import BackgroundTask
from starlette.responses import Response

# The headers that are stored with an answer, unless you name others.
HEADERS = (
    "Cache-Control", "Content-Disposition", "Content-Encoding", "Content-Language", "Content-Location", "Content-Type",
    "ETag", "Expires", "Last-Modified", "Link", "Location", "Retry-After", "Vary", "WWW-Authenticate",
)

# Try again with the same key: it was done or not. A serialization failure, a deadlock, lock_timeout, a standby, a timeout of
# the transaction; no resources, the server stops, or is cancelled; a lost connection.
_FOR_NOW = re.compile("08|25006|25P0[34]|40|53|55P03|57|58")
# Errors of the extension. With idempotency.error_class = PT, they are of that class.
_OURS = re.compile("(?:ID|PT)([45][0-9][0-9])")
# The request is to blame: a value is missing, malformed, too long, out of range, or refused by a table. The rest of class 22,
# such as a division by zero, is a fault of the service.
_BAD_REQUEST = re.compile("2200[1-8]|2202[1-3]|2203|22P0|54|23502|23514")


class Answer(NamedTuple):
    status: int
    headers: list[tuple[str, str]]
    body: bytes

    def stored(self, kept: frozenset[str]) -> str:
        """The stored form, as JSON. It is ASCII, so it fits into a database of any encoding."""
        headers = [(name, value) for name, value in self.headers if name.lower() in kept]
        return json.dumps({"status": self.status, "headers": headers, **text(self.body)})

    @classmethod
    def replayed(cls, stored: str) -> Answer:
        answer = json.loads(stored)
        body = base64.b64decode(answer["base64"]) if "base64" in answer else answer["body"].encode()
        headers = [(name, value) for name, value in answer["headers"]]
        return cls(answer["status"], [*headers, ("idempotent-replayed", "true")], body)

    def response(self, background: BackgroundTask | None = None) -> Response:
        response = Response(self.body, self.status, background=background)      # sets Content-Length
        response.raw_headers += [
            (name.encode("latin-1"), value.encode("latin-1"))
            for name, value in self.headers if name.lower() != "content-length"]
        return response


class NoConnection(Exception):
    """The pool has given no connection."""


class Problem(Exception):
    """A request that is refused before anything is done."""

    def __init__(self, status: int, detail: str):
        self.answer = problem(status, detail)


def text(body: bytes) -> dict[str, str]:
    """Bytes as JSON: text if they are UTF-8 without NUL, which PostgreSQL cannot hold, or else base64."""
    try:
        if b"\0" not in body:
            return {"body": body.decode()}
    except UnicodeDecodeError:
        pass
    return {"base64": base64.b64encode(body).decode()}


def problem(status: int, detail: str, code: str | None = None) -> Answer:
    """An answer as RFC 9457 has it. code: the SQLSTATE."""
    content = {"type": "about:blank", "title": responses.get(status, "Error"), "status": status, "detail": detail}
    headers = [("content-type", "application/problem+json")]
    if code:
        content["code"] = code
    if status == 503 or code in ("ID409", "PT409"):
        headers.append(("retry-after", "1"))
    return Answer(status, headers, json.dumps(content).encode())


def sqlstate(error: BaseException) -> str:
    """The SQLSTATE of an error of psycopg or asyncpg."""
    return getattr(error, "sqlstate", None) or ""


def for_now(error: BaseException) -> bool:
    """Whether another try may succeed. An error of psycopg without SQLSTATE is the connection's, or the pool's."""
    return bool(_FOR_NOW.match(sqlstate(error)) if sqlstate(error) else isinstance(error, psycopg.OperationalError))


def is_ours(error: BaseException) -> bool:
    """Whether the extension raised the error for the client, such as ID422."""
    return bool(_OURS.fullmatch(sqlstate(error)))


def refusal(error: BaseException) -> Answer | None:
    """The answer to an error of the database, or None if it is not for the client."""
    code = sqlstate(error)
    if isinstance(error, NoConnection):
        return problem(503, "The database gives no connection, and nothing was done. Send the request again, with the same key.")
    if for_now(error):
        return problem(503, "The request may have been done or not. Send it again, with the same key.", code)
    if ours := _OURS.fullmatch(code):
        status = int(ours[1])
    elif _BAD_REQUEST.match(code):
        status = 400
    else:
        return None
    diag = getattr(error, "diag", None)     # psycopg's; asyncpg has message and detail on the error
    message = diag.message_primary if diag else getattr(error, "message", None)
    detail = diag.message_detail if diag else getattr(error, "detail", None)
    if not ours and not code.startswith("22"):      # the others name tables, and show rows
        return problem(status, "The database refuses a value of the request.", code)
    return problem(status, ": ".join(filter(None, [message or str(error), detail])), code)
