"""Reads a list of calls part by part, until the page is full or no part is left."""

from collections.abc import Sequence
from dataclasses import replace

from service.db import select
from service.db.parts import Part
from service.db.pool import Rows
from service.db.replicas import ReplicaRouter
from service.db.select import Key
from service.db.width import PageBudget
from service.query import CursorPage, Page, Query

MAX_COUNTED = 10_000  # Matches of a part; with more, the total needs a separate statement.


async def read(
    source: ReplicaRouter, query: Query, parts: Sequence[Part], limit: int, partitions: tuple[int, ...]
) -> tuple[Rows, int | None]:
    """The first rows of a list or after a cursor, at most `limit`, and the total if known, else None.

    Rows are as from `select.records`. `partitions` are the oids of the planned partitions. Raises ApiError.
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
            statement = select.keys(narrowed, missing, MAX_COUNTED)
            found = await source.fetch(replace(statement, partitions=partitions))
            keys += [(identifier, time_start) for identifier, time_start, _ in found]
            matches = found[0][2] if found else 0
            known = matches < max(MAX_COUNTED, missing)
        else:
            statement = select.records(_first(narrowed, missing))
            rows += (first := await source.fetch(replace(statement, partitions=partitions)))
            matches, known = len(first), len(first) < missing
        total = total + matches if known and total is not None else None
    return rows + await _by_keys(source, query, keys, partitions), total


def _first(query: Query, limit: int) -> Query:
    """The query limited to its first rows; `select.records` adds one."""
    if isinstance(query.window, CursorPage):
        return replace(query, window=replace(query.window, size=limit - 1))
    return replace(query, window=Page(size=limit - 1))


async def _by_keys(source: ReplicaRouter, query: Query, keys: Sequence[Key], partitions: tuple[int, ...]) -> Rows:
    """The rows in the order of `keys`, without rows deleted in the meantime."""
    rows: Rows = []
    budget, begin = PageBudget(), 0
    while begin < len(keys):
        piece = keys[begin : begin + budget.piece]
        begin += len(piece)
        found = await _piece(source, query, piece, partitions)
        budget.spend(found)
        rows += found
    return rows


async def _piece(source: ReplicaRouter, query: Query, keys: Sequence[Key], partitions: tuple[int, ...]) -> Rows:
    statement = replace(select.by_keys(query, keys), partitions=partitions)
    found = _keyed(await source.fetch(statement))
    if len(found) < len(keys):  # This replica may be behind the one that returned the keys.
        found = _keyed(await source.primary.fetch(statement))
    return [found[key] for key in keys if key in found]


def _keyed(rows: Rows) -> dict[Key, tuple[object, ...]]:
    return {(row[-2], row[-1]): tuple(row[:-2]) for row in rows}
