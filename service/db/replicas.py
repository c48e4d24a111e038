"""A primary and its replicas, read as one: from a replica that is fit, from the primary where none is or one fails."""

import asyncio
from collections.abc import Coroutine, Sequence
from itertools import cycle
from math import nan

import structlog

from service.db.pool import Pool, Rows, Transaction
from service.db.statement import Statement
from service.errors import ApiError, DatabaseUnavailableError
from service.observability import metrics

log = structlog.get_logger()

LAG = Statement.from_file("queries/replica")
CHECK = 1.0  # Seconds between two questions for the lag.


class Replica:
    """A pool, and whether it is to be read from: `lag` is in seconds, None while it cannot be told."""

    def __init__(self, pool: Pool) -> None:
        self.pool = pool
        self.lag: float | None = None
        self.healthy = False

    def update_health(self, lag: float | None, most: float) -> None:
        """Takes the replica in or out, and says so."""
        healthy = lag is not None and lag <= most
        if healthy != self.healthy:
            log.warning("replica in use" if healthy else "replica out of use", replica=self.pool.name, lag=lag)
        self.lag, self.healthy = lag, healthy
        metrics.REPLICA_UP.labels(self.pool.name).set(healthy)
        metrics.REPLICA_LAG_SECONDS.labels(self.pool.name).set(nan if lag is None else lag)


class ReplicaRouter:
    """Fetches as a pool does; `primary` is for what a replica may not know yet."""

    def __init__(self, primary: Pool, replicas: Sequence[Replica] = (), most_lag: float = 0) -> None:
        self.primary = primary
        self.replicas = replicas
        self._most_lag = most_lag
        self._turns = cycle(range(len(replicas) or 1))

    def fetch(self, statement: Statement) -> Coroutine[None, None, Rows]:
        """All rows. Raises ApiError as Pool.fetch does, once the primary has been asked too."""
        replica = self._pick()
        if replica is None:
            return self.primary.fetch(statement)
        return self._from(replica, statement)

    async def begin(self, wait: float | None = None) -> Transaction:
        """A read-only transaction on a healthy replica, or else on the primary. Raises ApiError as Pool.begin does."""
        replica = self._pick()
        return await (replica.pool if replica else self.primary).begin(wait)

    async def watch(self) -> None:
        """Asks all replicas how far they are behind, again and again."""
        while True:
            await asyncio.gather(*(self._check(replica) for replica in self.replicas))
            await asyncio.sleep(CHECK)

    async def close(self) -> None:
        """Closes all connections."""
        for pool in (self.primary, *(replica.pool for replica in self.replicas)):
            await pool.close()

    async def _from(self, replica: Replica, statement: Statement) -> Rows:
        try:
            return await replica.pool.fetch(statement)
        except DatabaseUnavailableError:
            replica.update_health(None, self._most_lag)
            return await self.primary.fetch(statement)

    def _pick(self) -> Replica | None:
        healthy = [replica for replica in self.replicas if replica.healthy]
        return healthy[next(self._turns) % len(healthy)] if healthy else None

    async def _check(self, replica: Replica) -> None:
        try:
            async with asyncio.timeout(replica.pool.limits.connect_timeout):
                [(lag,)] = await replica.pool.fetch(LAG)
        except (ApiError, TimeoutError):
            lag = None
        replica.update_health(lag, self._most_lag)
