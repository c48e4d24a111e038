"""Reads sums of calls, and the change counters of partitions that tell whether cached sums are valid."""

from collections.abc import Sequence
from dataclasses import replace
from decimal import Decimal

from service.db import select
from service.db.partition_reader import moment, relations, time_range
from service.db.partitions import PartitionDirectory
from service.db.replicas import ReplicaRouter
from service.db.statement import Statement
from service.query import Query
from service.statistics import buckets
from service.statistics.service import Measures, PartitionState
from service.statistics.sums import CallSums


class StatisticsRepository:
    """Reads one table of calls; `directory` is that of its partitions."""

    def __init__(self, calls: ReplicaRouter, directory: PartitionDirectory, table: str) -> None:
        self._calls = calls
        self._directory = directory
        self._table = table

    async def sums(self, query: Query, measures: Measures, starts: Sequence[int]) -> dict[int, CallSums]:
        """The sums of the query's calls by start of the bucket. Raises ApiError."""
        statement = select.sums(query, measures.duration, measures.price, starts)
        planned = relations(self._directory.planned_in(query.ranges or ()))
        rows = await self._calls.fetch(replace(statement, partitions=planned))
        return {
            starts[max(0, bucket - 1)]: CallSums(calls, successful, failed, int(duration), int(talked), Decimal(price))
            for bucket, calls, successful, failed, duration, talked, price in rows
        }

    async def partitions(self, oids: Sequence[int] | None = None) -> list[PartitionState]:
        """The partitions with time bounds, all or those with `oids`, from the primary. Raises ApiError."""
        wanted = None if oids is None else list(oids)
        rows = await self._calls.primary.fetch(
            Statement.from_file("queries/partition_changes", table=self._table, oids=wanted)
        )
        return [
            PartitionState(oid, _seconds(ends[0]), _seconds(ends[1]), version)
            for oid, bounds, version in rows
            if (ends := time_range(bounds))
        ]


def _seconds(text: str) -> int:
    return buckets.seconds(moment(text))
