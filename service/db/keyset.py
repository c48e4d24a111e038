"""A place in an order to the condition that only the records after it meet, whatever the keys, and whatever is NULL.

PostgreSQL puts NULL behind everything when it ascends and before everything when it descends, so an order read
backwards is the order with every direction turned round.
"""

from collections.abc import Sequence
from dataclasses import replace

from service.query import KeysetPosition, Sort

# The only columns of cdr.cdr that PostgreSQL keeps from being NULL (contract 16.1).
NEVER_NULL = frozenset({"id", "time_start"})


def reverse_order(sorts: Sequence[Sort]) -> tuple[Sort, ...]:
    """The same order backwards."""
    return tuple(replace(sort, descending=not sort.descending) for sort in sorts)


def after(sorts: Sequence[Sort], place: KeysetPosition, name: str) -> tuple[str, dict[str, str]]:
    """The condition and its parameters, which are called `<name>_0` and so on.

    A record is after a place when it is after it by one key and level with it by all keys before. The bound on the
    first key follows from that; PostgreSQL needs it told to see which days and which part of an index are left.
    """
    names = [f"{name}_{index}" for index in range(len(sorts))]
    levels = list(zip(sorts, place, names, strict=True))
    ways = [
        " AND ".join([*(_equal(*before) for before in levels[:index]), _strictly_after(*level)])
        for index, level in enumerate(levels)
    ]
    condition = "(" + " OR ".join(f"({way})" for way in ways) + ")"
    parameters = {name: value for name, value in zip(names, place, strict=True) if value is not None}
    return f"{_bound(*levels[0])}{condition}", parameters


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
