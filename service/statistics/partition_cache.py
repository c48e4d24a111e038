"""Values by partition of calls, such as sums or counts, that are cached until the partition changes.

PostgreSQL counts inserted, updated and deleted rows of each partition. These counters are read every `seconds`; those
of recent days, which are likely to get late calls, at every request. Values that were read after the last observed
change of the counters are valid. A session publishes its counters within a second, or ten seconds after it has become
idle. Values from a replica are cached only if the partition has not changed for the maximal replication lag.
"""

from collections import OrderedDict
from collections.abc import Awaitable, Callable, Hashable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from math import inf
from time import monotonic
from typing import Generic, NamedTuple, TypeVar

from service.concurrency.cache import TTLCache
from service.errors import ApiError
from service.observability import metrics
from service.query import UNBOUNDED, TimeRange
from service.statistics import buckets

MAX_ENTRIES = 20_000  # Cached values, each for one question and one partition.
MAX_SIZE = 100_000  # Numbers in all values, of less than 1 kB each.
MAX_AGE = 3600.0  # Seconds.
RECENT = timedelta(days=2)  # Partitions are likely to get late calls until this long after their end.

Value = TypeVar("Value")


class PartitionState(NamedTuple):
    """A partition from `first` to `end` (exclusive) as Unix times. `version` changes with every change of its rows."""

    oid: int
    first: int
    end: int
    version: str


ReadStates = Callable[[Sequence[int] | None], Awaitable[Sequence[PartitionState]]]
"""Reads the states of the partitions with these oids, or of all partitions. Raises ApiError."""


@dataclass(frozen=True, slots=True)
class Entry(Generic[Value]):
    """A cached value. `made`: monotonic time at which reading it began. `size`: how many numbers it contains."""

    made: float
    value: Value
    size: int


class PartitionCache(Generic[Value]):
    """A cache for one table. `name` labels it in metrics. `lag`: of replicas, in seconds.

    `seconds`: interval of change checks; 0 disables the cache.
    """

    def __init__(self, name: str, read: ReadStates, seconds: float, lag: float) -> None:
        self._name = name
        self._read = read
        self._seconds = seconds
        self._lag = lag
        self._looks: TTLCache[None, Sequence[PartitionState]] = TTLCache("partition_changes", seconds, 1)
        self._changed: dict[int, tuple[str, float]] = {}  # By oid: the version, and the time it was first seen.
        self._entries: OrderedDict[Hashable, Entry[Value]] = OrderedDict()
        self._size = 0  # Of all entries.

    async def closed(self, first: datetime, end: datetime | None) -> Sequence[PartitionState]:
        """The past partitions that are completely between two times, ascending; none if caching is impossible.

        `end` is exclusive; None means no end.
        """
        now = datetime.now(UTC)
        if not self._seconds:
            return ()
        try:
            partitions = await self._looks.get(None, self._look)
            closed = [p for p in partitions if _is_inside(p, first, min(end or now, now))]
            recent = [p.oid for p in closed if buckets.moment(p.end) > now - RECENT]
            if recent:
                self._note(await self._read(recent), recent)
        except ApiError:
            return ()
        return closed

    def get(self, key: bytes, partition: PartitionState) -> Value | None:
        """The valid value of a partition, None if there is none. `key` is a digest of the question."""
        place = key, partition.oid, partition.first, partition.end
        entry = self._entries.get(place)
        if entry and not max(self._settled(partition), monotonic() - MAX_AGE) <= entry.made:
            entry = None
        if entry:
            self._entries.move_to_end(place)
        metrics.count_cache_request(self._name, hit=entry is not None)
        return entry.value if entry else None

    def keep(self, key: bytes, partition: PartitionState, made: float, value: Value, size: int = 1) -> None:
        """Caches a value, which is valid unless the partition has changed since `made`; see `Entry` for units."""
        place = key, partition.oid, partition.first, partition.end
        self._forget(place)
        self._entries[place] = Entry(made, value, size)
        self._size += size
        while len(self._entries) > MAX_ENTRIES or self._size > MAX_SIZE:
            self._forget(next(iter(self._entries)))

    async def _look(self) -> Sequence[PartitionState]:
        partitions = await self._read(None)
        self._note(partitions, tuple(self._changed))
        return sorted(partitions, key=lambda partition: partition.first)

    def _note(self, partitions: Iterable[PartitionState], oids: Iterable[int]) -> None:
        """Records the versions of the partitions with these oids; removes partitions that no longer exist."""
        seen, before = monotonic(), {oid: self._changed.pop(oid, None) for oid in oids}
        for oid, _, _, version in partitions:
            noted = before.get(oid)
            self._changed[oid] = noted if noted and noted[0] == version else (version, seen)

    def _settled(self, partition: PartitionState) -> float:
        """The monotonic time from which on values include all observed changes of the partition."""
        return self._changed.get(partition.oid, ("", inf))[1] + self._lag

    def _forget(self, place: Hashable) -> None:
        if entry := self._entries.pop(place, None):
            self._size -= entry.size


def gaps(first: datetime, end: datetime | None, known: Iterable[PartitionState]) -> Iterator[TimeRange]:
    """The ranges from `first` to `end` (exclusive; None means no end) without the known partitions, ascending."""
    position = first
    for partition in known:
        if position < buckets.moment(partition.first):
            yield position.isoformat(), buckets.moment(partition.first).isoformat()
        position = buckets.moment(partition.end)
    if end is None or position < end:
        yield position.isoformat(), end.isoformat() if end else UNBOUNDED


def _is_inside(partition: PartitionState, first: datetime, end: datetime) -> bool:
    return buckets.moment(partition.first) >= first and buckets.moment(partition.end) <= end
