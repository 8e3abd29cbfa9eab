"""A transaction for each request, and a key for requests that are not idempotent by themselves.

Each request gets a connection, as request.scope["connection"], in a transaction. It is committed before the client
gets an answer. If the status is 400 or above, all that the route did there is undone.

POST and PATCH need an Idempotency-Key. The key, what the route did and its answer are one transaction. If the request
is sent again, it gets the same answer, byte for byte. The key stays free after an exception, an error of the
database, a 5xx, or a 4xx that a retry may avoid. Any other 4xx of the route is the key's answer from then on.
"""
import asyncio
import json
import random

import psycopg

KEYED = ("POST", "PATCH")
JSON = (b"content-type", b"application/json")
KEPT = (b"content-type", b"location")   # the headers of an answer that are replayed
FOR_NOW = (401, 403, 408, 425, 429)     # answers that are not stored; a 5xx is not stored either
AGAIN = ("40001", "40P01")              # the whole transaction is run again


class Idempotency:
    def __init__(self, app, connect, own_key=()):
        self.app = app
        self.connect = connect              # opens a connection
        self.own_key = own_key              # paths whose routes pass the key to the database themselves

    async def __call__(self, scope, receive, send):
        if scope["type"] != "http":
            return await self.app(scope, receive, send)
        body, more = b"", True
        while more:
            message = await receive()
            if message["type"] == "http.disconnect":
                return                      # the client left before it had sent all of the request
            body += message.get("body", b"")
            more = message.get("more_body", False)

        keys = [value for name, value in scope["headers"] if name == b"idempotency-key"]
        if scope["method"] in KEYED and len(keys) != 1:
            return await reply(send, 400, [JSON], b'{"error": "one Idempotency-Key header is needed"}')

        for pause in (0.02, 0.1, 0.5, None):
            try:
                status, headers, content = await self.transaction(scope, body, receive)
                break
            except psycopg.Error as error:
                if pause is None or error.sqlstate not in AGAIN:
                    status, headers, content = refusal(error)
                    break
            await asyncio.sleep(pause * random.uniform(0.5, 1.5))

        await reply(send, status, headers, content)

    async def transaction(self, scope, body, receive):
        keyed = scope["method"] in KEYED and scope["path"] not in self.own_key
        async with await self.connect() as connection:      # on an exception, rolls back
            await connection.set_autocommit(True)
            await connection.execute("BEGIN")
            if keyed:
                key = dict(scope["headers"])[b"idempotency-key"].decode("latin-1")
                begun = await connection.execute(
                    """SELECT outcome, response FROM idem_begin(%s, json_build_object('method', %s::text,
                        'path', %s::text, 'query', %s::text, 'body', nullif(convert_from(%s, 'UTF8'), '')::json))""",
                    [key, scope["method"], (scope.get("raw_path") or scope["path"].encode()).decode("latin-1"),
                     scope["query_string"].decode("latin-1"), body])
                outcome, stored = await begun.fetchone()
                if outcome in ("completed", "failed"):
                    headers = [(name.encode("latin-1"), value.encode("latin-1")) for name, value in stored["headers"]]
                    return stored["status"], headers + [(b"idempotent-replayed", b"true")], stored["body"].encode()

            inner = {**scope, "connection": connection}
            async with connection.transaction() as work:    # a savepoint
                status, headers, content = await self.route(inner, body, receive)
                if status >= 400:
                    raise psycopg.Rollback(work)

            if status >= 500 or status in FOR_NOW or "endpoint" not in inner:   # no "endpoint": there is no such route
                await connection.rollback()
                return status, headers, content
            if keyed:
                kept = [(name.decode("latin-1"), value.decode("latin-1")) for name, value in headers if name in KEPT]
                answer = json.dumps({"status": status, "headers": kept, "body": content.decode()})
                end = "idem_complete" if status < 400 else "idem_fail"
                await connection.execute(f"SELECT {end}(%s, %s::json)", [key, answer])
            # if a query has failed and the route ignored that, COMMIT rolls back
            if (await connection.execute("COMMIT")).statusmessage != "COMMIT":
                raise RuntimeError("not committed: a query had failed")
        return status, headers, content

    async def route(self, scope, body, receive):
        """Runs the route with the body that was read. Returns its answer instead of sending it."""
        messages = [{"type": "http.request", "body": body, "more_body": False}]
        sent = []

        async def receive_again():
            return messages.pop() if messages else await receive()

        async def keep(message):
            sent.append(message)

        await self.app(scope, receive_again, keep)
        headers = [(name, value) for name, value in sent[0]["headers"] if name != b"content-length"]
        return sent[0]["status"], headers, b"".join(message.get("body", b"") for message in sent[1:])


async def reply(send, status, headers, content):
    headers = headers + [(b"content-length", b"%d" % len(content))]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": content})


def refusal(error):
    """The answer to an error of the database."""
    state = error.sqlstate or ""
    if state.startswith("ID"):
        status = int(state[2:])
    elif isinstance(error, psycopg.DataError) or state[:2] == "54" or state in ("23502", "23514"):
        status = 400                        # class 22: malformed; 54: too large; 23502, 23514: refused by a table
    elif isinstance(error, psycopg.OperationalError) or state == "25006":
        status = 503                        # it may have been done or not: retry with the same key
    else:
        raise error                         # 500, and a traceback in the log
    headers = [JSON]
    if status in (409, 503):
        headers.append((b"retry-after", b"1"))
    answer = {"error": "try again" if status == 503 else error.diag.message_primary or str(error)}
    if state[:2] in ("ID", "22") and error.diag.message_detail:     # others' may show rows
        answer["detail"] = error.diag.message_detail
    return status, headers, json.dumps(answer).encode()
