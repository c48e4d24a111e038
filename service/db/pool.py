"""Connections to one database: a bounded number, replaced when they have died; what fails is told as 503 or 504.

aiopg drives the connections; its own pool is not used because it opens connections under the lock that all waiting
requests need, so that one host that does not answer would stop them all, and because it spends more time on a
statement than PostgreSQL does.
"""

import asyncio
import math
import time
from contextvars import Context

import psycopg2
import structlog
from psycopg2.extensions import TransactionRollbackError

from service.concurrency.tasks import run_periodically
from service.db.connection import Connection, Limits, Rows
from service.db.statement import Statement
from service.errors import ApiError, DatabaseUnavailableError, busy, unavailable
from service.observability import metrics, timings

__all__ = ["PING", "Limits", "Pool", "Rows"]

log = structlog.get_logger()

PING = Statement("SELECT 1", name="ping")
BEGIN = Statement("BEGIN READ ONLY", name="begin")
ROLLBACK = Statement("ROLLBACK", name="rollback")

INTERVAL = 1.0  # Seconds between two looks at all connections.
MAX_RETRY_PAUSE = 2.0  # Seconds between attempts to reach a database at the start.
MAX_ATTEMPTS = 3  # At a statement that conflicts with what a replica is replaying.
LOST = (psycopg2.OperationalError, psycopg2.InterfaceError, TimeoutError)


class Pool:
    """One database, called `name` in logs."""

    def __init__(self, name: str, dsn: str, limits: Limits) -> None:
        self.name = name
        self.limits = limits
        self._dsn = dsn
        self._patience = limits.statement_timeout + limits.connect_timeout  # Seconds for one statement.
        self._slots = asyncio.Semaphore(limits.size)
        self._idle: list[Connection] = []
        self._busy: dict[Connection, float] = {}  # With the moments by which their statements must have ended.
        self._watching: asyncio.Task[None] | None = None
        self._opening = 0
        self._closed = False
        self._waits = metrics.POOL_WAIT_SECONDS.labels(name)

    async def fetch(self, statement: Statement) -> Rows:
        """All rows. Raises DatabaseUnavailableError, QueryTimeoutError, OverloadedError."""
        await self._acquire_slot()
        try:
            for attempt in range(1, MAX_ATTEMPTS + 1):
                reused = bool(self._idle)
                try:
                    return await self._execute_once(statement)
                except LOST as error:
                    conflict = isinstance(error, TransactionRollbackError)
                    if attempt == MAX_ATTEMPTS or not (reused or conflict) or isinstance(error, TimeoutError):
                        raise unavailable() from error
                    metrics.DATABASE_RETRIES.labels(self.name, "conflict" if conflict else "lost").inc()
                    if not conflict:
                        self.close_idle()  # One had died while it was idle, and so may have the others.
        finally:
            self._slots.release()
        raise AssertionError("the last attempt returns or raises")

    async def begin(self, wait: float | None = None) -> "Transaction":
        """A read-only transaction on a connection of its own. `wait` is the seconds to wait for one.

        Raises DatabaseUnavailableError, OverloadedError.
        """
        await self._acquire_slot(wait)
        while True:
            try:
                reused = self._checkout_any()
                connection = reused or await self._connect()
            except BaseException as error:
                self._slots.release()
                if isinstance(error, LOST):
                    raise unavailable() from error
                raise
            transaction = Transaction(self, connection)
            try:
                await transaction.fetch(BEGIN)
                return transaction
            except DatabaseUnavailableError:
                transaction.abort(keep_slot=reused is not None)
                if reused is None:
                    raise
                self.close_idle()  # The connection had died while it was idle, and so may have the others.
            except BaseException:
                transaction.abort()
                raise

    async def wait_until_ready(self) -> None:
        """Waits until the database answers, and says in the log what it waits for."""
        pause = 0.25
        while True:
            try:
                await self.fetch(PING)
            except Exception as error:
                problem = _line(error.__cause__ or error)
                log.warning("database does not answer yet", database=self.name, error=problem, retry_in=pause)
                await asyncio.sleep(pause)
                pause = min(2 * pause, MAX_RETRY_PAUSE)
            else:
                log.info("database answers", database=self.name)
                return

    async def close(self) -> None:
        """Closes what is idle now and the rest when it comes back."""
        self._closed = True
        self.close_idle()
        if self._watching:
            self._watching.cancel()

    def close_idle(self) -> None:
        """Closes the connections that nobody uses; new ones are opened as they are needed."""
        while self._idle:
            self._idle.pop().close()

    async def _acquire_slot(self, wait: float | None = None) -> None:
        """Waits for a slot, by default for acquire_timeout seconds. Raises OverloadedError."""
        if not self._slots.locked():
            await self._slots.acquire()
            self._waits.observe(0)
            return
        began = time.monotonic()
        try:
            async with asyncio.timeout(self.limits.acquire_timeout if wait is None else wait):
                await self._slots.acquire()
        except TimeoutError as error:
            raise busy("Too many requests are waiting for the database.") from error
        finally:
            self._waits.observe(time.monotonic() - began)

    async def _connect(self) -> Connection:
        if self._watching is None and not self._closed:
            self._watching = asyncio.create_task(run_periodically(INTERVAL, self._reap), context=Context())
        self._opening += 1
        try:
            connection = await Connection.open(self._dsn, self.limits)
        finally:
            self._opening -= 1
        self._busy[connection] = math.inf
        return connection

    async def _execute_once(self, statement: Statement) -> Rows:
        connection = self._checkout(statement) or await self._connect()
        try:
            return await self._execute(connection, statement)
        finally:
            self._check_in(connection)

    def _check_in(self, connection: Connection) -> None:
        """Makes a connection idle, unless it is closed or to be replaced."""
        del self._busy[connection]
        if (self._closed or connection.expired) and not connection.closed:
            connection.close()
        if not connection.closed:
            self._idle.append(connection)

    def _checkout_any(self) -> Connection | None:
        """An idle connection for a transaction, which cannot be tried again if the connection has died meanwhile."""
        while self._idle:
            connection = self._idle.pop()
            if not connection.closed:
                self._busy[connection] = math.inf
                return connection
        return None

    async def _execute(self, connection: Connection, statement: Statement) -> Rows:
        began, name = time.monotonic(), statement.name
        self._busy[connection] = began + self._patience
        try:
            return await connection.fetch(statement)
        finally:
            seconds = time.monotonic() - began
            self._busy[connection] = math.inf
            metrics.series(metrics.STATEMENT_SECONDS, self.name, name).observe(seconds)
            timings.add(self.name, name, seconds)

    def _reap(self) -> None:
        """Leaves connections whose server no longer answers, not even with an error, and tells how many there are."""
        now = time.monotonic()
        for connection in [connection for connection, latest in self._busy.items() if latest < now]:
            connection.abort()
        metrics.series(metrics.POOL_CONNECTIONS, self.name, "idle").set(len(self._idle))
        metrics.series(metrics.POOL_CONNECTIONS, self.name, "busy").set(len(self._busy))

    def _checkout(self, statement: Statement) -> Connection | None:
        """An idle connection: for what is repeated, one that knows it or else the one that knows least.

        So each backend comes to know its share of the partitions, and not all of them know all. None where all are busy
        or where those that are idle know enough and there is room for another.
        """
        if not self._idle:
            return None
        if not statement.repeated:
            return self._idle.pop()
        for place, connection in enumerate(self._idle):
            if connection.has_seen(statement.text):
                return self._idle.pop(place)
        taken = min(self._idle, key=lambda connection: connection.cached_plans)
        if taken.at_capacity and len(self._idle) + len(self._busy) + self._opening < self.limits.size:
            return None
        self._idle.remove(taken)
        return taken


class Transaction:
    """One transaction, until `end` or `abort` is called. What fails in it aborts it."""

    def __init__(self, pool: Pool, connection: Connection) -> None:
        self._pool = pool
        self._connection: Connection | None = connection

    async def fetch(self, statement: Statement) -> Rows:
        """All rows. Raises DatabaseUnavailableError, QueryTimeoutError."""
        if self._connection is None:
            raise RuntimeError("The transaction has ended.")
        try:
            return await self._pool._execute(self._connection, statement)
        except LOST as error:
            raise unavailable() from error

    async def end(self) -> None:
        """Ends it and gives the connection back; aborts it if that fails."""
        try:
            await self.fetch(ROLLBACK)
        except ApiError:
            self.abort()
        except BaseException:
            self.abort()
            raise
        else:
            self._give_back()

    def abort(self, *, keep_slot: bool = False) -> None:
        """Closes the connection, which ends the statement under way soon after; does nothing once it has ended."""
        if self._connection is not None:
            self._connection.close()
            self._give_back(keep_slot)

    def _give_back(self, keep_slot: bool = False) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            self._pool._check_in(connection)
            if not keep_slot:
                self._pool._slots.release()


def _line(error: BaseException) -> str:
    return " ".join(str(error).split()) or type(error).__name__
