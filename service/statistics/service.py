"""Sums of calls by bucket. Sums of past days are cached until their partition changes.

PostgreSQL counts inserted, updated and deleted rows of each partition. These counters are read every `seconds`; those
of recent days, which are likely to get late calls, at every request. Sums that were read after the last observed change
of the counters are valid. A session publishes its counters within a second, or ten seconds after it has become idle.
Sums from a replica are cached only if the partition has not changed for the maximal replication lag.
"""

import hashlib
from bisect import bisect_right
from collections import OrderedDict
from collections.abc import Hashable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from math import inf
from time import monotonic
from typing import NamedTuple, Protocol

from service.concurrency.cache import TTLCache
from service.errors import ApiError
from service.observability import metrics
from service.query import Query, TimeRange
from service.statistics import buckets
from service.statistics.question import Question
from service.statistics.sums import CallSums

MAX_ENTRIES = 20_000  # Cached entries, each for one question and one partition.
MAX_SUMS = 100_000  # Buckets in all entries, of less than 1 kB each.
MAX_AGE = 3600.0  # Seconds.
RECENT = timedelta(days=2)  # Partitions are likely to get late calls until this long after their end.
TICK = timedelta(microseconds=1)  # The resolution of PostgreSQL's times.

SumsByStart = Mapping[int, CallSums]


class Measures(NamedTuple):
    """The columns to sum up."""

    duration: str
    price: str


class PartitionState(NamedTuple):
    """A partition from `first` to `end` (exclusive) as Unix times. `version` changes with every change of its rows."""

    oid: int
    first: int
    end: int
    version: str


class StatisticsSource(Protocol):
    """Reads sums of calls."""

    async def sums(self, query: Query, measures: Measures, starts: Sequence[int]) -> SumsByStart:
        """The sums of the query's calls by start of the bucket, without empty buckets."""

    async def partitions(self, oids: Sequence[int] | None = None) -> Sequence[PartitionState]:
        """The state of all partitions, or of those with `oids`."""


@dataclass(frozen=True, slots=True)
class Entry:
    """Cached sums of a partition. `made`: monotonic time at which reading them began."""

    made: float
    sums: SumsByStart


class CallStatistics:
    """Sums up calls. `seconds`: interval of change checks, 0 disables the cache. `lag`: of replicas, in seconds."""

    def __init__(self, source: StatisticsSource, seconds: float, lag: float) -> None:
        self._source = source
        self._seconds = seconds
        self._lag = lag
        self._looks: TTLCache[None, Sequence[PartitionState]] = TTLCache("partition_changes", seconds, 1)
        self._changed: dict[int, tuple[str, float]] = {}  # By oid: the version, and the time it was first seen.
        self._entries: OrderedDict[Hashable, Entry] = OrderedDict()
        self._size = 0  # Buckets in all entries.

    async def sums(self, query: Query, measures: Measures, question: Question, starts: Sequence[int]) -> SumsByStart:
        """The sums of the query's calls by start of the bucket, without empty buckets. Raises ApiError.

        `starts` are the starts of all buckets.
        """
        first, last = question.first, question.last
        closed = await self._closed(first, last)
        asked = query.resource.type, query.caller, query.filters, measures, question.sampling
        key = hashlib.sha256(repr(asked).encode("utf-8", "surrogatepass")).digest()
        known = {p: entry for p in closed if (entry := self._fresh(key, p))}
        found = {start: sums for entry in known.values() for start, sums in entry.sums.items()}
        ranges = tuple(_gaps(first, last, known))
        if ranges:
            made = monotonic()
            pieces = sorted({*starts, *(end for partition in closed for end in (partition.first, partition.end))})
            read = await self._source.sums(replace(query, ranges=ranges), measures, pieces)
            for partition in closed:
                if partition not in known:
                    inside = {start: sums for start, sums in read.items() if partition.first <= start < partition.end}
                    self._keep(key, partition, Entry(made, inside))
            found.update(read)
        return _merged(found, starts)

    async def _closed(self, first: datetime, last: datetime) -> Sequence[PartitionState]:
        """The past partitions that are completely between two times, ascending; none if caching is impossible."""
        now = datetime.now(UTC)
        if not self._seconds:
            return ()
        try:
            partitions = await self._looks.get(None, self._look)
            closed = [p for p in partitions if _is_inside(p, first, min(last, now))]
            recent = [p.oid for p in closed if buckets.moment(p.end) > now - RECENT]
            if recent:
                self._note(await self._source.partitions(recent), recent)
        except ApiError:
            return ()
        return closed

    async def _look(self) -> Sequence[PartitionState]:
        partitions = await self._source.partitions()
        self._note(partitions, tuple(self._changed))
        return sorted(partitions, key=lambda partition: partition.first)

    def _note(self, partitions: Iterable[PartitionState], oids: Iterable[int]) -> None:
        """Records the versions of the partitions with these oids; removes partitions that no longer exist."""
        seen, before = monotonic(), {oid: self._changed.pop(oid, None) for oid in oids}
        for oid, _, _, version in partitions:
            noted = before.get(oid)
            self._changed[oid] = noted if noted and noted[0] == version else (version, seen)

    def _settled(self, partition: PartitionState) -> float:
        """The monotonic time from which on sums include all observed changes of the partition."""
        return self._changed.get(partition.oid, ("", inf))[1] + self._lag

    def _fresh(self, key: bytes, partition: PartitionState) -> Entry | None:
        place = key, partition.oid, partition.first, partition.end
        entry = self._entries.get(place)
        if entry and not max(self._settled(partition), monotonic() - MAX_AGE) <= entry.made:
            entry = None
        if entry:
            self._entries.move_to_end(place)
        metrics.count_cache_request("day_sums", hit=entry is not None)
        return entry

    def _keep(self, key: bytes, partition: PartitionState, entry: Entry) -> None:
        if entry.made < self._settled(partition):
            return
        place = key, partition.oid, partition.first, partition.end
        self._forget(place)
        self._entries[place] = entry
        self._size += len(entry.sums)
        while len(self._entries) > MAX_ENTRIES or self._size > MAX_SUMS:
            self._forget(next(iter(self._entries)))

    def _forget(self, place: Hashable) -> None:
        if entry := self._entries.pop(place, None):
            self._size -= len(entry.sums)


def _is_inside(partition: PartitionState, first: datetime, last: datetime) -> bool:
    return buckets.moment(partition.first) >= first and buckets.moment(partition.end) <= last + TICK


def _gaps(first: datetime, last: datetime, known: Iterable[PartitionState]) -> Iterator[TimeRange]:
    """The ranges from `first` to `last`, both included, without the known partitions, which are ascending."""
    position = first
    for partition in known:
        if position < buckets.moment(partition.first):
            yield position.isoformat(), buckets.moment(partition.first).isoformat()
        position = buckets.moment(partition.end)
    if position <= last:
        yield position.isoformat(), (last + TICK).isoformat()


def _merged(found: SumsByStart, starts: Sequence[int]) -> dict[int, CallSums]:
    """Merges sums of parts into sums of buckets."""
    merged: dict[int, CallSums] = {}
    for start, sums in found.items():
        bucket = starts[max(0, bisect_right(starts, start) - 1)]
        merged[bucket] = merged[bucket].plus(sums) if bucket in merged else sums
    return merged
