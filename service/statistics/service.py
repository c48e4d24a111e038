"""Sums of calls by bucket. Sums of past days are cached until their partition changes."""

from bisect import bisect_right
from collections.abc import Mapping, Sequence
from dataclasses import replace
from time import monotonic
from typing import NamedTuple, Protocol

from service.concurrency.cache import digest
from service.query import TICK, Query
from service.statistics.partition_cache import PartitionCache, gaps
from service.statistics.question import Question
from service.statistics.sums import CallSums

SumsByStart = Mapping[int, CallSums]


class Measures(NamedTuple):
    """The columns to sum up."""

    duration: str
    price: str


class StatisticsSource(Protocol):
    """Reads sums of calls."""

    async def sums(self, query: Query, measures: Measures, starts: Sequence[int]) -> SumsByStart:
        """The sums of the query's calls by start of the bucket, without empty buckets."""


class CallStatistics:
    """Sums up calls."""

    def __init__(self, source: StatisticsSource, cache: PartitionCache[SumsByStart]) -> None:
        self._source = source
        self._cache = cache

    async def sums(self, query: Query, measures: Measures, question: Question, starts: Sequence[int]) -> SumsByStart:
        """The sums of the query's calls by start of the bucket, without empty buckets. Raises ApiError.

        `starts` are the starts of all buckets.
        """
        first, end = question.first, question.last + TICK
        closed = await self._cache.closed(first, end)
        key = digest(query.resource.type, query.caller, query.filters, measures, question.sampling)
        known = {p: sums for p in closed if (sums := self._cache.get(key, p)) is not None}
        found = {start: sums for cached in known.values() for start, sums in cached.items()}
        ranges = tuple(gaps(first, end, known))
        if ranges:
            made = monotonic()
            pieces = sorted({*starts, *(end for partition in closed for end in (partition.first, partition.end))})
            read = await self._source.sums(replace(query, ranges=ranges), measures, pieces)
            for partition in closed:
                if partition not in known:
                    inside = {start: sums for start, sums in read.items() if partition.first <= start < partition.end}
                    self._cache.keep(key, partition, made, inside, len(inside))
            found.update(read)
        return _merged(found, starts)


def _merged(found: SumsByStart, starts: Sequence[int]) -> dict[int, CallSums]:
    """Merges sums of parts into sums of buckets."""
    merged: dict[int, CallSums] = {}
    for start, sums in found.items():
        bucket = starts[max(0, bisect_right(starts, start) - 1)]
        merged[bucket] = merged[bucket].plus(sums) if bucket in merged else sums
    return merged
