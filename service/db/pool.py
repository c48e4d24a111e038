"""A pool of connections to one database. Dead connections are replaced. Failures are raised as ApiErrors.

aiopg's own pool is not used: it opens connections while it holds the lock that all waiting requests need, so one host
that does not respond would block them all, and its overhead for a statement exceeds PostgreSQL's execution time.
"""

import asyncio
import math
import time
from dataclasses import replace
from functools import cached_property
from typing import Self

import structlog

from service.concurrency.tasks import BackgroundTasks, run_periodically
from service.db import failures
from service.db.connection import Connection, Limits, Rows
from service.db.failures import CONNECTION_ERRORS, Failure
from service.db.statement import Statement
from service.errors import ApiError, DatabaseUnavailableError, busy, unavailable
from service.observability import metrics, timings
from service.observability.problem_log import ProblemLog

__all__ = ["Limits", "Pool", "Rows"]

log = structlog.get_logger()

PING = Statement("SELECT 1", name="ping")
BEGIN = Statement("BEGIN READ ONLY", name="begin")
ROLLBACK = Statement("ROLLBACK", name="rollback")

INTERVAL = 1.0  # Seconds between checks of all connections.
MAX_ATTEMPTS = 3  # For a statement that conflicts with replication on a replica.


class Pool:
    """Connections to one database. `name` labels the pool in logs and metrics, `database` the database.

    `tasks` runs the periodic checks. Pools of one database share `problems`, so that an outage is logged once.
    """

    def __init__(
        self,
        name: str,
        dsn: str,
        limits: Limits,
        *,
        database: str | None = None,
        tasks: BackgroundTasks | None = None,
        problems: ProblemLog | None = None,
    ) -> None:
        self.name = name
        self.limits = limits
        self._dsn = dsn
        self._database = database or name
        self._tasks = tasks or BackgroundTasks()
        self._problems = problems or ProblemLog()
        self._max_seconds = limits.statement_timeout + limits.connect_timeout  # For one statement.
        self._slots = asyncio.Semaphore(limits.size)
        self._idle: list[Connection] = []
        self._busy: dict[Connection, float] = {}  # With the deadlines of their statements.
        self._opening: set[asyncio.Timeout] = set()
        self._watching: asyncio.Task[None] | None = None
        self._closed = False
        self._waits = metrics.POOL_WAIT_SECONDS.labels(name)

    @property
    def busy(self) -> bool:
        """True if a statement would have to wait for a connection."""
        return self._slots.locked()

    @cached_property
    def checks(self) -> "Pool":
        """A pool of one connection to the same database, so that checks do not wait for requests."""
        limits = replace(self.limits, size=1, prepared=0)
        return Pool(
            f"{self.name} checks",
            self._dsn,
            limits,
            database=self._database,
            tasks=self._tasks,
            problems=self._problems,
        )

    async def fetch(self, statement: Statement) -> Rows:
        """All rows. Raises DatabaseUnavailableError, DatabaseFailedError, QueryTimeoutError, OverloadedError."""
        await self._acquire_slot()
        try:
            for attempt in range(1, MAX_ATTEMPTS + 1):
                reused = self._checkout(statement)
                connection = reused or await self._connect()
                try:
                    return await self._execute(connection, statement)
                except ApiError:
                    raise
                except Exception as error:
                    failure = _classify(error, connection)
                    lost_idle = failure is Failure.LOST and reused is not None and not isinstance(error, TimeoutError)
                    if attempt == MAX_ATTEMPTS or not (lost_idle or failure is Failure.CONFLICT):
                        if failure is Failure.UNEXPECTED:
                            raise
                        raise self._answer(error, failure, statement) from error
                    metrics.series(metrics.DATABASE_RETRIES, self.name, failure.value).inc()
                    if lost_idle:
                        self.close_idle()  # The connection died while idle; the other idle ones may be dead as well.
                finally:
                    self._check_in(connection)
        finally:
            self._slots.release()
        raise AssertionError("the last attempt returns or raises")

    async def begin(self, wait: float | None = None) -> "Transaction":
        """A read-only transaction. `wait` is the time limit for getting a connection, in seconds.

        Raises DatabaseUnavailableError, OverloadedError.
        """
        await self._acquire_slot(wait)
        while True:
            try:
                reused = self._checkout_any()
                connection = reused or await self._connect()
            except BaseException:
                self._slots.release()
                raise
            transaction = Transaction(self, connection)
            try:
                await transaction.fetch(BEGIN)
                return transaction
            except DatabaseUnavailableError:
                transaction.abort(keep_slot=reused is not None)
                if reused is None:
                    raise
                self.close_idle()  # The connection died while idle; the other idle ones may be dead as well.
            except BaseException:
                transaction.abort()
                raise

    async def ping(self) -> None:
        """Returns if the database responds, even while all connections are busy. Raises ApiError."""
        await (self.checks if self.busy else self).fetch(PING)

    async def close(self) -> None:
        """Closes idle connections now, and busy ones when they are returned."""
        self._closed = True
        self.close_idle()
        if self._watching:
            self._watching.cancel()
        if "checks" in vars(self):
            await self.checks.close()

    def close_idle(self) -> None:
        """Closes idle connections. New ones are opened on demand."""
        while self._idle:
            self._idle.pop().close()

    def abandon(self) -> None:
        """Closes all connections, also those being opened, because the server does not respond; statements fail."""
        self.close_idle()
        for connection in list(self._busy):
            connection.abort()
        for opening in self._opening:
            opening.reschedule(asyncio.get_running_loop().time())

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
        """A new connection. Raises DatabaseUnavailableError."""
        if self._watching is None and not self._closed:
            self._watching = self._tasks.start(f"connections {self.name}", self._watch)
        opening = asyncio.timeout(None)
        self._opening.add(opening)
        try:
            async with opening:
                connection = await Connection.open(self._dsn, self.limits)
        except CONNECTION_ERRORS as error:
            problem = failures.one_line(error)
            self._problems.failed("connection", "database does not answer", database=self._database, error=problem)
            self._reap()  # The idle connections are probably dead as well.
            raise unavailable() from error
        finally:
            self._opening.discard(opening)
        self._problems.ended("connection", "database answers", database=self._database)
        self._busy[connection] = math.inf
        return connection

    def _check_in(self, connection: Connection) -> None:
        """Returns a connection to the pool, unless it is closed or expired."""
        del self._busy[connection]
        if connection.cannot_prepare and self.limits.prepared:
            log.warning("prepared statements not supported", database=self._database)
            self.limits = replace(self.limits, prepared=0)
        if (self._closed or connection.expired) and not connection.closed:
            connection.close()
        if not connection.closed:
            self._idle.append(connection)

    def _checkout_any(self) -> Connection | None:
        """Any open idle connection, for a transaction."""
        while self._idle:
            connection = self._idle.pop()
            if not connection.closed:
                self._busy[connection] = math.inf
                return connection
        return None

    def _checkout(self, statement: Statement) -> Connection | None:
        connection = self._choose(statement)
        if connection is not None:
            self._busy[connection] = math.inf
        return connection

    async def _execute(self, connection: Connection, statement: Statement) -> Rows:
        began, name = time.monotonic(), statement.name
        self._busy[connection] = began + self._max_seconds
        try:
            return await connection.fetch(statement)
        finally:
            seconds = time.monotonic() - began
            self._busy[connection] = math.inf
            metrics.series(metrics.STATEMENT_SECONDS, self.name, name).observe(seconds)
            timings.add(self.name, name, seconds)

    def _answer(self, error: Exception, failure: Failure, statement: Statement) -> ApiError:
        """The error to raise for a failed statement. Counts and logs statements that cannot run."""
        if failure is not Failure.STATEMENT:
            return unavailable()
        answer = failures.failed_statement(error)
        if answer.sqlstate not in statement.handled:
            metrics.series(metrics.STATEMENT_FAILURES, self.name, answer.sqlstate).inc()
            self._problems.failed(
                (self.name, statement.name, answer.sqlstate),
                "statement failed",
                database=self.name,
                statement=statement.name,
                sqlstate=answer.sqlstate,
                error=failures.message_of(error),
            )
        return answer

    async def _watch(self) -> None:
        await run_periodically(INTERVAL, self._reap)

    def _reap(self) -> None:
        """Aborts connections past their deadline, removes dead idle ones, and updates the pool's gauges."""
        now = time.monotonic()
        for connection in [connection for connection, latest in self._busy.items() if latest < now]:
            connection.abort()
        self._idle = [connection for connection in self._idle if not connection.closed]
        metrics.series(metrics.POOL_CONNECTIONS, self.name, "idle").set(len(self._idle))
        metrics.series(metrics.POOL_CONNECTIONS, self.name, "busy").set(len(self._busy))

    def _choose(self, statement: Statement) -> Connection | None:
        """An idle connection: for a repeated statement, one that has run it, else the one with the fewest plans.

        So each backend caches its share of the partitions instead of all of them. None if no connection is idle, or if
        the idle ones are at capacity and the pool may grow.
        """
        if not self._idle:
            return None
        if not statement.repeated:
            return self._idle.pop()
        for place, connection in enumerate(self._idle):
            if connection.has_seen(statement.text):
                return self._idle.pop(place)
        taken = min(self._idle, key=lambda connection: connection.cached_plans)
        if taken.at_capacity and len(self._idle) + len(self._busy) + len(self._opening) < self.limits.size:
            return None
        self._idle.remove(taken)
        return taken


class Transaction:
    """One transaction, until `end` or `abort` is called, or its block is left.

    A block that raises ApiError ends with ROLLBACK and keeps the connection; any other exception closes the connection.
    """

    def __init__(self, pool: Pool, connection: Connection) -> None:
        self._pool = pool
        self._connection: Connection | None = connection

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        if error is None or isinstance(error, ApiError):
            await self.end()
        else:
            self.abort()

    async def fetch(self, statement: Statement) -> Rows:
        """All rows. Raises DatabaseUnavailableError, DatabaseFailedError, QueryTimeoutError."""
        connection = self._connection
        if connection is None:
            raise RuntimeError("The transaction has ended.")
        try:
            return await self._pool._execute(connection, statement)
        except ApiError:
            raise
        except Exception as error:
            failure = _classify(error, connection)
            if failure is Failure.UNEXPECTED:
                raise
            raise self._pool._answer(error, failure, statement) from error

    async def end(self) -> None:
        """Ends the transaction and returns the connection to the pool; aborts it if that fails."""
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
        """Closes the connection, which cancels a running statement. Does nothing after the end."""
        if self._connection is not None:
            self._connection.close()
            self._give_back(keep_slot)

    def _give_back(self, keep_slot: bool = False) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            self._pool._check_in(connection)
            if not keep_slot:
                self._pool._slots.release()


def _classify(error: Exception, connection: Connection) -> Failure:
    """The kind of an error. Closes the connection if it is lost."""
    failure = failures.classify(error, connection.closed)
    if failure is Failure.LOST:
        connection.close()
    return failure
