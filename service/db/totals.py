"""Counts the records of lists.

With a cache of past days, a count is divided: the number of each past partition that is completely in the list's time
range is cached until the partition changes, and only the rest is counted for every request. Unknown partitions are
counted in groups, the newest first. A count that takes too long ends, and the next one continues where it has ended.
"""

from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from time import monotonic

from service.concurrency.cache import TTLCache, digest
from service.db import select
from service.db.pool import Rows
from service.db.statement import Statement
from service.errors import QueryTimeoutError, timed_out
from service.query import TICK, Filter, Query, TimeRange
from service.statistics import buckets
from service.statistics.partition_cache import PartitionCache, PartitionState, gaps

MAX_TOTALS = 10_000  # Cached totals.
MAX_GROUP = 64  # Partitions in one statement. Each takes 1.5 kB of text and 0.7 ms of planning.
GROUP_SECONDS = 0.5  # After a group that took less, the next one is twice as large, else half as large.
LOWER, UPPER = ("gteq", "gt", "eq"), ("lteq", "lt", "eq")

Fetch = Callable[[Query, Statement], Awaitable[Rows]]
"""Executes a statement that reads the partitions of a query. Raises ApiError."""


class TotalCounter:
    """`past` are the caches of past days by table. `seconds`: how long totals are cached.

    `timeout`: time limit for one total, in seconds. With 0, `statement_timeout` is the limit, and a count that exceeds
    it raises QueryTimeoutError.
    """

    def __init__(
        self,
        fetch: Fetch,
        past: Mapping[str, PartitionCache[int]],
        seconds: float,
        timeout: float,
        statement_timeout: float,
    ) -> None:
        self._fetch = fetch
        self._past = past
        self._timeout = timeout
        self._statement_timeout = statement_timeout
        self._totals: TTLCache[bytes, int | None] = TTLCache("total", seconds, MAX_TOTALS)

    async def count(self, query: Query) -> int | None:
        """The number of records on all pages, cached for all pages of a list (contract 0.1.13). Raises ApiError.

        None if counting took too long.
        """

        async def counted() -> int | None:
            try:
                return await self._count(query)
            except QueryTimeoutError:
                if self._timeout:
                    return None
                raise

        fixed = [replace(one, values=()) if one.implicit_window else one for one in query.filters]
        return await self._totals.get(digest(query.resource.type, query.caller, fixed), counted)

    async def _count(self, query: Query) -> int:
        deadline = monotonic() + (self._timeout or self._statement_timeout)
        past, window = self._past.get(query.resource.table), _window(query)
        closed = await past.closed(*window) if past and window else ()
        if not past or not window or not closed:
            return await self._count_at_once(query, select.count(query, _left(deadline)))
        total = await self._count_past(query, past, closed, deadline)
        if rest := tuple(gaps(*window, closed)):
            query = replace(query, ranges=rest)
            total += await self._count_at_once(query, select.count(query, _left(deadline)))
        return total

    async def _count_past(
        self, query: Query, past: PartitionCache[int], closed: Sequence[PartitionState], deadline: float
    ) -> int:
        query = replace(query, filters=tuple(one for one in query.filters if not _is_bound(one)))
        key = digest(query.resource.type, query.caller, query.filters)
        known = {partition: past.get(key, partition) for partition in closed}
        unknown = [partition for partition in reversed(closed) if known[partition] is None]
        size, total = 1, sum(number or 0 for number in known.values())
        while unknown:
            group, unknown = unknown[:size], unknown[size:]
            made = monotonic()
            ranges = tuple(map(_range, group))
            statement = select.counts(query, ranges, _left(deadline))
            for place, number in await self._fetch(replace(query, ranges=ranges), statement):
                past.keep(key, group[place], made, number)
                total += number
            size = min(2 * size, MAX_GROUP) if monotonic() - made < GROUP_SECONDS else max(size // 2, 1)
        return total

    async def _count_at_once(self, query: Query, statement: Statement) -> int:
        [(total,)] = await self._fetch(query, statement)
        return int(total)


def bounds(filters: Iterable[Filter], operators: tuple[str, ...]) -> list[datetime]:
    """The values of filters on time_start with these operators."""
    return [one.values[0] for one in filters if one.column == "time_start" and one.operator in operators]


def _is_bound(condition: Filter) -> bool:
    return bool(bounds([condition], LOWER + UPPER))


def _window(query: Query) -> tuple[datetime, datetime | None] | None:
    """The time range of a list of calls, without its end, which is None if there is none.

    None without a first time, or if the times of all matching calls are known.
    """
    if query.resource.meta.window is None or query.ranges is not None:
        return None
    try:
        firsts = bounds(query.filters, ("gteq", "eq")) + [after + TICK for after in bounds(query.filters, ("gt",))]
        ends = bounds(query.filters, ("lt",)) + [last + TICK for last in bounds(query.filters, ("lteq", "eq"))]
    except OverflowError:  # The last moment of the year 9999.
        return None
    return (max(firsts), min(ends, default=None)) if firsts else None


def _range(partition: PartitionState) -> TimeRange:
    return buckets.moment(partition.first).isoformat(), buckets.moment(partition.end).isoformat()


def _left(deadline: float) -> float:
    """Seconds until the deadline. Raises QueryTimeoutError if it has passed."""
    left = deadline - monotonic()
    if left < 0.001:  # PostgreSQL counts milliseconds, and 0 would mean no limit.
        raise timed_out()
    return left
