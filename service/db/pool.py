"""Read-only connections to one database: a bounded number, each kept with its cursor, replaced when it has died.

aiopg drives the connections; its own pool is not used because it opens connections under the lock that all waiting
requests need, so that one host that does not answer would stop them all, and because it spends more time on a
statement than PostgreSQL does.
"""

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import aiopg
import psycopg2
import structlog
from psycopg2.extensions import make_dsn, new_type, parse_dsn, register_type

from service.errors import timed_out, unavailable

log = structlog.get_logger()

# Numerics and times stay PostgreSQL's text: the renderer needs no more of them, and they are then exact.
TEXT = new_type((1700, 1184), "TEXT", lambda value, _: value)
SESSION = {
    "default_transaction_read_only": "on",
    "timezone": "UTC",
    "datestyle": "ISO",
    "jit": "off",  # Compiling a plan costs more than these short statements take.
}
LONGEST_PAUSE = 2.0  # Seconds between attempts to reach a database at the start.


@dataclass(frozen=True, slots=True)
class Limits:
    """How many connections there are at the most, and how many seconds each step may take."""

    size: int
    connect_timeout: float
    acquire_timeout: float
    statement_timeout: float


def problem_with(dsn: str) -> str | None:
    """Why a text is no DSN, in one line, or None."""
    try:
        parse_dsn(dsn)
    except psycopg2.ProgrammingError as error:
        return _line(error)
    return None


class Pool:
    """One database, called `name` in logs."""

    def __init__(self, name: str, dsn: str, limits: Limits) -> None:
        self.name = name
        self._limits = limits
        self._dsn = make_dsn(dsn, application_name="cdr-api", options=self._options(dsn))
        self._slots = asyncio.Semaphore(limits.size)
        self._idle: list[aiopg.Cursor] = []
        self._closed = False

    async def fetch(self, statement: str, parameters: Mapping[str, Any] | None = None) -> list[tuple[Any, ...]]:
        """All rows. Raises Refused: 503 when the database cannot be had, 504 when the statement took too long."""
        async with self._slot():
            reused = bool(self._idle)
            try:
                return await self._attempt(statement, parameters)
            except psycopg2.OperationalError as error:
                if not reused:
                    raise unavailable() from error
            # The connection had died while it was idle, and so may have the others.
            self._close_idle()
            try:
                return await self._attempt(statement, parameters)
            except psycopg2.OperationalError as error:
                raise unavailable() from error

    async def answer(self) -> None:
        """Waits until the database answers, and says in the log what it waits for."""
        pause = 0.25
        while True:
            try:
                async with self._slot():
                    await self._attempt("SELECT 1", None)
            except Exception as error:
                log.warning("database does not answer yet", database=self.name, error=_line(error), retry_in=pause)
                await asyncio.sleep(pause)
                pause = min(2 * pause, LONGEST_PAUSE)
            else:
                log.info("database answers", database=self.name)
                return

    async def close(self) -> None:
        """Closes what is idle now and the rest when it comes back."""
        self._closed = True
        self._close_idle()

    @asynccontextmanager
    async def _slot(self) -> AsyncIterator[None]:
        try:
            async with asyncio.timeout(self._limits.acquire_timeout):
                await self._slots.acquire()
        except TimeoutError as error:
            raise unavailable("Too many requests are waiting for the database.") from error
        try:
            yield
        finally:
            self._slots.release()

    async def _attempt(self, statement: str, parameters: Mapping[str, Any] | None) -> list[tuple[Any, ...]]:
        cursor = self._idle.pop() if self._idle else await self._connect()
        try:
            await self._execute(cursor, statement, parameters)
            rows: list[tuple[Any, ...]] = cursor.raw.fetchall()
        finally:
            self._put_back(cursor)
        return rows

    async def _execute(self, cursor: aiopg.Cursor, statement: str, parameters: Mapping[str, Any] | None) -> None:
        task = asyncio.current_task()
        assert task is not None  # noqa: S101 # A coroutine runs in a task.
        try:
            await cursor.execute(statement, parameters)
        except asyncio.CancelledError as error:
            # aiopg reports a statement that ran past statement_timeout as a cancellation, which this is not.
            if task.cancelling() or cursor.connection.closed:
                raise
            raise timed_out() from error
        except TimeoutError as error:
            raise unavailable() from error

    async def _connect(self) -> aiopg.Cursor:
        try:
            async with asyncio.timeout(self._limits.connect_timeout):
                connection = await aiopg.connect(
                    self._dsn,
                    # The server ends statements itself; this is for a server that no longer answers at all.
                    timeout=self._limits.statement_timeout + self._limits.connect_timeout,
                    enable_json=False,
                    enable_hstore=False,
                    enable_uuid=False,
                )
        except TimeoutError as error:
            raise psycopg2.OperationalError("connection timed out") from error
        register_type(TEXT, connection.raw)
        return await connection.cursor()

    def _put_back(self, cursor: aiopg.Cursor) -> None:
        connection = cursor.connection
        if self._closed and not connection.closed:
            connection.close()
        if not connection.closed:
            self._idle.append(cursor)

    def _close_idle(self) -> None:
        while self._idle:
            self._idle.pop().connection.close()

    def _options(self, dsn: str) -> str:
        given = parse_dsn(dsn).get("options", "")
        session = {**SESSION, "statement_timeout": f"{self._limits.statement_timeout * 1000:.0f}"}
        return " ".join([given, *(f"-c {name}={value}" for name, value in session.items())]).strip()


def _line(error: BaseException) -> str:
    return " ".join(str(error).split()) or type(error).__name__
