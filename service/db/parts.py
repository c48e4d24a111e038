"""A list goes in, the parts of its order come out; they are read one after the other until the page is full.

PostgreSQL reads `ORDER BY time_start DESC LIMIT 50` along the index of the order if it expects to meet 50 matches soon.
Where it is mistaken, it fetches the whole window row by row, which takes many times as long as one pass over it. So
only the first part, a small fraction of the window, is left to the planner. The others are read in one pass, by
whatever index serves their filters, and sorted. Each row belongs to one part, so all parts together cost one pass.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from service.query import Filter, Query, Sort

# Where parts end, as fractions of the extent: days bound a part in time; a part in ids is planned for all of them.
FRACTIONS = {"time_start": (256, 8), "id": (64,)}

Extent = tuple[Any, Any]
"""Between which values of the first sort key the records of a list lie, as far as is known: datetimes or integers."""

_LOWER = ("eq", "gt", "gteq")
_UPPER = ("eq", "lt", "lteq")


@dataclass(frozen=True, slots=True)
class Part:
    """Conditions on the first sort key in addition to the filters.

    A part in `one_pass` is sorted after all its matches have been found.
    """

    bounds: tuple[Filter, ...] = ()
    one_pass: bool = False


def is_selective(query: Query) -> bool:
    """Whether a list of calls may leave out many rows of its window. Given ids are found by the index of the ids."""
    if any(condition.column == "id" and condition.operator in ("eq", "in") for condition in query.filters):
        return False
    limited = query.caller.account_ids is not None
    return limited or any(condition.column not in FRACTIONS for condition in query.filters)


def bounded(column: str, filters: Iterable[Filter], extent: Extent) -> Extent:
    """The extent as far as the filters of that column leave it."""
    low, high = extent
    for condition in filters:
        if condition.column == column and condition.values:
            low = max(low, condition.values[0]) if condition.operator in _LOWER else low
            high = min(high, condition.values[0]) if condition.operator in _UPPER else high
    return low, high


def split(sorts: Sequence[Sort], extent: Extent | None) -> list[Part]:
    """The parts in the order in which they are read; one part where the first key does not bound them."""
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
