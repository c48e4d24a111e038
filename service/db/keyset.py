"""Keyset pagination: SQL conditions for the records after a position, with NULLs and mixed directions.

PostgreSQL sorts NULLs last in ascending and first in descending order, so reversing every direction reverses the order.
"""

from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import datetime
from typing import Any

from service.query import CursorPage, Filter, KeysetPosition, Sort

# The NOT NULL columns of cdr.cdr (contract 16.1).
NEVER_NULL = frozenset({"id", "time_start"})
READERS: dict[str, Callable[[str], Any]] = {"id": int, "time_start": datetime.fromisoformat}


def reverse_order(sorts: Sequence[Sort]) -> tuple[Sort, ...]:
    """The same order, backwards."""
    return tuple(replace(sort, descending=not sort.descending) for sort in sorts)


def after(sorts: Sequence[Sort], position: KeysetPosition, name: str) -> tuple[str, dict[str, str]]:
    """The condition and its parameters, named `<name>_0`, `<name>_1` and so on.

    A record is after a position if it is after it by one key and equal by all previous keys. The bound on the first key
    is implied, but PostgreSQL needs it explicitly to prune partitions and to use an index.
    """
    names = [f"{name}_{index}" for index in range(len(sorts))]
    keys = list(zip(sorts, position, names, strict=True))
    ways = [
        " AND ".join([*(_equal(*before) for before in keys[:index]), _strictly_after(*key)])
        for index, key in enumerate(keys)
    ]
    condition = "(" + " OR ".join(f"({way})" for way in ways) + ")"
    parameters = {name: value for name, value in zip(names, position, strict=True) if value is not None}
    return f"{_bound(*keys[0])}{condition}", parameters


def _strictly_after(sort: Sort, value: str | None, name: str) -> str:
    column = f"r.{sort.column}"
    if value is None:
        return f"{column} IS NOT NULL" if sort.descending else "FALSE"
    if sort.descending:
        return f"{column} < %({name})s"
    nulls = "" if sort.column in NEVER_NULL else f" OR {column} IS NULL"
    return f"({column} > %({name})s{nulls})"


def _equal(sort: Sort, value: str | None, name: str) -> str:
    return f"r.{sort.column} IS NULL" if value is None else f"r.{sort.column} = %({name})s"


def _bound(sort: Sort, value: str | None, name: str) -> str:
    if value is None or not (sort.descending or sort.column in NEVER_NULL):
        return ""
    return f"r.{sort.column} {'<=' if sort.descending else '>='} %({name})s AND "


def bounds(sorts: Sequence[Sort], page: CursorPage) -> list[Filter]:
    """The bounds that a page's positions set on the first key if it is NOT NULL; used for estimates only."""
    first = sorts[0]
    if first.column not in NEVER_NULL:
        return []
    later, earlier = ("lteq", "gteq") if first.descending else ("gteq", "lteq")
    ends = ((page.after, later), (page.before, earlier))
    values = [(_read(first.column, position[0]), operator) for position, operator in ends if position is not None]
    return [Filter(first.column, operator, (value,)) for value, operator in values if value is not None]


def _read(column: str, text: str | None) -> Any:
    """The value of PostgreSQL's text; None if Python cannot represent it, for example infinity."""
    try:
        return READERS[column](text or "")
    except ValueError:
        return None
