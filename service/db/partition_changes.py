"""Reads the change counters of partitions, which tell whether cached values of a partition are valid."""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from datetime import datetime

from service.db.partition_reader import moment, time_range
from service.db.pool import Pool
from service.db.statement import Statement
from service.statistics import buckets
from service.statistics.partition_cache import PartitionState

TIMEOUT = 3.0  # Seconds. It may wait for a lock; without the counters, nothing is cached.


class PartitionChanges:
    """Reads through a pool of the primary, because replicas do not count changes."""

    def __init__(self, primary: Pool, table: str) -> None:
        self._primary = primary
        self._table = table

    async def read(self, oids: Sequence[int] | None = None) -> list[PartitionState]:
        """The partitions between two whole seconds, all or those with `oids`. Raises ApiError."""
        wanted = None if oids is None else list(oids)
        statement = Statement.from_file("queries/partition_changes", table=self._table, oids=wanted)
        rows = await self._primary.fetch(replace(statement, timeout=TIMEOUT))
        return [
            PartitionState(oid, buckets.seconds(first), buckets.seconds(end), version)
            for oid, bounds, version in rows
            for first, end in _whole_seconds(bounds)
        ]


def _whole_seconds(bounds: str) -> Iterator[tuple[datetime, datetime]]:
    """The time range of a partition; nothing if it has other bounds, or bounds with fractions of a second."""
    if ends := time_range(bounds):
        first, end = map(moment, ends)
        if not first.microsecond and not end.microsecond:
            yield first, end
