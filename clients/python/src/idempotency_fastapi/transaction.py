"""A transaction on a connection of the pool.

The connection goes back as it came. If the handler has changed what outlives a transaction, it is closed instead.
"""

from __future__ import annotations

import contextlib
import inspect
import logging
from typing import Any, AsyncIterator, Callable, NoReturn, Sequence
from weakref import WeakKeyDictionary

import psycopg
from fastapi.concurrency import contextmanager_in_threadpool
from psycopg.rows import tuple_row
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request

from .answer import NoConnection

log = logging.getLogger("idempotency")

# What may outlive a transaction: settings that the server knows, roles, LISTEN, temporary tables. Locks are given up.
_STATE = """
    SELECT concat_ws(',', session_user, current_user,
        (SELECT string_agg(name || '=' || setting, ',' ORDER BY name) FROM pg_settings WHERE source = 'session'),
        (SELECT string_agg(channel, ',') FROM pg_listening_channels() channel),
        (SELECT string_agg(oid::text, ',') FROM pg_class WHERE relnamespace = pg_my_temp_schema()),
        pg_advisory_unlock_all())"""
_SAVEPOINT = "idempotency_handler"
_ENDS = ("commit", "rollback")      # what a handler must not call
_ATTRIBUTES = ("row_factory", "cursor_factory", "prepare_threshold")

# What the pool has set on its connections.
_states: WeakKeyDictionary[Any, Any] = WeakKeyDictionary()


class Transaction:
    def __init__(self, connection: Any) -> None:
        self.connection = connection
        self.end_with = "COMMIT"
        self.lent = False

    @contextlib.asynccontextmanager
    async def lent_to(self, request: Request) -> AsyncIterator[None]:
        """Gives the connection to a handler, as request.state.db, for as long as it runs."""
        await self.query(f"SAVEPOINT {_SAVEPOINT}")
        self.lent = True
        request.state.db = self.connection
        for name in _ENDS:
            setattr(self.connection, name, refuse)
        try:
            yield
        finally:
            del request.state.db
            for name in _ENDS:
                delattr(self.connection, name)

    async def undo(self) -> None:
        """Undoes what the handler did."""
        await self.query(f"ROLLBACK TO SAVEPOINT {_SAVEPOINT}")

    async def query(self, query: str, *values: Any) -> Any:
        """Runs a query of our own, and returns its row if it has one."""
        cursor = await self.execute(query, values)
        return await call(cursor.fetchone) if cursor.description else None

    async def execute(self, query: str, values: Sequence[Any] = ()) -> Any:
        # The connection's own cursors may be of any kind. Without values, a query may have several statements.
        kind: Any = psycopg.AsyncCursor if isinstance(self.connection, psycopg.AsyncConnection) else psycopg.Cursor
        return await call(kind(self.connection, row_factory=tuple_row).execute, query, values or None, prepare=False)

    async def begin(self) -> None:
        if self.connection not in _states:
            try:
                await self.query("SELECT FROM idem_lookup('-', '-')")      # loads the library, and so its settings
            except psycopg.errors.UndefinedFunction as error:
                raise RuntimeError("no idem_lookup(): is the extension in this database, and its schema in the search_path?") from error
            _states[self.connection] = self.state(await self.query(_STATE))
        if self.connection.autocommit:
            await self.execute("BEGIN")

    async def end(self) -> None:
        if not self.lent:
            await self.execute(self.end_with)
        else:
            # If the handler has ended the transaction, or a query has failed, there is no savepoint to release.
            release = f"RELEASE SAVEPOINT {_SAVEPOINT};" if self.end_with == "COMMIT" else ""
            cursor = await self.execute(f"{release}{self.end_with};{_STATE}")
            while cursor.nextset():
                pass
            if self.state(await call(cursor.fetchone)) != _states[self.connection]:
                log.warning("a connection is closed, as the handler has left a setting, LISTEN or a temporary table")
                await call(self.connection.close)

    def state(self, row: Any) -> Any:
        return row, [getattr(self.connection, name) for name in _ATTRIBUTES]


@contextlib.asynccontextmanager
async def transaction(pool: Any) -> AsyncIterator[Transaction]:
    context = pool.connection()
    if not hasattr(context, "__aenter__"):      # a pool without async
        context = contextmanager_in_threadpool(context)
    async with contextlib.AsyncExitStack() as stack:
        try:
            connection = await stack.enter_async_context(context)
        except psycopg.OperationalError as error:
            raise NoConnection(str(error)) from error
        current = Transaction(connection)
        await current.begin()
        try:
            yield current
            await current.end()
        except BaseException:
            current.end_with = "ROLLBACK"
            with contextlib.suppress(psycopg.Error):    # the pool closes a connection that is lost
                await current.end()
            raise


def refuse(*_: Any) -> NoReturn:
    raise RuntimeError("the handler must not end the transaction: its answer does. Use db.transaction() to undo a part")


async def call(function: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
    """Calls a method of psycopg, with or without async."""
    if inspect.iscoroutinefunction(function):
        return await function(*args, **kwargs)
    return await run_in_threadpool(function, *args, **kwargs)
