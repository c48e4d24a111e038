"""Ids go in, the partitions that hold them come out, after all partitions have been asked.

That is the only certain answer to where a call is, or that there is none, and a dear one: PostgreSQL plans every
partition for it. So all ids that wait are asked for together, one search runs at a time, and between two it rests, so
that a flood of unknown ids leaves the database to those who ask for known ones.
"""

import asyncio
import time

from service.db.pool import Pool
from service.db.statement import Statement
from service.errors import busy, unavailable

MAX_WAITING_IDS = 1000  # That wait for the next search.
REST = 3  # Times as long as the search took,
MAX_REST = 1.0  # but no longer than these seconds.
IDLE = 10.0  # Seconds after which the connection is closed, whose backend remembers every partition that it planned.


class PartitionSearch:
    """Runs while somebody waits."""

    def __init__(self, pool: Pool) -> None:
        self._pool = pool
        self._waiting: dict[int, asyncio.Future[list[int]]] = {}
        self._running: asyncio.Task[None] | None = None
        self._resting_until = 0.0

    async def find(self, identifier: int) -> list[int]:
        """The oids of the partitions that hold the id as of now. Raises ApiError, at once where too many wait."""
        if len(self._waiting) >= MAX_WAITING_IDS:
            raise busy("Too many requests look for unknown records.")
        waiter = self._waiting.setdefault(identifier, asyncio.get_running_loop().create_future())
        if self._running is None or self._running.done():
            self._running = asyncio.create_task(self._run())
        return await asyncio.shield(waiter)

    async def close(self) -> None:
        """Ends the search under way; whoever still waits is told that the database is not available."""
        if self._running is not None:
            self._running.cancel()
            await asyncio.gather(self._running, return_exceptions=True)
        _fail(self._waiting, unavailable())

    async def _run(self) -> None:
        while self._waiting:
            await asyncio.sleep(max(0.0, self._resting_until - time.monotonic()))
            asked, self._waiting = self._waiting, {}
            started = time.monotonic()
            try:
                await self._ask(asked)
            except Exception as error:
                _fail(asked, error)
            except asyncio.CancelledError:
                _fail(asked, unavailable())
                raise
            took = time.monotonic() - started
            self._resting_until = time.monotonic() + min(REST * took, MAX_REST)
        asyncio.get_running_loop().call_later(IDLE, self._forget)

    async def _ask(self, asked: dict[int, asyncio.Future[list[int]]]) -> None:
        rows = await self._pool.fetch(Statement.from_file("queries/search", ids=list(asked)))
        for identifier, waiter in asked.items():
            waiter.set_result([oid for id_, oid in rows if id_ == identifier])

    def _forget(self) -> None:
        if self._running is None or self._running.done():
            self._pool.close_idle()


def _fail(asked: dict[int, asyncio.Future[list[int]]], error: Exception) -> None:
    for waiter in asked.values():
        if not waiter.done():
            waiter.set_exception(error)
            waiter.exception()  # Whoever waited may be gone.
