"""Reads the partitions of a table of calls and the range of ids of each.

Each foreign server is queried separately, so that only its own partitions stay unknown if it does not respond.
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

BATCH = 100  # Leaves in one statement that reads ranges of ids.
TIMEOUT = 3.0  # Seconds for such a statement. It waits for locks; a batch with a locked partition is divided.
SAMPLES = 9  # Rows that are sampled in a partition without statistics.
SAMPLED_BATCH = 20  # Leaves in one statement that samples.
GROWING = timedelta(days=2)  # A partition gets many rows until this long after its end.
BOUNDS = re.compile(r"FOR VALUES FROM \('([^']+)'\) TO \('([^']+)'\)")


@dataclass(frozen=True, slots=True)
class Leaf:
    """A table with rows. `name` is quoted. `server` is the oid of its foreign server, None for a local table."""

    oid: int
    name: str
    readable: bool
    server: int | None
    typical_range: IdRange | None = None


@dataclass(frozen=True, slots=True)
class Partition:
    """A partition of a table of calls.

    `name` is quoted. `time_range` is PostgreSQL's text, None if it has other bounds.
    `readable`: the role may read the partition directly. `ids` is the range of all ids, `typical_range` that of nearly
    all, without late rows; both None if no row was seen. `leaves` are its leaf tables, or itself if not partitioned.
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
        """True if the partition is partitioned itself."""
        return any(leaf.oid != self.oid for leaf in self.leaves)

    @property
    def servers(self) -> tuple[int, ...]:
        """The oids of the foreign servers with its rows."""
        return tuple(sorted({leaf.server for leaf in self.leaves if leaf.server is not None}))


@dataclass(frozen=True, slots=True)
class _Source:
    """A table to read the ids of a partition from: a leaf, or the parent with the partition's bounds as condition."""

    partition: Partition
    calls: str
    where: str
    servers: tuple[int, ...]


class PartitionReader:
    """Reads through a pool. Raises ApiError, but not for single partitions that cannot be read: they stay unchanged."""

    def __init__(self, pool: Pool, table: str) -> None:
        self._pool = pool
        self._table = table

    async def digest(self) -> str | None:
        """A text that changes when partitions are attached or detached."""
        [(digest,)] = await self._pool.fetch(Statement.from_file("queries/partition_list", table=self._table))
        return digest  # type: ignore[no-any-return] # Text, or NULL without partitions.

    async def read(self, known: Mapping[int, Partition]) -> list[Partition]:
        """All partitions. `known` are the partitions of the previous read, by oid."""
        listed = [_with_known(partition, known.get(partition.oid)) for partition in await self.listed(known)]
        return await self._with_samples(await self.with_ids(listed))

    async def listed(self, known: Mapping[int, Partition]) -> list[Partition]:
        """All partitions, without their current ids. Locked ones are taken from `known`, or left out."""
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
        """The same partitions with their current ranges of ids."""
        found = await self._ask(partitions, BATCH, _id_range)
        return [replace(p, ids=_hull(found[p.oid])) if p.oid in found else p for p in partitions]

    async def _with_samples(self, partitions: Sequence[Partition]) -> list[Partition]:
        """The same partitions; where a typical range is needed and unknown, it is estimated from sampled rows."""
        wanted = [p for p in _overlapping(partitions) if p.time_range and not p.typical_range]
        found = await self._ask(wanted, SAMPLED_BATCH, _id_sample)
        return [replace(p, typical_range=_hull(found[p.oid])) if p.oid in found else p for p in partitions]

    async def _ask(
        self, partitions: Iterable[Partition], size: int, shape: Callable[[_Source], str]
    ) -> Mapping[int, list[IdRange]]:
        """Ranges of ids by partition oid, of the partitions that can be read."""
        found: dict[int, list[IdRange]] = defaultdict(list)
        sources = sorted((s for p in partitions for s in _sources(p, self._table)), key=lambda source: source.servers)
        for _, group in groupby(sources, key=lambda source: source.servers):
            try:
                await self._ask_servers(list(group), size, shape, found)
            except (DatabaseFailedError, QueryTimeoutError):
                continue  # The pool has logged it. The other partitions of these servers would fail as well.
        return found

    async def _ask_servers(
        self, sources: Sequence[_Source], size: int, shape: Callable[[_Source], str], found: dict[int, list[IdRange]]
    ) -> None:
        """Reads in batches. A failed batch is divided; raises DatabaseFailedError if a foreign server is down."""
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
    """True if a foreign server of the query does not respond."""
    return bool(servers) if isinstance(error, QueryTimeoutError) else is_remote(error.sqlstate)


def relations(partitions: Iterable[Partition]) -> tuple[int, ...]:
    """The oids of some partitions and of their leaves."""
    return tuple({oid for partition in partitions for oid in (partition.oid, *(leaf.oid for leaf in partition.leaves))})


def _overlapping(partitions: Iterable[Partition]) -> list[Partition]:
    """The partitions whose ids overlap with more than their two neighbours."""
    ranged = [(partition, partition.ids) for partition in partitions if partition.ids]
    firsts, lasts = sorted(ids[0] for _, ids in ranged), sorted(ids[1] for _, ids in ranged)
    return [p for p, (first, last) in ranged if bisect_right(firsts, last) - bisect_left(lasts, first) > 3]


def _leaf(oid: int, name: str, readable: bool, server: int | None, low: int | None, high: int | None) -> Leaf:
    return Leaf(oid, name, readable, server, None if low is None or high is None else (low, high))


def _typical(leaves: Sequence[Leaf]) -> IdRange | None:
    ranges = [leaf.typical_range for leaf in leaves if leaf.typical_range]
    return _hull(ranges) if ranges and len(ranges) == len(leaves) else None


def _with_known(partition: Partition, known: Partition | None) -> Partition:
    """The partition with its previous ids, and with its previous typical range if it no longer grows."""
    if known is None:
        return partition
    grows = partition.time_range and moment(partition.time_range[1]) > datetime.now(UTC) - GROWING
    kept = None if grows else known.typical_range
    return replace(partition, ids=known.ids, typical_range=partition.typical_range or kept)


def _sources(partition: Partition, table: str) -> list[_Source]:
    """The tables to read; empty if the role may not read the leaves and the partition has no time bounds."""
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
    """Samples rows at even distances in time. The lowest and highest ids are ignored: they may belong to late rows."""
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
    """The time range of a partition's bounds in PostgreSQL's syntax; None for other kinds of bounds."""
    match = BOUNDS.fullmatch(bounds)
    return (match[1], match[2]) if match and all(map(_is_moment, match.groups())) else None


def moment(text: str) -> datetime:
    """Parses PostgreSQL's text of a time. Raises ValueError for years that Python does not support."""
    return datetime.fromisoformat(text)


def _is_moment(text: str) -> bool:
    try:
        return moment(text).tzinfo is not None
    except ValueError:
        return False
