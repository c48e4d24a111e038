"""Routes reads to a healthy replica, or to the primary if none is healthy or the replica fails."""

import asyncio
from collections.abc import Coroutine, Sequence
from itertools import cycle
from math import nan

import structlog

from service.db.failures import one_line
from service.db.pool import Pool, Rows, Transaction
from service.db.statement import Statement
from service.errors import ApiError, DatabaseFailedError, DatabaseUnavailableError, OverloadedError
from service.observability import metrics

log = structlog.get_logger()

STATE = Statement.from_file("queries/replica")
SERVER = Statement.from_file("queries/server")
INTERVAL = 1.0  # Seconds between two checks of the replicas.
CHECK_TIMEOUT = 2.0  # Seconds.


class Replica:
    """A replica's pool and health. `lag` is in seconds, None if unknown.

    Checks use a separate connection, so that they distinguish a busy replica from one that does not respond.
    """

    def __init__(self, pool: Pool) -> None:
        self.pool = pool
        self.lag: float | None = None
        self.healthy = False
        self.reason: str | None = "not checked yet"

    def update_health(self, lag: float | None, reason: str | None) -> None:
        """Puts the replica into or out of use and logs the change. `lag` is in seconds; `reason` is None if healthy."""
        changed = self.healthy != (reason is None) or (not self.healthy and reason != self.reason)
        self.lag, self.reason, self.healthy = lag, reason, reason is None
        metrics.REPLICA_UP.labels(self.pool.name).set(self.healthy)
        metrics.REPLICA_LAG_SECONDS.labels(self.pool.name).set(nan if lag is None else lag)
        if changed and reason is None:
            log.warning("replica in use", replica=self.pool.name, lag=lag)
        elif changed:
            log.warning("replica out of use", replica=self.pool.name, lag=lag, reason=reason)

    async def close(self) -> None:
        """Closes all connections."""
        await self.pool.close()


class ReplicaRouter:
    """Has the interface of a pool; `primary` is for data that a replica may not have yet. `max_lag` is in seconds."""

    def __init__(
        self,
        primary: Pool,
        replicas: Sequence[Replica] = (),
        max_lag: float = 0,
        interval: float = INTERVAL,
        check_timeout: float = CHECK_TIMEOUT,
    ) -> None:
        self.primary = primary
        self.replicas = replicas
        self.max_lag = max_lag
        self._interval = interval
        self._check_timeout = check_timeout
        self._turns = cycle(range(len(replicas) or 1))

    def fetch(self, statement: Statement) -> Coroutine[None, None, Rows]:
        """All rows. Raises ApiError like Pool.fetch, after the primary has failed as well."""
        replica = self._pick()
        if replica is None:
            return self.primary.fetch(statement)
        return self._from(replica, statement)

    async def begin(self, wait: float | None = None) -> Transaction:
        """A read-only transaction on a healthy replica, or else on the primary. Raises ApiError like Pool.begin."""
        replica = self._pick()
        return await (replica.pool if replica else self.primary).begin(wait)

    async def ping(self) -> None:
        """Returns if the primary responds or a replica is healthy. Raises ApiError."""
        try:
            await self.primary.ping()
        except ApiError:
            if self._pick() is None:
                raise

    async def watch(self) -> None:
        """Checks all replicas periodically. Replicas are used only while this runs."""
        try:
            while True:
                await asyncio.gather(*(self._check(replica) for replica in self.replicas))
                await asyncio.sleep(self._interval)
        finally:
            for replica in self.replicas:
                replica.update_health(None, "not checked")

    async def close(self) -> None:
        """Closes all connections."""
        await self.primary.close()
        for replica in self.replicas:
            await replica.close()

    async def _from(self, replica: Replica, statement: Statement) -> Rows:
        try:
            return await replica.pool.fetch(statement)
        except DatabaseUnavailableError as error:
            replica.update_health(None, one_line(error.__cause__ or error))
        except (DatabaseFailedError, OverloadedError):
            pass  # The replica is up; the primary may be able to run the statement.
        return await self.primary.fetch(statement)

    def _pick(self) -> Replica | None:
        healthy = [replica for replica in self.replicas if replica.healthy and not replica.pool.busy]
        return healthy[next(self._turns) % len(healthy)] if healthy else None

    async def _check(self, replica: Replica) -> None:
        """Checks a replica. If it does not respond, its statements are aborted and run on the primary."""
        try:
            async with asyncio.timeout(self._check_timeout):
                lag, reason = await self._state(replica)
        except TimeoutError:
            replica.update_health(None, f"did not answer in {self._check_timeout:g} seconds")
            replica.pool.abandon()
        except Exception as error:  # Some servers lack functions that the check calls.
            replica.update_health(None, one_line(error.__cause__ or error))
        else:
            replica.update_health(lag, reason)

    async def _state(self, replica: Replica) -> tuple[float | None, str | None]:
        """The lag in seconds, and why the replica must not be used, or None."""
        [(in_recovery, started, lag)] = await replica.pool.checks.fetch(STATE)
        if not in_recovery and await self.primary.checks.fetch(SERVER) != [(started,)]:
            return None, "the server is neither a standby nor the primary"
        if lag is None:
            return None, "the lag is unknown"
        return lag, None if lag <= self.max_lag else "the lag exceeds databases.cdr.replica_max_lag"
