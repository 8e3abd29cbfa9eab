"""Who may ask: the page itself, in a browser on this machine.

Any site that you visit can make your browser send requests to 127.0.0.1. So a request that changes something must come
from this page, which Origin says, and must be JSON. A site can also give its own name the address 127.0.0.1 (DNS
rebinding), and would then be this page's origin. So Host must be a name of this machine.
"""
import re

from starlette.responses import PlainTextResponse

HOST = re.compile(r"(?:127\.0\.0\.1|localhost)(?::[0-9]{1,5})?")
LARGEST_BODY = 4096

HEADERS = {
    # Nothing from elsewhere, nothing inline, in no frame. A string never becomes HTML.
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; "
                               "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'; "
                               "require-trusted-types-for 'script'; trusted-types 'none'",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    "Cache-Control": "no-store",
    # If a connection breaks that a browser has used before, it sends the request again by itself. Here only the page may.
    "Connection": "close",
}


class Guard:
    def __init__(self, app):
        self.app = app

    async def __call__(self, scope, receive, send):
        if scope["type"] != "http":
            return await self.app(scope, receive, send)

        async def send_with_headers(message):
            if message["type"] == "http.response.start":
                headers = [(name.lower().encode(), value.encode()) for name, value in HEADERS.items()]
                message = {**message, "headers": [*message.get("headers", []), *headers]}
            await send(message)

        refused = refusal(scope["method"], scope["headers"])
        app = PlainTextResponse(refused[1], refused[0]) if refused else self.app
        await app(scope, receive, send_with_headers)


def refusal(method, headers):
    """The status and the text of a refusal, or None."""
    def header(name):
        values = [value.decode("latin-1") for other, value in headers if other == name]
        return values[0] if len(values) == 1 else ""

    host = header(b"host").lower()
    if not HOST.fullmatch(host):
        return 421, "This page is at 127.0.0.1 or localhost."
    if method == "GET":
        return None
    if method != "POST":
        return 405, "GET or POST."
    if header(b"origin") != f"http://{host}":
        return 403, "Only this page may send this. By hand, add the header Origin."
    if header(b"content-type").partition(";")[0].strip().lower() != "application/json":
        return 415, "The body must be application/json."
    length = header(b"content-length")
    if not length.isdecimal():
        return 411, "Content-Length is required."
    if len(length) > 9 or int(length) > LARGEST_BODY:
        return 413, f"The body is larger than {LARGEST_BODY} bytes."
    return None
