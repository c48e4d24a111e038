"""Reads a list of calls part by part, until the page is full or no part is left."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from time import monotonic

from service.db import select
from service.db.parts import Part
from service.db.pool import Rows
from service.db.replicas import ReplicaRouter
from service.db.search_times import SearchTimes
from service.db.select import Key
from service.db.statement import Statement
from service.db.width import PageBudget
from service.errors import QueryTimeoutError
from service.query import CursorPage, Page, Query

MAX_COUNTED = 10_000  # Matches of a part; with more, the total needs a separate statement.
MAX_PREPARED_PARTITIONS = 200  # A plan needs 35 to 40 KiB for each partition.


@dataclass(frozen=True, slots=True)
class Calls:
    """Where lists are read from. `planned`: the oids of the partitions that PostgreSQL plans for a query."""

    source: ReplicaRouter
    planned: Callable[[Query], tuple[int, ...]]
    times: SearchTimes

    async def fetch(self, query: Query, statement: Statement) -> Rows:
        """The rows of a statement for a query. Raises ApiError."""
        return await self.source.fetch(replace(statement, partitions=self.planned(query)))

    async def keys(self, query: Query, limit: int) -> Rows:
        """The rows of `select.keys`, prepared if that is faster. Raises ApiError."""
        prepared = self._prepared(query, limit)
        seconds = self.times.limit(prepared.text) if prepared else None
        if prepared and seconds is not None:
            seconds = min(seconds, self.source.primary.limits.statement_timeout)
            try:
                return await self.source.fetch(replace(prepared, timeout=seconds))
            except QueryTimeoutError:
                self.times.exceeded(prepared.text)
        begin = monotonic()
        rows = await self.fetch(query, select.keys(query, limit, MAX_COUNTED))
        if prepared:
            self.times.measured(prepared.text, monotonic() - begin)
        return rows

    def _prepared(self, query: Query, limit: int) -> Statement | None:
        """The statement to prepare; None if none is prepared, or if too many partitions or unknown ones are planned."""
        days = select.whole_days(query)
        if days is None or not self.source.primary.limits.prepares:
            return None
        partitions = self.planned(replace(query, ranges=(days,)))
        if not 0 < len(partitions) <= MAX_PREPARED_PARTITIONS:
            return None
        statement = select.prepared_keys(query, limit, MAX_COUNTED)
        return statement and replace(statement, repeated=True, partitions=partitions)


async def read(calls: Calls, query: Query, parts: Sequence[Part], limit: int) -> tuple[Rows, int | None]:
    """The first rows of a list or after a cursor, at most `limit`, and the total if known, else None.

    Rows are as from `select.records`. Raises ApiError.
    """
    rows: Rows = []
    keys: list[Key] = []
    total: int | None = 0
    for part in parts:
        missing = limit - len(rows) - len(keys)
        if missing <= 0:
            total = None
            break
        narrowed = replace(query, filters=(*query.filters, *part.bounds))
        if part.one_pass:
            found = await calls.keys(narrowed, missing)
            keys += [(identifier, time_start) for identifier, time_start, _ in found]
            matches = found[0][2] if found else 0
            known = matches < max(MAX_COUNTED, missing)
        else:
            rows += (first := await calls.fetch(narrowed, select.records(_first(narrowed, missing))))
            matches, known = len(first), len(first) < missing
        total = total + matches if known and total is not None else None
    return rows + await _by_keys(calls, query, keys), total


def _first(query: Query, limit: int) -> Query:
    """The query limited to its first rows; `select.records` adds one."""
    if isinstance(query.window, CursorPage):
        return replace(query, window=replace(query.window, size=limit - 1))
    return replace(query, window=Page(size=limit - 1))


async def _by_keys(calls: Calls, query: Query, keys: Sequence[Key]) -> Rows:
    """The rows in the order of `keys`, without rows deleted in the meantime."""
    rows: Rows = []
    budget, begin = PageBudget(), 0
    while begin < len(keys):
        piece = keys[begin : begin + budget.piece]
        begin += len(piece)
        found = await _piece(calls, query, piece)
        budget.spend(found)
        rows += found
    return rows


async def _piece(calls: Calls, query: Query, keys: Sequence[Key]) -> Rows:
    statement = replace(select.by_keys(query, keys), partitions=calls.planned(query))
    found = _keyed(await calls.source.fetch(statement))
    if len(found) < len(keys):  # This replica may be behind the one that returned the keys.
        found = _keyed(await calls.source.primary.fetch(statement))
    return [found[key] for key in keys if key in found]


def _keyed(rows: Rows) -> dict[Key, tuple[object, ...]]:
    return {(row[-2], row[-1]): tuple(row[:-2]) for row in rows}
