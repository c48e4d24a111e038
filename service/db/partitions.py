"""An id goes in, the partitions of cdr.cdr that may hold it come out, the likeliest first.

Ids come from one sequence and follow the calls' ends, so nearly all rows of a partition lie in a range of ids that it
hardly shares, its core; a few late rows stretch the range of all its ids, its envelope, over many days. The directory
only says where to look first. Rows are added at any time, so that there is no such call is only ever said by a search
of all partitions.
"""

import asyncio
import re
import time
from bisect import bisect_right
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any

import structlog

from service.db import select
from service.db.pool import Pool
from service.db.search import PartitionSearch
from service.db.statement import Statement, read_sql
from service.observability import metrics
from service.query import TimeRange

log = structlog.get_logger()

RELOAD = 300.0  # Seconds until all is read anew, late rows and statistics included.
MAX_RANGES = 32  # In one statement; where the envelopes of more hold an id, a search is no dearer.
BATCH = 100  # Partitions whose range of ids is read at once.
BOUNDS = re.compile(r"FOR VALUES FROM \('([^']+)'\) TO \('([^']+)'\)")


@dataclass(frozen=True, slots=True)
class Partition:
    """A partition: `name` is quoted, `span` its bounds in time as PostgreSQL writes them, None where it has none.

    `readable` tells whether the role may read it by itself. `ids` is the envelope and `core` the core, both with their
    ends; None where no row was seen.
    """

    oid: int
    name: str
    time_range: TimeRange | None
    readable: bool
    typical_range: tuple[int, int] | None = None
    ids: tuple[int, int] | None = None


class PartitionDirectory:
    """Kept by `watch`, which reads what has changed every `refresh` seconds."""

    def __init__(self, pool: Pool, search: PartitionSearch, refresh: float) -> None:
        self._pool = pool
        self._search = search
        self._refresh = refresh
        self._wake = asyncio.Event()
        self._listed: str | None = None
        self._loaded = -RELOAD
        self.refreshed: float | None = None  # When it was last read, by the monotonic clock.
        self._replace([])

    async def watch(self) -> None:
        """Reads the directory now and then, and survives whatever goes wrong; it is never more than a help."""
        while True:
            try:
                await self.refresh()
            except Exception as error:
                log.warning("partitions not read", error=" ".join(str(error).split()))
            if self.refreshed is not None:
                metrics.DIRECTORY_AGE_SECONDS.set(time.monotonic() - self.refreshed)
            self._wake.clear()
            try:
                async with asyncio.timeout(self._refresh):
                    await self._wake.wait()
            except TimeoutError:
                continue

    async def refresh(self) -> None:
        """Reads all if the partitions are others than before or it is time, else the newest. Raises ApiError."""
        [(listed,)] = await self._fetch("queries/partition_list")
        if listed != self._listed or time.monotonic() - self._loaded >= RELOAD:
            self._replace(await self._ranged(await self._named()))
            self._listed, self._loaded = listed, time.monotonic()
            if len(self._partitions) > BATCH:
                self._pool.close_idle()  # Their backends remember every partition that they have read.
        else:
            newest = {partition.oid: partition for partition in await self._ranged(self._newest())}
            self._replace([newest.get(partition.oid, partition) for partition in self._partitions.values()])
        self.refreshed = time.monotonic()

    def invalidate(self) -> None:
        """To be told where a partition turned out to be another than the directory says."""
        self._listed = None
        self._wake.set()

    def candidates(self, identifier: int) -> Iterator[Sequence[Partition]]:
        """Groups of partitions to be asked one after the other; may well leave out where the id is."""
        asked: set[int] = set()
        for partition in self._likely(identifier):
            asked.add(partition.oid)
            yield [partition]
        others = [partition for partition in self._possible(identifier) if partition.oid not in asked]
        bounded = [partition for partition in others if partition.time_range]
        if 0 < len(bounded) <= MAX_RANGES:
            yield bounded
        yield from ([partition] for partition in others if not partition.time_range)

    def count_since(self, moment: datetime) -> int:
        """How many partitions may hold calls of this moment and later."""
        return sum(not p.time_range or _moment(p.time_range[1]) > moment for p in self._partitions.values())

    def extent(self, column: str, moment: datetime) -> tuple[Any, Any] | None:
        """About between which ids or times the calls of this moment and later lie; None where that is unknown."""
        if not self._bounded:
            return None
        oldest = self._bounded[max(0, bisect_right(self._starts, moment) - 1)]
        if column == "id":
            return (oldest.typical_range[0], self._last) if oldest.typical_range else None
        return max(moment, self._starts[0]), datetime.now(UTC)

    async def search(self, identifier: int) -> Sequence[Partition | None]:
        """Where the id is, now and for certain; None stands for the table itself or a partition not known yet.

        Raises ApiError.
        """
        oids = await self._search.find(identifier)
        if not self._partitions.keys() >= set(oids):
            self.invalidate()
        return [self._partitions.get(oid) for oid in oids]

    def _likely(self, identifier: int) -> list[Partition]:
        if identifier > self._last:
            return self._today
        place = bisect_right(self._firsts, identifier)
        nearest = self._cores[max(0, place - 3) : place + 1][::-1]
        inside = [partition for partition in nearest if _within(identifier, partition.typical_range)]
        return inside or [partition for partition in nearest if _within(identifier, partition.ids)]

    def _possible(self, identifier: int) -> list[Partition]:
        place = bisect_right(self._firsts, identifier)
        neighbours = self._cores[max(0, place - 1) : place + 1]
        holding = (partition for partition in self._cores if _within(identifier, partition.ids))
        return list(dict.fromkeys([*neighbours, *self._today, *holding]))

    def _newest(self) -> list[Partition]:
        """Those that are likely to have grown: with the highest ids, and of today and its neighbours."""
        highest = sorted(self._cores, key=lambda partition: partition.ids or (0, 0))[-2:]
        return list(dict.fromkeys([*highest, *self._today]))

    def _replace(self, partitions: Iterable[Partition]) -> None:
        self._partitions = {partition.oid: partition for partition in partitions}
        cores = [
            (partition.typical_range, partition) for partition in self._partitions.values() if partition.typical_range
        ]
        self._cores = [partition for _, partition in sorted(cores, key=lambda pair: (pair[0], pair[1].oid))]
        self._firsts = [partition.typical_range[0] for partition in self._cores if partition.typical_range]
        self._last = max((partition.ids[1] for partition in self._cores if partition.ids), default=0)
        bounded = sorted((p for p in self._partitions.values() if p.time_range), key=lambda p: _moment(p.time_range[0]))  # type: ignore[index] # has one
        self._bounded, self._starts = bounded, [_moment(p.time_range[0]) for p in bounded if p.time_range]
        begun = bisect_right(self._starts, datetime.now(UTC))
        self._today = [*reversed(bounded[max(0, begun - 2) : begun]), *bounded[begun : begun + 1]]

    async def _named(self) -> list[Partition]:
        rows = await self._fetch("queries/partitions")
        return [
            Partition(oid, name, _span(bounds), readable, None if low is None or high is None else (low, high))
            for oid, name, bounds, readable, low, high in rows
        ]

    async def _ranged(self, partitions: Sequence[Partition]) -> list[Partition]:
        """The same with the ranges of ids that they have now; those that cannot be asked are left as they are."""
        found: dict[int, tuple[int, int]] = {}
        asked = [partition for partition in partitions if partition.readable or partition.time_range]
        for start in range(0, len(asked), BATCH):
            text = " UNION ALL ".join(map(_id_range, asked[start : start + BATCH]))
            rows = await self._pool.fetch(Statement(text, name="id_range"))
            found |= {oid: (first, last) for oid, first, last in rows if first is not None}
        return [
            replace(p, ids=found[p.oid], typical_range=p.typical_range or found[p.oid]) if p.oid in found else p
            for p in partitions
        ]

    async def _fetch(self, name: str) -> list[tuple[Any, ...]]:
        return await self._pool.fetch(Statement.from_file(name))


def _id_range(partition: Partition) -> str:
    """The statement for one partition; who may read only the whole table asks that, within the partition's span."""
    calls = partition.name
    if not partition.readable and partition.time_range:
        calls = f"{select.CALLS} WHERE {select.in_ranges([partition.time_range])}"
    return read_sql("shapes/id_range").format(oid=partition.oid, partition=calls)


def _span(bounds: str | None) -> TimeRange | None:
    match = BOUNDS.fullmatch(bounds or "")
    return (match[1], match[2]) if match and all(map(_is_moment, match.groups())) else None


def _moment(text: str) -> datetime:
    return datetime.fromisoformat(text)


def _is_moment(text: str) -> bool:
    try:
        return _moment(text).tzinfo is not None
    except ValueError:
        return False


def _within(identifier: int, ends: tuple[int, int] | None) -> bool:
    return ends is not None and ends[0] <= identifier <= ends[1]
