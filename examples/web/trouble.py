"""What goes wrong, for real. A request says in its header Trouble what shall happen to it:

    answer      after COMMIT, the TCP connection to the browser is cut
    database    before COMMIT, the session of the database is ended
    crash       after COMMIT, a process of the server is killed, so that all of it restarts. The answer is lost, too

Each request has a number of its own, in the header Attempt. What happened to it is noted under that number.
"""
import asyncio
import os
import re
import signal

import psycopg
from uvicorn.protocols.http.h11_impl import H11Protocol

ATTEMPT = re.compile(r"[0-9a-f]{16}")
KEPT = 1000         # attempts whose notes are kept
PATIENCE = 6        # seconds that a crash waits for the other shop


class Protocol(H11Protocol):
    """HTTP, with the connections at hand, by the client's address and port."""
    transports = {}

    def connection_made(self, transport):
        super().connection_made(transport)
        self.transports[tuple(self.client)] = transport

    def connection_lost(self, error):
        self.transports.pop(tuple(self.client), None)
        super().connection_lost(error)


class Trouble:
    def __init__(self, pool):
        self.pool = pool
        self.notes = {}             # attempt -> what happened
        self.crashes = {}           # act -> a crash that waits for the second shop

    def around(self, app):
        async def with_trouble(scope, receive, send):
            headers = dict(scope.get("headers", ()))
            attempt = headers.get(b"attempt", b"").decode("latin-1")
            if scope["type"] != "http" or scope["method"] != "POST" or not ATTEMPT.fullmatch(attempt):
                return await app(scope, receive, send)
            if attempt in self.notes:
                # The browser has sent it again by itself. Only what the page sends is part of the play.
                return await cut(scope, receive)
            if len(self.notes) >= KEPT:
                del self.notes[next(iter(self.notes))]
            self.notes[attempt] = []
            scope["attempt"] = attempt
            scope["trouble"] = headers.get(b"trouble", b"").decode("latin-1")
            scope["act"] = headers.get(b"act", b"").decode("latin-1")[:40]
            lost = False

            async def send_or_lose(message):
                nonlocal lost
                if message["type"] == "http.response.start" and message["status"] == 201:
                    # The transaction is committed by now.
                    self.add(scope, "committed")
                    if scope["trouble"] == "crash":
                        await self.crash(scope)
                    if scope["trouble"] in ("answer", "crash"):
                        self.add(scope, "cut")
                        lost = True
                        await cut(scope, receive)
                if not lost:
                    await send(message)

            await app(scope, receive, send_or_lose)
        return with_trouble

    async def before_commit(self, request):
        """Called within the transaction."""
        if request.scope.get("trouble") == "database":
            pid = request.state.db.info.backend_pid
            async with self.pool.connection() as other:
                await other.execute("SELECT pg_terminate_backend(%s, 5000)", [pid])
            self.note(request, "ended", sql=f"SELECT pg_terminate_backend({pid}, 5000);")

    async def crash(self, scope):
        """Both shops go through the same crash: the first to come waits for the second."""
        act = scope["act"]
        if act in self.crashes:
            arrived, crash = self.crashes.pop(act)
            arrived.set()
        else:
            arrived = asyncio.Event()
            crash = asyncio.create_task(self.crash_after(act, arrived))
            self.crashes[act] = arrived, crash
        await crash
        self.add(scope, "crashed")

    async def crash_after(self, act, arrived):
        """Kills a process of the server, and waits until the server has recovered."""
        try:
            await asyncio.wait_for(arrived.wait(), PATIENCE)
        except asyncio.TimeoutError:
            self.crashes.pop(act, None)
        async with self.pool.connection() as db:
            pid = db.info.backend_pid
        try:
            os.kill(pid, signal.SIGKILL)
        except ProcessLookupError:
            pass    # another tab's crash has ended it
        for _ in range(80):
            await asyncio.sleep(0.1)
            try:
                await (await psycopg.AsyncConnection.connect(connect_timeout=2)).close()
                break
            except psycopg.OperationalError:
                pass
        await self.pool.check()         # closes the connections that were lost

    def note(self, request, what, **more):
        self.add(request.scope, what, **more)

    def add(self, scope, what, **more):
        if scope.get("attempt") in self.notes:
            self.notes[scope["attempt"]].append({"what": what, **more})


async def cut(scope, receive):
    """Cuts the connection of a request. Nothing that is still to be sent goes out."""
    transport = Protocol.transports.get(tuple(scope["client"]))
    if transport:
        transport.abort()
    while (await receive())["type"] != "http.disconnect":
        pass
