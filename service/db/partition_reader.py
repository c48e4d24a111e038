"""Reads which partitions a table of calls has, and between which ids the rows of each lie.

What lies on another server is asked for separately, so that a server that does not answer leaves only its own
partitions unknown.
"""

import re
from bisect import bisect_left, bisect_right
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from itertools import groupby

from service.db import select
from service.db.failures import is_remote
from service.db.pool import Pool
from service.db.statement import Statement, read_sql
from service.errors import DatabaseFailedError, QueryTimeoutError
from service.query import TimeRange

IdRange = tuple[int, int]  # Both ends are included.

BATCH = 100  # Leaves whose range of ids is read in one statement.
TIMEOUT = 3.0  # Seconds for such a statement. It waits for locks, and a batch with a locked partition is divided.
SAMPLES = 9  # Rows whose ids stand for all of a partition without statistics.
SAMPLED_BATCH = 20  # Leaves that are sampled in one statement.
GROWING = timedelta(days=2)  # How long after its end a partition still gets many rows.
BOUNDS = re.compile(r"FOR VALUES FROM \('([^']+)'\) TO \('([^']+)'\)")


@dataclass(frozen=True, slots=True)
class Leaf:
    """A table that holds rows: `name` is quoted, `server` the oid of the foreign server behind it, if there is one."""

    oid: int
    name: str
    readable: bool
    server: int | None
    typical_range: IdRange | None = None


@dataclass(frozen=True, slots=True)
class Partition:
    """A partition of a table of calls.

    `name` is quoted. `time_range` is as PostgreSQL writes it, None if it has other bounds.
    `readable`: the role may read it by itself. `ids` is the range of all its ids, `typical_range` that of nearly all,
    which late rows do not stretch; None if no row was seen. `leaves` is itself, if it is not partitioned.
    """

    oid: int
    name: str
    time_range: TimeRange | None
    readable: bool
    leaves: tuple[Leaf, ...] = ()
    typical_range: IdRange | None = None
    ids: IdRange | None = None

    @property
    def partitioned(self) -> bool:
        """Whether it is partitioned itself."""
        return any(leaf.oid != self.oid for leaf in self.leaves)

    @property
    def servers(self) -> tuple[int, ...]:
        """The foreign servers that hold its rows."""
        return tuple(sorted({leaf.server for leaf in self.leaves if leaf.server is not None}))


@dataclass(frozen=True, slots=True)
class _Source:
    """What is asked for the ids of a partition: one leaf, or all of the partition within its bounds."""

    partition: Partition
    calls: str
    where: str
    servers: tuple[int, ...]


class PartitionReader:
    """Reads through a pool. Raises ApiError, except for partitions that cannot be asked, which stay as they were."""

    def __init__(self, pool: Pool, table: str) -> None:
        self._pool = pool
        self._table = table

    async def digest(self) -> str | None:
        """A text that changes when partitions are attached or detached."""
        [(digest,)] = await self._pool.fetch(Statement.from_file("queries/partition_list", table=self._table))
        return digest  # type: ignore[no-any-return] # A text, or NULL if there are none.

    async def read(self, known: Mapping[int, Partition]) -> list[Partition]:
        """All partitions. `known` are the partitions of the last time, by oid."""
        listed = [_with_known(partition, known.get(partition.oid)) for partition in await self.listed(known)]
        return await self._with_samples(await self.with_ids(listed))

    async def listed(self, known: Mapping[int, Partition]) -> list[Partition]:
        """All partitions, without the ids that they have now. One that is locked is as it is known, or left out."""
        rows = await self._pool.fetch(Statement.from_file("queries/partitions", table=self._table))
        rows.sort(key=lambda row: row[0])
        partitions = []
        for (oid, name, bounds, readable), group in groupby(rows, key=lambda row: row[:4]):
            leaves = tuple(_leaf(*row[4:]) for row in group)
            if bounds is None and oid not in known:
                continue
            found = known[oid].time_range if bounds is None else time_range(bounds)
            partitions.append(Partition(oid, name, found, readable, leaves, _typical(leaves)))
        return partitions

    async def with_ids(self, partitions: Sequence[Partition]) -> list[Partition]:
        """The same partitions with the ranges of ids that they have now."""
        found = await self._ask(partitions, BATCH, _id_range)
        return [replace(p, ids=_hull(found[p.oid])) if p.oid in found else p for p in partitions]

    async def _with_samples(self, partitions: Sequence[Partition]) -> list[Partition]:
        """The same partitions; those whose typical range is needed and not known get the range of some ids."""
        wanted = [p for p in _overlapping(partitions) if p.time_range and not p.typical_range]
        found = await self._ask(wanted, SAMPLED_BATCH, _id_sample)
        return [replace(p, typical_range=_hull(found[p.oid])) if p.oid in found else p for p in partitions]

    async def _ask(
        self, partitions: Iterable[Partition], size: int, shape: Callable[[_Source], str]
    ) -> Mapping[int, list[IdRange]]:
        """Ranges of ids by the oids of partitions, as far as they can be read."""
        found: dict[int, list[IdRange]] = defaultdict(list)
        sources = sorted((s for p in partitions for s in _sources(p, self._table)), key=lambda source: source.servers)
        for _, group in groupby(sources, key=lambda source: source.servers):
            try:
                await self._ask_servers(list(group), size, shape, found)
            except (DatabaseFailedError, QueryTimeoutError):
                continue  # The pool has logged why; the other partitions of these servers would fail as well.
        return found

    async def _ask_servers(
        self, sources: Sequence[_Source], size: int, shape: Callable[[_Source], str], found: dict[int, list[IdRange]]
    ) -> None:
        """Asks in batches. A batch that fails is divided, unless a server behind it is away, which is raised."""
        for start in range(0, len(sources), size):
            batch = sources[start : start + size]
            text = " UNION ALL ".join(map(shape, batch))
            try:
                rows = await self._pool.fetch(Statement(text, name="id_range", timeout=TIMEOUT))
            except (DatabaseFailedError, QueryTimeoutError) as error:
                if _is_away(error, batch[0].servers):
                    raise
                if len(batch) > 1:
                    await self._ask_servers(batch, len(batch) // 2, shape, found)
                continue
            for oid, first, last in rows:
                if first is not None:
                    found[oid].append((first, last))


def _is_away(error: DatabaseFailedError | QueryTimeoutError, servers: Sequence[int]) -> bool:
    """Whether one of the foreign servers that were asked does not answer."""
    return bool(servers) if isinstance(error, QueryTimeoutError) else is_remote(error.sqlstate)


def relations(partitions: Iterable[Partition]) -> tuple[int, ...]:
    """The oids of some partitions and of their leaves."""
    return tuple({oid for partition in partitions for oid in (partition.oid, *(leaf.oid for leaf in partition.leaves))})


def _overlapping(partitions: Iterable[Partition]) -> list[Partition]:
    """Those whose ids overlap with those of more than their two neighbours."""
    ranged = [(partition, partition.ids) for partition in partitions if partition.ids]
    firsts, lasts = sorted(ids[0] for _, ids in ranged), sorted(ids[1] for _, ids in ranged)
    return [p for p, (first, last) in ranged if bisect_right(firsts, last) - bisect_left(lasts, first) > 3]


def _leaf(oid: int, name: str, readable: bool, server: int | None, low: int | None, high: int | None) -> Leaf:
    return Leaf(oid, name, readable, server, None if low is None or high is None else (low, high))


def _typical(leaves: Sequence[Leaf]) -> IdRange | None:
    ranges = [leaf.typical_range for leaf in leaves if leaf.typical_range]
    return _hull(ranges) if ranges and len(ranges) == len(leaves) else None


def _with_known(partition: Partition, known: Partition | None) -> Partition:
    """The partition with the ids that it had, and with the range of its sample if it no longer grows."""
    if known is None:
        return partition
    grows = partition.time_range and moment(partition.time_range[1]) > datetime.now(UTC) - GROWING
    kept = None if grows else known.typical_range
    return replace(partition, ids=known.ids, typical_range=partition.typical_range or kept)


def _sources(partition: Partition, table: str) -> list[_Source]:
    """Empty if the role may not read its leaves, and its bounds do not tell it from others."""
    if partition.leaves and all(leaf.readable for leaf in partition.leaves):
        return [
            _Source(partition, leaf.name, "TRUE", () if leaf.server is None else (leaf.server,))
            for leaf in partition.leaves
        ]
    if partition.readable:
        return [_Source(partition, partition.name, "TRUE", partition.servers)]
    if partition.time_range:
        return [_Source(partition, table, select.in_ranges([partition.time_range]), partition.servers)]
    return []


def _id_range(source: _Source) -> str:
    shape = read_sql("shapes/id_range")
    return shape.format(oid=source.partition.oid, calls=source.calls, where=source.where)


def _id_sample(source: _Source) -> str:
    """Rows at even distances in time. The outermost ids are left out: they may be those of late rows."""
    moments = _spread(source.partition.time_range)
    probe = read_sql("shapes/id_probe")
    probes = " UNION ".join(
        probe.format(calls=source.calls, where=source.where, moment=moment.isoformat()) for moment in moments
    )
    return read_sql("shapes/id_sample").format(oid=source.partition.oid, probes=probes)


def _spread(time_range: TimeRange | None) -> list[datetime]:
    if time_range is None:
        return []
    first, end = map(moment, time_range)
    return [first + (end - first) * number / SAMPLES for number in range(SAMPLES)]


def _hull(ranges: Iterable[IdRange]) -> IdRange:
    firsts, lasts = zip(*ranges, strict=True)
    return min(firsts), max(lasts)


def time_range(bounds: str) -> TimeRange | None:
    """The range in a partition's bounds as PostgreSQL writes them; None if they are of another kind."""
    match = BOUNDS.fullmatch(bounds)
    return (match[1], match[2]) if match and all(map(_is_moment, match.groups())) else None


def moment(text: str) -> datetime:
    """A time as PostgreSQL writes it. Raises ValueError for years that Python does not have."""
    return datetime.fromisoformat(text)


def _is_moment(text: str) -> bool:
    try:
        return moment(text).tzinfo is not None
    except ValueError:
        return False
