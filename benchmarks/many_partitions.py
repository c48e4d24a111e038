"""Measures what grows with the number of partitions, for docs/scaling.md: the directory, searches and totals.

`python -m benchmarks.many_partitions [PARTITIONS]` creates a database with small daily partitions, by default 3,000,
and prints the shortest duration of some runs.
"""

import asyncio
import os
import sys
import tempfile
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from pathlib import Path
from time import perf_counter

from benchmarks.databases import CUSTOMER, Databases, Size
from service.db.partition_changes import PartitionChanges
from service.db.partitions import PartitionDirectory
from service.db.pool import Limits, Pool, Rows
from service.db.search import PartitionSearch, SearchLimits
from service.db.statement import Statement
from service.db.totals import TotalCounter
from service.query import Caller, Filter, Query
from service.schemas.resource import configured
from service.statistics.partition_cache import PartitionCache

PARTITIONS = 3000
CALLS = 100  # A day, of 22 customers.
REPEATS = 5
UNKNOWN = 2**62
BEGIN = Filter("time_start", "gteq", (datetime(2000, 1, 1, tzinfo=UTC),))
LIST = Query(configured(UTC, {})["incoming-cdrs"], ("id",), Caller(CUSTOMER, None, False), (BEGIN,))

Ask = Callable[[], Awaitable[object]]


class Measurements:
    """Durations of reads of one database, with one connection as in the service."""

    def __init__(self, dsn: str) -> None:
        self._pool = Pool("cdr", dsn, Limits(1, 10, 10, 600))
        self._search = PartitionSearch(self._pool, limits=SearchLimits(rest=0))

    async def table(self) -> dict[str, float]:
        """Seconds by what is measured."""
        loaded = self._directory()
        await loaded.refresh()
        known = self._counter(cached=True)
        await known.count(LIST)
        found = {
            "directory, first read": await self._least(lambda: self._directory().refresh()),
            "directory, refresh of the newest partitions": await self._least(loaded.refresh),
            "search of an unknown id": await self._least(lambda: self._search.find(UNKNOWN)),
            "search of 100 unknown ids at once": await self._least(self._find_many),
            "total of all days": await self._least(lambda: self._counter(cached=False).count(LIST)),
            "total of all days, counts cached, first": await self._least(
                lambda: self._counter(cached=True).count(LIST)
            ),
            "total of all days, counts cached, repeated": await self._least(lambda: known.count(LIST)),
        }
        await self._search.close()
        await self._pool.close()
        return found

    async def _least(self, ask: Ask) -> float:
        """The shortest of some runs, each on a new connection, whose backend knows no partition yet."""
        times = []
        for _ in range(REPEATS):
            self._pool.close_idle()
            await self._pool.ping()
            began = perf_counter()
            await ask()
            times.append(perf_counter() - began)
        return min(times)

    def _directory(self) -> PartitionDirectory:
        return PartitionDirectory(self._pool, self._search, 60)

    def _counter(self, *, cached: bool) -> TotalCounter:
        async def fetch(_: Query, statement: Statement) -> Rows:
            return await self._pool.fetch(statement)

        changes = PartitionChanges(self._pool, LIST.resource.table)
        cache: PartitionCache[int] = PartitionCache("day_counts", changes.read, 600 if cached else 0, 0)
        return TotalCounter(fetch, {LIST.resource.table: cache}, 0, 0, 600)

    async def _find_many(self) -> None:
        await asyncio.gather(*(self._search.find(UNKNOWN + number) for number in range(100)))


def main() -> None:
    size = Size(int(sys.argv[1]) if sys.argv[1:] else PARTITIONS, CALLS)
    with tempfile.TemporaryDirectory() as folder, Databases.open(Path(folder), _say) as databases:
        found = asyncio.run(Measurements(databases.dsn(size)).table())
    print(f"{size.days:,} partitions of {CALLS} calls, {os.cpu_count()} cores\n\n| what | seconds |\n|---|---|")
    for what, seconds in found.items():
        print(f"| {what} | {seconds:.2g} |")


def _say(text: str) -> None:
    print(text, file=sys.stderr)


if __name__ == "__main__":
    main()
