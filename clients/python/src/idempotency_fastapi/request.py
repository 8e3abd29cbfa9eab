"""What is read of a request: its key, its body, and what makes it the same request when the key comes again."""

from __future__ import annotations

import json
import re
from typing import Any

from starlette.requests import ClientDisconnect, Request

from .answer import Problem, text

# The header of the IETF draft is a string of RFC 8941. Most clients send it bare.
_QUOTED = re.compile(r'"((?:[ !#-\[\]-~]|\\["\\])+)"')
_BARE = re.compile(r"[!#-~](?:[ !#-~]*[!#-~])?")
_JSON = re.compile(r"application/(?:.+\+)?json")
_BOUNDARY = re.compile(r';\s*boundary=("[^"]*"|[^\s;]*)', re.IGNORECASE)


def read_key(request: Request) -> str | None:
    """The key, or None if there is no header."""
    values = request.headers.getlist("idempotency-key")
    if not values:
        return None
    if len(values) > 1:
        raise Problem(400, "There is more than one Idempotency-Key header.")
    key = values[0]
    if match := _QUOTED.fullmatch(key):
        key = re.sub(r"\\(.)", r"\1", match[1])
    elif not _BARE.fullmatch(key):
        key = ""
    if 1 <= len(key) <= 255:
        return key
    raise Problem(400, "The Idempotency-Key header is malformed: "
                       "it must be 1 to 255 characters of printable ASCII, bare or in double quotes.")


async def read_body(request: Request, limit: int) -> bytes:
    body = bytearray()
    try:
        async for chunk in request.stream():
            body += chunk
            if len(body) > limit:
                raise Problem(413, f"The body is larger than {limit} bytes.")
    except ClientDisconnect:
        raise Problem(400, "The client left before it had sent all of the request.") from None
    return bytes(body)


def fingerprint(request: Request, body: bytes) -> str:
    """The request as JSON. The database compares JSON by meaning, so a JSON body is compared so, too."""
    path: bytes = request.scope.get("raw_path") or request.scope["path"].encode()
    members: dict[str, Any] = {
        "method": request.method,
        "path": path.partition(b"?")[0].decode("latin-1"),
        "query": request.scope["query_string"].decode("latin-1"),
    }
    if not body:
        return json.dumps(members)
    content_type = request.headers.get("content-type", "")
    media_type = content_type.partition(";")[0].strip().lower()
    if _JSON.fullmatch(media_type) and is_json(body):
        return json.dumps({**members, "type": media_type})[:-1] + f', "body": {body.decode()}}}'
    if boundary := _BOUNDARY.search(content_type):      # each try may have another one
        content_type = content_type.replace(boundary[0], "")
        body = body.replace(boundary[1].strip('"').encode("latin-1"), b"")
    return json.dumps({**members, "type": content_type, **text(body)})


def is_json(body: bytes) -> bool:
    def refuse(constant: str) -> None:
        raise ValueError(constant)      # Python takes NaN and Infinity

    try:
        json.loads(body.decode(), parse_constant=refuse)
        return True
    except (ValueError, RecursionError):
        return False
