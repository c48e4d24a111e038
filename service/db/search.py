"""Finds the start times of calls with given ids by searching all partitions.

Expensive, because PostgreSQL plans every partition. Requests are batched, one search runs at a time, and the next waits
three times as long as the last took. A search queries one range of time after the other, because one statement on
thousands of partitions would need more locks than fit into PostgreSQL's lock table.
"""

import asyncio
import time
from collections.abc import Callable, Sequence
from contextvars import Context
from dataclasses import dataclass

from service.db.pool import Pool
from service.db.statement import Statement, read_sql
from service.errors import ApiError, DatabaseFailedError, QueryTimeoutError, busy, unavailable
from service.observability import timings
from service.schemas.resource import CALLS

IDLE = 10.0  # Seconds after which the connections are closed, because their backends have cached every partition.

Division = tuple[str | None, tuple[int, ...]]
"""A part of the time axis: its start as PostgreSQL's text, None for the first part, and its foreign servers."""


@dataclass(frozen=True, slots=True)
class SearchLimits:
    """`waiting`: maximal number of ids that wait for the next search.

    A search starts `rest` times the duration of the last one after it, at most `max_rest` seconds.
    """

    waiting: int = 1000
    rest: float = 3
    max_rest: float = 1.0


@dataclass(frozen=True, slots=True)
class Found:
    """The start times of the calls with an id. `failure` is set if a part of the time axis could not be searched."""

    moments: Sequence[str]
    failure: ApiError | None = None


class PartitionSearch:
    """Searches while requests wait. `split` returns the parts of the time axis, ascending; by default there is one."""

    def __init__(self, pool: Pool, table: str = CALLS, limits: SearchLimits = SearchLimits()) -> None:
        self._pool = pool
        self._table = table
        self._limits = limits
        self.split: Callable[[], Sequence[Division]] = lambda: [(None, ())]
        self._waiting: dict[int, asyncio.Future[Found]] = {}
        self._running: asyncio.Task[None] | None = None
        self._resting_until = 0.0

    async def find(self, identifier: int) -> Found:
        """The current start times of the calls with this id. Raises ApiError, at once if too many ids are waiting."""
        if len(self._waiting) >= self._limits.waiting:
            raise busy("Too many requests are searching for unknown records.")
        waiter = self._waiting.setdefault(identifier, asyncio.get_running_loop().create_future())
        if self._running is None or self._running.done():
            # In an empty context, because the search belongs to all waiting requests.
            self._running = asyncio.create_task(self._run(), context=Context())
        began = time.monotonic()
        try:
            return await asyncio.shield(waiter)
        finally:
            timings.add(self._pool.name, "search", time.monotonic() - began)

    async def close(self) -> None:
        """Cancels the running search; waiting requests get DatabaseUnavailableError."""
        if self._running is not None:
            self._running.cancel()
            await asyncio.gather(self._running, return_exceptions=True)
        _fail(self._waiting, unavailable())

    async def _run(self) -> None:
        while self._waiting:
            await asyncio.sleep(max(0.0, self._resting_until - time.monotonic()))
            wanted, self._waiting = self._waiting, {}
            began = time.monotonic()
            try:
                await self._search(wanted)
            except Exception as error:
                _fail(wanted, error)
            except asyncio.CancelledError:
                _fail(wanted, unavailable())
                raise
            took = time.monotonic() - began
            self._resting_until = time.monotonic() + min(self._limits.rest * took, self._limits.max_rest)
        asyncio.get_running_loop().call_later(IDLE, self._close_idle)

    async def _search(self, wanted: dict[int, asyncio.Future[Found]]) -> None:
        """Searches all parts, even if some of them fail, but each foreign server that hangs only once."""
        moments: dict[int, list[str]] = {identifier: [] for identifier in wanted}
        failure: ApiError | None = None
        hanging: set[tuple[int, ...]] = set()
        for part, servers in _parts(self.split()):
            if servers in hanging:
                continue
            text = read_sql("shapes/search").format(calls=self._table, where=part)
            try:
                rows = await self._pool.fetch(Statement(text, {"ids": list(wanted)}, "search"))
            except (DatabaseFailedError, QueryTimeoutError) as error:
                failure = error
                if servers and isinstance(error, QueryTimeoutError):
                    hanging.add(servers)
                continue
            for identifier, moment in rows:
                moments[identifier].append(moment)
        for identifier, waiter in wanted.items():
            waiter.set_result(Found(moments[identifier], failure))

    def _close_idle(self) -> None:
        if self._running is None or self._running.done():
            self._pool.close_idle()


def _parts(split: Sequence[Division]) -> list[tuple[str, tuple[int, ...]]]:
    """Conditions that divide the whole time axis, with the foreign servers of each part."""
    ends = [*(first for first, _ in split[1:]), None]
    return [(_part(first, end), servers) for (first, servers), end in zip(split, ends, strict=True)]


def _part(first: str | None, end: str | None) -> str:
    bounds = [f"cdr.time_start >= '{first}'" if first else "", f"cdr.time_start < '{end}'" if end else ""]
    return " AND ".join(filter(None, bounds)) or "TRUE"


def _fail(wanted: dict[int, asyncio.Future[Found]], error: Exception) -> None:
    for waiter in wanted.values():
        if not waiter.done():
            waiter.set_exception(error)
            waiter.exception()  # Marks it as retrieved: the waiting request may have been cancelled.
