"""One record by its id, wherever it lies: first where the directory expects it, then where a search finds it."""

from collections.abc import Sequence

from psycopg2.errors import InsufficientPrivilege, UndefinedTable

from service.db import select
from service.db.partitions import Partition, PartitionDirectory
from service.db.pool import Pool
from service.db.records import Queryable, Row
from service.db.replicas import ReplicaRouter
from service.observability import metrics
from service.query import Filter, Page, Query, Sort


class RecordLookup:
    """Finds records of the caller's scope. Rows have the query's columns; its filters and window do not matter."""

    def __init__(self, calls: ReplicaRouter, routing: Pool, directory: PartitionDirectory) -> None:
        self._calls = calls
        self._routing = routing
        self._directory = directory

    async def nearby(self, query: Query, identifier: str) -> Row | None:
        """The record, if it lies where the directory expects it. None says nothing yet. Raises ApiError."""
        if not query.resource.integer_ids:
            return await self._by_uuid(query, identifier)
        if not _fits(identifier):
            return None
        for number, group in enumerate(self._directory.candidates(int(identifier))):
            row = await self._within(self._calls, query, int(identifier), group)
            if row is not None:
                metrics.series(metrics.DIRECTORY_LOOKUPS, "id_range" if number else "typical_range").inc()
                return row
        return None

    async def everywhere(self, query: Query, identifier: str) -> Row | None:
        """The record, after a search of all partitions on the primary; None if there is none. Raises ApiError."""
        if not query.resource.integer_ids or not _fits(identifier):
            return None
        # A replica may not have the record yet.
        for partition in await self._directory.search(int(identifier)):
            row = await self._within(self._calls.primary, query, int(identifier), [partition])
            if row is not None:
                metrics.series(metrics.DIRECTORY_LOOKUPS, "search").inc()
                return row
        metrics.series(metrics.DIRECTORY_LOOKUPS, "not_found").inc()
        return None

    async def _by_uuid(self, query: Query, identifier: str) -> Row | None:
        condition = Filter("id", "eq", (identifier,))
        wanted = Query(query.resource, query.columns, query.caller, (condition,), (Sort("id"),), Page(size=1))
        rows = await self._routing.fetch(select.records(wanted))
        return rows[0] if rows else None

    async def _within(
        self, source: Queryable, query: Query, identifier: int, group: Sequence[Partition | None]
    ) -> Row | None:
        """The record in one of some partitions, each named or bounded in time, so that no other is planned."""
        if len(group) == 1 and group[0] and group[0].readable:
            partition = group[0]
            try:
                statement = select.by_id_in_partition(query, identifier, partition.name, partition.oid)
                rows = await source.fetch(statement)
                return rows[0] if rows else None
            except (UndefinedTable, InsufficientPrivilege):
                self._directory.invalidate()
        ranges = [partition.time_range for partition in group if partition and partition.time_range]
        rows = await source.fetch(select.by_id(query, identifier, ranges if len(ranges) == len(group) else None))
        return rows[0] if rows else None


def _fits(identifier: str) -> bool:
    """Whether an integer's text is within bigint; no record can have another, and PostgreSQL would search them all."""
    return len(identifier) <= 20 and -(2**63) <= int(identifier) < 2**63
