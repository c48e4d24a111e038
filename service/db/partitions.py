"""The directory of partitions: names the partitions of a table that may contain an id, the most likely first.

Ids come from one sequence in the order in which calls end. So nearly all rows of a partition have ids in a range that
hardly overlaps with others, its typical range; a few late rows extend the range of all its ids over many days. The
directory is only a hint: rows are added at any time, so only a search of all partitions can prove that a call does not
exist.
"""

import asyncio
import time
from bisect import bisect_right
from collections.abc import Callable, Iterable, Iterator, Sequence
from datetime import UTC, datetime
from typing import Any

from service.db.failures import one_line
from service.db.partition_reader import IdRange, Partition, PartitionReader, moment
from service.db.pool import Pool
from service.db.search import Division, Found, PartitionSearch
from service.errors import ApiError
from service.observability import metrics
from service.observability.problem_log import ProblemLog
from service.query import UNBOUNDED, TimeRange
from service.schemas.resource import CALLS

RELOAD = 300.0  # Seconds between complete reloads, including late rows and statistics.
MAX_RANGES = 32  # Time ranges in one statement; beyond that, a search of all partitions costs no more.
SEARCHED_LEAVES = 100  # Leaves in one statement of a search.
MAX_RELATIONS = 100  # Partitions; after reading more, the connections are closed.


class PartitionDirectory:
    """`watch` reads changes every `refresh` seconds, and all partitions every `reload` seconds."""

    def __init__(
        self,
        pool: Pool,
        search: PartitionSearch,
        refresh: float,
        reload: float = RELOAD,
        clock: Callable[[], float] = time.monotonic,
        table: str = CALLS,
    ) -> None:
        self._pool = pool
        self._table = table
        self._reader = PartitionReader(pool, table)
        self._search = search
        self._refresh = refresh
        self._reload = reload
        self._clock = clock
        self._problems = ProblemLog()
        self._wake = asyncio.Event()
        self._digest: str | None = None
        self._loaded: float | None = None
        self.refreshed: float | None = None  # Time of the last refresh by `clock`.
        self._replace([])
        search.split = self._split

    async def watch(self) -> None:
        """Refreshes the directory periodically. After a failure it stays unchanged."""
        while True:
            try:
                await self.refresh()
                self._problems.ended("refresh", "partition directory refreshed again")
            except ApiError as error:
                self._problems.failed(
                    "refresh", "partition directory not refreshed", error=one_line(error.__cause__ or error)
                )
            if self.refreshed is not None:
                metrics.DIRECTORY_AGE_SECONDS.labels(self._table).set(self._clock() - self.refreshed)
            self._wake.clear()
            try:
                async with asyncio.timeout(self._refresh):
                    await self._wake.wait()
            except TimeoutError:
                continue

    async def refresh(self) -> None:
        """Reads all partitions if their list has changed or `reload` has passed, else the newest. Raises ApiError."""
        if self.refreshed is None:
            await self._list()
        digest = await self._reader.digest()
        if digest != self._digest or self._loaded is None or self._clock() - self._loaded >= self._reload:
            self._replace(await self._reader.read(self._partitions))
            self._digest, self._loaded = digest, self._clock()
            if len(self._partitions) > MAX_RELATIONS:
                self._pool.close_idle()  # Their backends have cached all these partitions.
        else:
            newest = {partition.oid: partition for partition in await self._reader.with_ids(self._newest())}
            self._replace([newest.get(partition.oid, partition) for partition in self._partitions.values()])
        self.refreshed = self._clock()

    def invalidate(self) -> None:
        """Forces a reload, because a look-up found the directory stale."""
        self._digest = None
        self._wake.set()

    def candidates(self, identifier: int) -> Iterator[Sequence[Partition]]:
        """Groups of partitions to try one after the other. The partition with the id may be missing."""
        asked: set[int] = set()
        for partition in self._likely(identifier):
            asked.add(partition.oid)
            yield [partition]
        others = [partition for partition in self._possible(identifier) if partition.oid not in asked]
        bounded = [partition for partition in others if partition.time_range]
        if 0 < len(bounded) <= MAX_RANGES:
            yield bounded
        yield from ([partition] for partition in others if not partition.time_range)

    def planned(self, first: datetime | None, last: datetime | None) -> Sequence[Partition]:
        """The partitions that PostgreSQL plans for calls between two times, both included."""
        start = 0 if first is None else bisect_right(self._ends, first)
        end = len(self._ends) if last is None else bisect_right(self._starts, last)
        return self._by_time[start:end] + self._unbounded

    def planned_in(self, ranges: Iterable[TimeRange]) -> Sequence[Partition]:
        """The same for calls in some time ranges."""
        found: dict[int, Partition] = {}
        for first, end in ranges:
            try:
                bounds = moment(first), None if end == UNBOUNDED else moment(end)
            except ValueError:  # A year that Python does not have.
                return self.planned(None, None)
            found.update((partition.oid, partition) for partition in self.planned(*bounds))
        return tuple(found.values())

    def extent(self, column: str, begin: datetime) -> tuple[Any, Any] | None:
        """The approximate range of ids or times of the calls from `begin` on; None if unknown."""
        if not self._by_time:
            return None
        if column == "time_start":
            return max(begin, self._starts[0]), datetime.now(UTC)
        oldest = self._by_time[max(0, bisect_right(self._starts, begin) - 1)]
        return (oldest.typical_range[0], self._last) if column == "id" and oldest.typical_range else None

    async def search(self, identifier: int) -> Found:
        """Searches all partitions for an id. Raises ApiError."""
        if self.refreshed is None:
            await self._list()
        found = await self._search.find(identifier)
        if not all(map(self._knows, found.moments)):
            self.invalidate()
        return found

    async def _list(self) -> None:
        """Reads the list of partitions without their ids, which takes less time."""
        listed = await self._reader.listed(self._partitions)
        if self.refreshed is None:
            self._replace(listed)

    def _knows(self, text: str) -> bool:
        """True if a partition for calls at this time is known."""
        try:
            place = bisect_right(self._starts, moment(text))
        except ValueError:  # A year that Python does not support.
            return True
        return bool(self._unbounded) or (place > 0 and self._ends[place - 1] > moment(text))

    def _split(self) -> list[Division]:
        """The time axis, divided so that each part has a limited number of leaves, all on the same servers."""
        parts: list[Division] = []
        leaves = 0
        for partition in self._by_time:
            if not parts or parts[-1][1] != partition.servers or leaves + len(partition.leaves) > SEARCHED_LEAVES:
                start = partition.time_range[0] if parts and partition.time_range else None
                parts.append((start, partition.servers))
                leaves = 0
            leaves += len(partition.leaves)
        return parts or [(None, ())]

    def _likely(self, identifier: int) -> list[Partition]:
        if identifier > self._last:
            return self._today
        place = bisect_right(self._firsts, identifier)
        nearest = self._by_ids[max(0, place - 3) : place + 1][::-1]
        inside = [partition for partition in nearest if _holds(partition.typical_range, identifier)]
        return inside or [partition for partition in nearest if _holds(partition.ids, identifier)]

    def _possible(self, identifier: int) -> list[Partition]:
        place = bisect_right(self._firsts, identifier)
        neighbours = self._by_ids[max(0, place - 1) : place + 1]
        holding = (partition for partition in self._by_ids if _holds(partition.ids, identifier))
        return list(dict.fromkeys([*neighbours, *self._today, *holding]))

    def _newest(self) -> list[Partition]:
        """The partitions that are likely to have grown: those with the highest ids, and of yesterday to tomorrow."""
        highest = sorted(self._by_ids, key=lambda partition: partition.ids or (0, 0))[-2:]
        return list(dict.fromkeys([*highest, *self._today]))

    def _replace(self, partitions: Iterable[Partition]) -> None:
        self._partitions = {partition.oid: partition for partition in partitions}
        self._index_by_ids()
        self._index_by_time()

    def _index_by_ids(self) -> None:
        """Sorts the partitions by typical range, or by the range of all ids if that is unknown."""
        ranged = [(p.typical_range or p.ids, p) for p in self._partitions.values()]
        known = sorted(((ids, p) for ids, p in ranged if ids), key=lambda pair: (pair[0], pair[1].oid))
        self._by_ids = [partition for _, partition in known]
        self._firsts = [ids[0] for ids, _ in known]
        self._last = max((partition.ids[1] for partition in self._by_ids if partition.ids), default=0)

    def _index_by_time(self) -> None:
        ranged = [(p.time_range, p) for p in self._partitions.values()]
        bounded = sorted(((moment(r[0]), moment(r[1]), p) for r, p in ranged if r), key=lambda triple: triple[0])
        self._by_time = [partition for _, _, partition in bounded]
        self._starts = [start for start, _, _ in bounded]
        self._ends = [end for _, end, _ in bounded]
        self._unbounded = [partition for time_range, partition in ranged if time_range is None]
        begun = bisect_right(self._starts, datetime.now(UTC))
        self._today = [*reversed(self._by_time[max(0, begun - 2) : begun]), *self._by_time[begun : begun + 1]]


def _holds(ids: IdRange | None, identifier: int) -> bool:
    return ids is not None and ids[0] <= identifier <= ids[1]
