"""Divides a list into parts along its order, which are read one after the other until the page is full.

For `ORDER BY time_start DESC LIMIT 50`, PostgreSQL scans the index of the order if it expects 50 matches soon. If that
is wrong, it fetches the whole window row by row, which takes many times as long as one pass over it. So only the first
part, a small fraction of the window, is left to the planner. The other parts are read in one pass, with any index that
supports the filters, and sorted. Each row belongs to one part, so all parts together cost one pass.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from service.query import Filter, Query, Sort

# Ends of the parts as 1/n of the extent. A bound on time prunes partitions; one on ids does not.
FRACTIONS = {"time_start": (256, 8), "id": (64,)}

Extent = tuple[Any, Any]
"""The known range of the first sort key's values in a list: datetimes or integers."""

_LOWER = ("eq", "gt", "gteq")
_UPPER = ("eq", "lt", "lteq")


@dataclass(frozen=True, slots=True)
class Part:
    """Conditions on the first sort key in addition to the filters.

    `one_pass`: all matches of the part are found first, then sorted.
    """

    bounds: tuple[Filter, ...] = ()
    one_pass: bool = False


def is_selective(query: Query) -> bool:
    """True if the filters may exclude many rows of the window. Filters for given ids use the index on ids."""
    if any(condition.column == "id" and condition.operator in ("eq", "in") for condition in query.filters):
        return False
    limited = query.caller.account_ids is not None
    return limited or any(condition.column not in FRACTIONS for condition in query.filters)


def bounded(column: str, filters: Iterable[Filter], extent: Extent) -> Extent:
    """The extent, narrowed by the filters on the column."""
    low, high = extent
    for condition in filters:
        if condition.column == column and condition.values:
            low = max(low, condition.values[0]) if condition.operator in _LOWER else low
            high = min(high, condition.values[0]) if condition.operator in _UPPER else high
    return low, high


def split(sorts: Sequence[Sort], extent: Extent | None) -> list[Part]:
    """The parts in reading order; a single part if the first key cannot divide the list."""
    first = sorts[0]
    if first.column not in FRACTIONS or extent is None or extent[0] >= extent[1]:
        return [Part(one_pass=True)]
    low, high = extent
    sizes = [(high - low) // fraction for fraction in FRACTIONS[first.column]]
    edges = [high - size if first.descending else low + size for size in sizes]
    inner, outer = ("gteq", "lt") if first.descending else ("lteq", "gt")
    begins = [(), *((Filter(first.column, outer, (edge,)),) for edge in edges)]
    ends = [*((Filter(first.column, inner, (edge,)),) for edge in edges), ()]
    return [
        Part((*begin, *end), one_pass=number > 0) for number, (begin, end) in enumerate(zip(begins, ends, strict=True))
    ]
