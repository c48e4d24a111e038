"""Finds a record by id: first in the partitions that the directory names, then in all partitions."""

from collections.abc import Mapping, Sequence
from dataclasses import replace

from service.db import select
from service.db.failures import INSUFFICIENT_PRIVILEGE, UNDEFINED_TABLE
from service.db.partition_reader import Partition, relations
from service.db.partitions import PartitionDirectory
from service.db.pool import Pool
from service.db.records import Queryable, Row
from service.db.replicas import ReplicaRouter
from service.db.statement import Statement
from service.errors import DatabaseFailedError
from service.observability import metrics
from service.query import Filter, Page, Query, Sort, TimeRange

STALE = (UNDEFINED_TABLE, INSUFFICIENT_PRIVILEGE)  # SQLSTATEs of a statement on a partition that no longer exists.


class RecordLookup:
    """Finds records in the caller's scope. Rows have the query's columns; its filters and window are ignored."""

    def __init__(self, calls: ReplicaRouter, routing: Pool, directories: Mapping[str, PartitionDirectory]) -> None:
        self._calls = calls
        self._routing = routing
        self._directories = directories

    async def nearby(self, query: Query, identifier: str) -> Row | None:
        """The record if it is in a partition that the directory names, else None. Raises ApiError."""
        if not query.resource.integer_ids:
            return await self._by_uuid(query, identifier)
        if not _fits(identifier):
            return None
        for number, group in enumerate(self._directory(query).candidates(int(identifier))):
            try:
                row = await self._in_partitions(query, int(identifier), group)
            except DatabaseFailedError:
                continue  # The record may be in another partition; if not, the search fails as well.
            if row is not None:
                metrics.series(metrics.DIRECTORY_LOOKUPS, "id_range" if number else "typical_range").inc()
                return row
        return None

    async def everywhere(self, query: Query, identifier: str) -> Row | None:
        """The record, after a search of all partitions on the primary; None if it does not exist. Raises ApiError."""
        if not query.resource.integer_ids or not _fits(identifier):
            return None
        found = await self._directory(query).search(int(identifier))
        if found.moments:
            # A replica may not have the record yet.
            moments = [(moment, moment) for moment in found.moments]
            row = await self._in_ranges(self._calls.primary, query, int(identifier), moments)
            if row is not None:
                metrics.series(metrics.DIRECTORY_LOOKUPS, "search").inc()
                return row
        if found.failure is not None:
            raise found.failure
        metrics.series(metrics.DIRECTORY_LOOKUPS, "not_found").inc()
        return None

    def _directory(self, query: Query) -> PartitionDirectory:
        return self._directories[query.resource.table]

    async def _by_uuid(self, query: Query, identifier: str) -> Row | None:
        condition = Filter("id", "eq", (identifier,))
        wanted = Query(query.resource, query.columns, query.caller, (condition,), (Sort("id"),), Page(size=1))
        rows = await self._routing.fetch(select.records(wanted))
        return rows[0] if rows else None

    async def _in_partitions(self, query: Query, identifier: int, group: Sequence[Partition]) -> Row | None:
        """The record in a group of partitions. The statement names or bounds them, so that no other is planned."""
        if len(group) == 1 and group[0].readable:
            try:
                rows = await self._calls.fetch(_in_partition(query, identifier, group[0]))
                return rows[0] if rows else None
            except DatabaseFailedError as error:
                if error.sqlstate not in STALE:
                    raise
                self._directory(query).invalidate()
        ranges = [partition.time_range for partition in group if partition.time_range]
        return await self._in_ranges(self._calls, query, identifier, ranges if len(ranges) == len(group) else None)

    async def _in_ranges(
        self, source: Queryable, query: Query, identifier: int, ranges: Sequence[TimeRange] | None
    ) -> Row | None:
        """The record in these time ranges, or in all partitions if `ranges` is None."""
        statement = select.by_id(query, identifier, ranges)
        planned = self._directory(query).planned_in(ranges) if ranges else ()
        rows = await source.fetch(replace(statement, partitions=relations(planned)))
        return rows[0] if rows else None


def _in_partition(query: Query, identifier: int, partition: Partition) -> Statement:
    """The statement for one partition. It is not prepared for a partitioned one: pruning needs constants."""
    statement = select.by_id_in_partition(query, identifier, partition.name, partition.oid, STALE)
    if partition.partitioned:
        return replace(statement, repeated=False, partitions=relations([partition]))
    return statement


def _fits(identifier: str) -> bool:
    """True if the id fits into bigint. For other values, PostgreSQL would search all partitions in vain."""
    return len(identifier) <= 20 and -(2**63) <= int(identifier) < 2**63
