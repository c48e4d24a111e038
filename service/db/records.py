"""Reads lists of records and their totals from the two databases; no statement spans both."""

import asyncio
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any

from service.db import keyset, parts, scan, select
from service.db.partition_reader import Partition, relations
from service.db.partitions import PartitionDirectory
from service.db.parts import Part
from service.db.pool import Pool, Rows
from service.db.replicas import ReplicaRouter
from service.db.search_times import SearchTimes
from service.db.statement import Statement
from service.db.totals import LOWER, UPPER, TotalCounter, bounds
from service.db.width import FIRST_PIECE, PageBudget
from service.errors import DatabaseUnavailableError
from service.query import Caller, CursorPage, Everything, Filter, KeysetPosition, Page, Query, Sort, TimeRange
from service.schemas.resource import Resource
from service.statistics.partition_cache import PartitionCache

Row = tuple[Any, ...]
Queryable = Pool | ReplicaRouter

MAX_PARTITIONS_PLANNED = 8  # By a list with a filter on ids; above, the partitions of the ids are searched first.
MAX_IDS_SEARCHED = 100
MAX_ROWS_IN_PARTS = 1000  # From the start of the list to the end of the page.


@dataclass(frozen=True, slots=True)
class Result:
    """A page of records. `more`: there are more records in reading direction. `positions` are for a cursor page only.

    `total` is the number of records on all pages, None if not requested or if counting took too long.
    """

    rows: Rows
    more: bool
    total: int | None = None
    positions: tuple[KeysetPosition, ...] = ()


class RecordReader:
    """Reads pages. `total_seconds`, `total_timeout` and `past` are those of TotalCounter."""

    def __init__(
        self,
        calls: ReplicaRouter,
        routing: Pool,
        directories: Mapping[str, PartitionDirectory],
        total_seconds: float,
        total_timeout: float,
        past: Mapping[str, PartitionCache[int]],
    ) -> None:
        self._calls = calls
        self._routing = routing
        self._directories = directories
        self._searched = scan.Calls(calls, self.planned, SearchTimes())
        limit = calls.primary.limits.statement_timeout
        self._totals = TotalCounter(self._run, past, total_seconds, total_timeout, limit)

    async def read(self, query: Query) -> Result:
        """The records of the query's page. Raises ApiError."""
        query = await self.resolve(query)
        rows, total = await self._rows(query)
        if isinstance(query.window, CursorPage):
            return await self._cursor_page(query, query.window, rows, total)
        if isinstance(query.window, Page):
            return await self._page(query, query.window, rows, total)
        raise TypeError("Everything is read as an export.")

    async def resolve(self, query: Query) -> Query:
        """The query with account ids instead of UUIDs, and with time ranges if it filters by ids."""
        filters = [await self._with_account_ids(condition) for condition in query.filters]
        query = replace(query, filters=tuple(filters))
        return replace(query, ranges=await self._time_ranges(query))

    def planned(self, query: Query) -> tuple[int, ...]:
        """The oids of the partitions and leaves that PostgreSQL plans for the query, according to the directory."""
        return relations(self._partitions(query))

    async def by_numbers(
        self, resource: Resource, columns: tuple[str, ...], numbers: Iterable[int], caller: Caller
    ) -> dict[int, Row]:
        """Records in the caller's scope by internal id. Raises ApiError."""
        wanted, number = tuple(numbers), resource.meta.number
        if not wanted:
            return {}
        condition, page = Filter(number, "in", wanted), Page(size=len(wanted))
        query = Query(resource, (number, *columns), caller, (condition,), (Sort(number),), page)
        rows = await self._database(resource).fetch(select.records(query))
        return {row[0]: row[1:] for row in rows}

    async def _rows(self, query: Query) -> tuple[Rows, int | None]:
        """The records of the window and the next one, and the total if it is known from reading."""
        window, ordered = query.window, self._parts(query)
        if not isinstance(window, Page | CursorPage) or not ordered:
            return await self._fetch(query), None
        skipped = window.offset if isinstance(window, Page) else 0
        if skipped + window.size > MAX_ROWS_IN_PARTS:
            total = await self._totals.count(query)
            if total is not None and total <= skipped:
                return [], total
            return await self._fetch(query), total
        limit = skipped + window.size + 1
        rows, total = await scan.read(self._searched, query, ordered, limit)
        return rows[skipped:], total

    async def _fetch(self, query: Query) -> Rows:
        database = self._database(query.resource)
        statement = replace(select.records(query), partitions=self.planned(query))
        if isinstance(query.window, Everything) or query.window.size <= FIRST_PIECE:
            return await database.fetch(statement)
        try:
            return await _fetch_in_pieces(database, statement)
        except DatabaseUnavailableError:
            if isinstance(database, Pool) or not database.replicas:
                raise
            return await _fetch_in_pieces(database.primary, statement)

    def _partitions(self, query: Query) -> Sequence[Partition]:
        """The partitions that PostgreSQL plans for the query, according to the directory."""
        if query.resource.meta.window is None:
            return ()
        directory = self._directories[query.resource.table]
        if query.ranges is not None:
            return directory.planned_in(query.ranges)
        first, last = bounds(query.filters, LOWER), bounds(query.filters, UPPER)
        return directory.planned(max(first, default=None), min(last, default=None))

    def _parts(self, query: Query) -> list[Part]:
        """The parts in which a list is read; none if the planner's choice is good enough for the whole list."""
        if query.resource.meta.window is None or not parts.is_selective(query):
            return []
        order = select.reading_order(query)
        ends = keyset.bounds(query.sorts, query.window) if isinstance(query.window, CursorPage) else []
        extent = self._directories[query.resource.table].extent(
            order[0].column, max(bounds(query.filters, LOWER), default=datetime.min.replace(tzinfo=UTC))
        )
        return parts.split(order, extent and parts.bounded(order[0].column, [*query.filters, *ends], extent))

    async def _page(self, query: Query, page: Page, rows: Rows, total: int | None) -> Result:
        """Counts the total only if it does not follow from the page."""
        more, rows = len(rows) > page.size, rows[: page.size]
        seen = page.offset + len(rows)
        if not more and (rows or page.number == 1):
            return Result(rows, more, seen)
        if total is None:
            total = await self._totals.count(query)
        if total is not None and rows:
            total = max(total, seen + more)
        return Result(rows, more, total)

    async def _cursor_page(self, query: Query, page: CursorPage, rows: Rows, total: int | None) -> Result:
        width, more = len(query.columns), len(rows) > page.size
        rows = rows[: page.size][:: -1 if page.backwards else 1]
        if not page.total:
            total = None
        elif total is None or page.after or page.before:
            total = await self._totals.count(query)
        positions = tuple(tuple(row[width:]) for row in rows)
        return Result([row[:width] for row in rows], more, total, positions)

    async def _with_account_ids(self, condition: Filter) -> Filter:
        """Replaces account UUIDs by internal ids, which calls refer to. An unknown UUID matches no account (D3)."""
        if not condition.by_account_uuid:
            return condition
        statement = Statement.from_file("queries/account_numbers", uuids=tuple(condition.values))
        rows = await self._routing.fetch(statement)
        return replace(condition, values=tuple(number for (number,) in rows), by_account_uuid=False)

    async def _time_ranges(self, query: Query) -> tuple[TimeRange, ...] | None:
        """The times of the calls that a list filters by id; None without such a filter or with few partitions."""
        ids = [set(condition.values) for condition in query.filters if _is_id_filter(condition)]
        if query.resource.meta.window is None or not ids:
            return None
        if len(self._partitions(query)) <= MAX_PARTITIONS_PLANNED:
            return None
        wanted = {identifier for identifier in set.intersection(*ids) if -(2**63) <= identifier < 2**63}
        if len(wanted) > MAX_IDS_SEARCHED:
            return None
        found = await asyncio.gather(*map(self._directories[query.resource.table].search, wanted))
        if any(one.failure for one in found):
            return None
        return tuple((moment, moment) for one in found for moment in one.moments)

    async def _run(self, query: Query, statement: Statement) -> Rows:
        return await self._database(query.resource).fetch(replace(statement, partitions=self.planned(query)))

    def _database(self, resource: Resource) -> Queryable:
        return self._calls if resource.meta.database == "cdr" else self._routing


async def _fetch_in_pieces(database: Queryable, statement: Statement) -> Rows:
    """All rows, read with a cursor. Raises BadRequestError if their total size is too large."""
    rows, budget = [], PageBudget()
    async with await database.begin() as transaction:
        await transaction.fetch(select.declare(statement))
        while True:
            piece = budget.piece
            found = await transaction.fetch(Statement.from_file("queries/next_records", count=piece))
            budget.spend(found)
            rows += found
            if len(found) < piece:
                return rows


def _is_id_filter(condition: Filter) -> bool:
    return condition.column == "id" and condition.operator in ("eq", "in")
