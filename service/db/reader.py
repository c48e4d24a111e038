"""What the service reads: records and their totals, the accounts they point to, and what a caller may see."""

import asyncio
import hashlib
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any, NamedTuple

from psycopg2.errors import InsufficientPrivilege, UndefinedTable

from service.concurrency.cache import TTLCache
from service.db import select, sql_files
from service.db.partitions import Directory, Partition
from service.db.pool import Pool
from service.db.replicas import ReplicaRouter
from service.db.select import TimeRange
from service.observability import metrics
from service.query import Caller, CursorPage, Filter, KeysetPosition, Selection, Sort
from service.schemas.fields import Integer
from service.schemas.resource import Resource

Row = Sequence[Any]
Queryable = Pool | ReplicaRouter

MAX_PARTITIONS_PLANNED = 8  # That a list by ids may plan; where there are more, the ids are searched for first.
MAX_IDS_SEARCHED = 100  # Ids of one list.
MAX_TOTALS = 10_000  # Lists whose totals are remembered.


class RecordQuery(NamedTuple):
    """A record that is looked for."""

    resource: str
    columns: tuple[str, ...]
    identifier: str
    caller: Caller


@dataclass(frozen=True, slots=True)
class PageResult:
    """A page of rows and how many there are on all pages."""

    rows: list[tuple[Any, ...]]
    total: int


@dataclass(frozen=True, slots=True)
class CursorPageResult:
    """A page by cursors: rows with their places, whether the direction of reading has more, and a total if wanted."""

    rows: list[Row]
    places: list[KeysetPosition]
    more: bool
    total: int | None


class Reader:
    """Reads resources from the two databases; joins across them are not possible."""

    def __init__(self, calls: ReplicaRouter, routing: Pool, directory: Directory, total_age: float) -> None:
        self._calls = calls
        self._routing = routing
        self._directory = directory
        self._totals: TTLCache[bytes, int] = TTLCache("total", total_age, MAX_TOTALS)

    async def page(
        self, resource: Resource, columns: Sequence[str], selection: Selection, caller: Caller
    ) -> PageResult:
        """A page of a list; the total is only counted where the page does not tell it. Raises ApiError."""
        source, page = self._database(resource), selection.page
        filters, ranges = await self.resolve_filters(resource, selection.filters)
        statement = select.listing(
            resource.sql, columns, filters, selection.sorts, caller, limit=page.size, offset=page.offset, spans=ranges
        )
        rows = await source.fetch(*statement)
        if len(rows) < page.size and (rows or page.number == 1):
            return PageResult(rows, page.offset + len(rows))
        total = await self._total(resource, filters, caller, ranges)
        return PageResult(rows, max(total, page.offset + len(rows)) if rows else total)

    async def stretch(
        self, resource: Resource, columns: Sequence[str], selection: Selection, wanted: CursorPage, caller: Caller
    ) -> CursorPageResult:
        """A page by cursors, which costs the same however far in it lies. Raises ApiError."""
        source, width = self._database(resource), len(columns)
        filters, ranges = await self.resolve_filters(resource, selection.filters)
        statement = select.stretch(resource.sql, columns, filters, selection.sorts, caller, wanted, ranges)
        found = await source.fetch(*statement)
        rows = found[: wanted.size][:: -1 if wanted.backwards else 1]
        total = None
        if wanted.total:
            total = await self._total(resource, filters, caller, ranges)
        places = [tuple(row[width:]) for row in rows]
        return CursorPageResult([row[:width] for row in rows], places, len(found) > wanted.size, total)

    async def resolve_filters(
        self, resource: Resource, filters: Iterable[Filter]
    ) -> tuple[list[Filter], Sequence[TimeRange] | None]:
        """Conditions that name accounts by number, and the spans of time where ids asked for lie. Raises ApiError."""
        by_numbers = [await self._with_account_numbers(condition) for condition in filters]
        return by_numbers, await self._time_ranges(resource, by_numbers)

    async def one(
        self,
        resource: Resource,
        columns: Sequence[str],
        identifier: str,
        caller: Caller,
        searching: Callable[[], None] = lambda: None,
    ) -> Row | None:
        """The record with this id in the caller's scope, or None. Raises ApiError.

        `searching` is called where the record is not found at once, which will then take longer.
        """
        asked = RecordQuery(resource.sql, tuple(columns), identifier, caller)
        if not isinstance(resource.schema.fields["id"], Integer):
            return await self._anywhere(self._routing, asked)
        if not _fits(identifier):
            return None
        for number, group in enumerate(self._directory.candidates(int(identifier))):
            row = await self._within(self._calls, asked, group)
            if row is not None:
                metrics.series(metrics.DIRECTORY_LOOKUPS, "envelope" if number else "direct").inc()
                return row
        searching()
        # A replica may not have it yet, so from here on it is the primary that answers.
        for partition in await self._directory.search(int(identifier)):
            row = await self._within(self._calls.primary, asked, [partition])
            if row is not None:
                metrics.DIRECTORY_LOOKUPS.labels("everywhere").inc()
                return row
        metrics.DIRECTORY_LOOKUPS.labels("missing").inc()
        return None

    async def _within(self, source: Queryable, asked: RecordQuery, group: Sequence[Partition | None]) -> Row | None:
        """The record in one of some partitions, each named or bounded so that no other is planned, if that can be."""
        resource, columns, identifier, caller = asked
        if len(group) == 1 and group[0] and group[0].readable:
            try:
                partition = group[0]
                rows = await source.fetch(
                    *select.one(resource, columns, int(identifier), caller, partition.name, partition.oid)
                )
                return rows[0] if rows else None
            except (UndefinedTable, InsufficientPrivilege):
                self._directory.invalidate()
        ranges = [partition.time_range for partition in group if partition and partition.time_range]
        if len(ranges) < len(group):
            return await self._anywhere(source, asked)
        rows = await source.fetch(*select.one_within(resource, columns, int(identifier), caller, ranges))
        return rows[0] if rows else None

    async def _anywhere(self, source: Queryable, asked: RecordQuery) -> Row | None:
        resource, columns, identifier, caller = asked
        same = [Filter("id", "eq", (identifier,))]
        rows = await source.fetch(*select.listing(resource, columns, same, [Sort("id")], caller, limit=1))
        return rows[0] if rows else None

    async def by_numbers(
        self, resource: Resource, columns: Sequence[str], numbers: Iterable[int], caller: Caller
    ) -> dict[int, Row]:
        """Records by their internal numbers, as far as the caller may see them. Raises ApiError."""
        wanted = tuple(numbers)
        if not wanted:
            return {}
        number = resource.meta.number
        statement = select.listing(
            resource.sql, (number, *columns), [Filter(number, "in", wanted)], [Sort(number)], caller, limit=len(wanted)
        )
        rows = await self._database(resource).fetch(*statement)
        return {row[0]: row[1:] for row in rows}

    async def access(self, api_access_id: int) -> Caller | None:
        """What an access row grants, or None where it is gone. Raises ApiError."""
        rows = await self._routing.fetch(sql_files.text("queries/api_access"), {"id": api_access_id})
        for customer_id, account_ids, may_listen in rows:
            return Caller(customer_id, tuple(account_ids) or None, may_listen, api_access_id)
        return None

    async def profile(self, customer_id: int, profile_id: int) -> bool | None:
        """Whether a portal profile permits listening; None where it or the customer is gone. Raises ApiError."""
        parameters = {"customer_id": customer_id, "profile_id": profile_id}
        rows = await self._routing.fetch(sql_files.text("queries/dynamic_access"), parameters)
        return bool(rows[0][0]) if rows else None

    async def _with_account_numbers(self, condition: Filter) -> Filter:
        """Accounts are named by UUID, CDRs hold their numbers. An unknown UUID is no account (D3)."""
        if not condition.accounts:
            return condition
        rows = await self._routing.fetch(sql_files.text("queries/account_numbers"), {"uuids": tuple(condition.values)})
        return replace(condition, values=tuple(number for (number,) in rows))

    async def _time_ranges(self, resource: Resource, filters: Sequence[Filter]) -> Sequence[TimeRange] | None:
        """Where the ids lie that a list of calls asks for; None where it asks for none or needs no such help."""
        ids = [set(condition.values) for condition in filters if _is_id_filter(condition)]
        if (
            resource.meta.window is None
            or not ids
            or self._directory.count_since(_lower_bound(filters)) <= MAX_PARTITIONS_PLANNED
        ):
            return None
        wanted = {identifier for identifier in set.intersection(*ids) if -(2**63) <= identifier < 2**63}
        if len(wanted) > MAX_IDS_SEARCHED:
            return None
        found = await asyncio.gather(*map(self._directory.search, wanted))
        partitions = {partition for group in found for partition in group}
        ranges = [partition.time_range for partition in partitions if partition and partition.time_range]
        return ranges if len(ranges) == len(partitions) else None

    async def _total(
        self, resource: Resource, filters: Sequence[Filter], caller: Caller, ranges: Sequence[TimeRange] | None
    ) -> int:
        """How many records there are on all pages; many pages of the same list count but once (0.1.13)."""
        fixed = [replace(condition, values=()) if condition.moving else condition for condition in filters]

        async def count() -> int:
            [(total,)] = await self._database(resource).fetch(*select.count(resource.sql, filters, caller, ranges))
            return int(total)

        return await self._totals.get(_cache_key(resource.type, caller, fixed), count)

    def _database(self, resource: Resource) -> Queryable:
        return self._calls if resource.meta.database == "cdr" else self._routing


def _is_id_filter(condition: Filter) -> bool:
    return condition.column == "id" and condition.operator in ("eq", "in")


def _lower_bound(filters: Iterable[Filter]) -> datetime:
    """The moment from which on calls are asked for."""
    bounds = [f.values[0] for f in filters if f.column == "time_start" and f.operator in ("gteq", "gt", "eq")]
    return max(bounds, default=datetime.min.replace(tzinfo=UTC))


def _cache_key(*parts: object) -> bytes:
    """Names a list by what it asks for, however long that is."""
    return hashlib.sha256(repr(parts).encode("utf-8", "surrogatepass")).digest()


def _fits(identifier: str) -> bool:
    """Whether an integer's text is within bigint; beyond it no record can be, and PostgreSQL would search them all."""
    return len(identifier) <= 20 and -(2**63) <= int(identifier) < 2**63
