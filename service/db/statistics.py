"""Reads sums of calls."""

from collections.abc import Sequence
from dataclasses import replace
from decimal import Decimal

from service.db import select
from service.db.partition_reader import relations
from service.db.partitions import PartitionDirectory
from service.db.replicas import ReplicaRouter
from service.query import Query
from service.statistics.service import Measures
from service.statistics.sums import CallSums


class StatisticsRepository:
    """Reads one table of calls; `directory` is that of its partitions."""

    def __init__(self, calls: ReplicaRouter, directory: PartitionDirectory) -> None:
        self._calls = calls
        self._directory = directory

    async def sums(self, query: Query, measures: Measures, starts: Sequence[int]) -> dict[int, CallSums]:
        """The sums of the query's calls by start of the bucket. Raises ApiError."""
        statement = select.sums(query, measures.duration, measures.price, starts)
        planned = relations(self._directory.planned_in(query.ranges or ()))
        rows = await self._calls.fetch(replace(statement, partitions=planned))
        return {
            starts[max(0, bucket - 1)]: CallSums(calls, successful, failed, int(duration), int(talked), Decimal(price))
            for bucket, calls, successful, failed, duration, talked, price in rows
        }
