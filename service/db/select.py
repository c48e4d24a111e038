"""Builds statements from queries. Names come from declarations, values are parameters, SQL templates are files."""

import re
from collections.abc import Iterable, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from functools import lru_cache
from typing import Any

from service.db import keyset
from service.db.statement import Statement, read_sql
from service.query import (
    UNBOUNDED,
    Caller,
    CursorPage,
    Everything,
    Filter,
    KeysetPosition,
    Page,
    Query,
    Sort,
    TimeRange,
    Window,
)
from service.schemas.resource import Resource
from service.statistics.buckets import moment

Parameters = dict[str, Any]

NO_INDEX = "(ARRAY[r.{}])[1]"  # Sorts like the column, but cannot use an index.

Key = tuple[int, str]
"""The id and the time (PostgreSQL's text) of a call, which are unique together."""

CONDITIONS = {
    "eq": "{column} = {value}",
    "not_eq": "{column} <> {value}",
    "gt": "{column} > {value}",
    "gteq": "{column} >= {value}",
    "lt": "{column} < {value}",
    "lteq": "{column} <= {value}",
    "in": "{column} IN {value}",
    "not_in": "{column} NOT IN {value}",
    "cont": "{column} ILIKE {value}",
    "start": "{column} ILIKE {value}",
    "end": "{column} ILIKE {value}",
    "starts_with": "{column} LIKE {value}",
    "ends_with": "{column} LIKE {value}",
    "cont_any": "{column} ILIKE ANY ({value})",
    "byte_gteq": "{column} ~>=~ {value}",
    "byte_lt": "{column} ~<~ {value}",
}
PATTERNS = {
    "cont": "%{}%",
    "cont_any": "%{}%",
    "start": "{}%",
    "starts_with": "{}%",
    "end": "%{}",
    "ends_with": "%{}",
}
# The condition if a filter has no values.
EMPTY = {
    "eq": "FALSE",
    "in": "FALSE",
    "cont_any": "FALSE",
    "not_eq": "{column} IS NOT NULL",
    "not_in": "{column} IS NOT NULL",
}
NAMES: dict[type[Window], str] = {Page: "list", CursorPage: "cursor_page", Everything: "export"}
_PREPARABLE = frozenset({"eq", "gt", "gteq", "lt", "lteq", "byte_gteq", "byte_lt"})
_TRIGRAM = frozenset({"cont", "end", "ends_with"})  # An index on trigrams serves these patterns, whatever their text,
_MIN_TRIGRAM = 3  # if it has as many characters.
_LAST_DAY = datetime.max.replace(tzinfo=UTC) - timedelta(days=1)
WILDCARD = re.compile(r"[\\%_]")


def records(query: Query) -> Statement:
    """The records of the query's window.

    A page is read with one additional row, which shows whether there is a next record. Unless the window is a numbered
    page, each row ends with its keyset position: the values of the sort keys as text.
    """
    window, parameters = query.window, _scope(query.caller)
    conditions = [*_conditions(query, parameters), *_keyset(query, parameters)]
    parameters["limit"] = 1 + (window.size if isinstance(window, Page | CursorPage) else window.max_rows)
    parameters["offset"] = window.offset if isinstance(window, Page) else 0
    text = read_sql("shapes/list").format(
        columns=_columns([*query.columns, *_positions(query)]),
        resource=_all(query.resource),
        conditions=" AND ".join(conditions) or "TRUE",
        order=_order(reading_order(query)),
    )
    return Statement(text, parameters, NAMES[type(window)])


def declare(statement: Statement) -> Statement:
    """Declares a cursor for a statement, from which `queries/next_records` fetches."""
    return replace(statement, text=f"DECLARE records NO SCROLL CURSOR FOR\n{statement.text}")


def keys(query: Query, limit: int, max_count: int) -> Statement:
    """Ids and times of the first records in reading order; each row has the number of all matches up to `max_count`."""
    parameters = _scope(query.caller) | {"limit": limit, "max_count": max(limit, max_count)}
    return _keys(query, parameters, [*_conditions(query, parameters), *_keyset(query, parameters)])


def prepared_keys(query: Query, limit: int, max_count: int) -> Statement | None:
    """The same rows by a statement that is planned once for many values of the filters.

    Such a plan contains all partitions that constants do not exclude, so the time range, widened to whole days, is
    constant; so is the customer, because customers have very different numbers of calls. The exact times and ids are
    compared without an index, which would seem selective to PostgreSQL.

    None if the query has no first time, begins at a cursor, or has a filter for which PostgreSQL must know the value to
    use an index.
    """
    filters = [narrowed for condition in query.filters for narrowed in _without_prefix(condition)]
    parameters = _scope(query.caller) | {"limit": limit, "max_count": max(limit, max_count)}
    days = whole_days(query)
    if days is None or query.ranges is not None or _keyset(query, {}) or not all(map(_is_preparable, filters)):
        return None
    widened = replace(query, filters=tuple(filters), ranges=(days,))
    conditions = _conditions(widened, parameters, prepared=True)
    statement = _keys(widened, parameters, conditions)
    return replace(statement, text=statement.text.replace("%(customer_id)s", f"{query.caller.customer_id:d}"))


def whole_days(query: Query) -> TimeRange | None:
    """The time range of a query's filters, widened to whole days in UTC; None if it has no first time."""
    times = [condition for condition in query.filters if condition.column == "time_start" and condition.values]
    first = max((t.values[0] for t in times if t.operator in ("eq", "gt", "gteq")), default=None)
    last = min((t.values[0] for t in times if t.operator in ("eq", "lt", "lteq")), default=None)
    if first is None:
        return None
    end = UNBOUNDED if last is None or last > _LAST_DAY else (_day(last) + timedelta(days=1)).isoformat()
    return _day(first).isoformat(), end


def by_keys(query: Query, found: Sequence[Key]) -> Statement:
    """The records with these ids and times, in any order; each row ends with its id and time."""
    ids, times = zip(*found, strict=True)
    columns = _columns([*query.columns, *_positions(query)])
    text = read_sql("shapes/by_keys").format(columns=columns, resource=_all(query.resource))
    return Statement(text, {**_scope(query.caller), "ids": ids, "times": times}, "by_keys")


def count(query: Query, timeout: float | None = None) -> Statement:
    """The number of matching records, independent of the window. `timeout` is in seconds."""
    parameters = _scope(query.caller)
    conditions = " AND ".join(_conditions(query, parameters)) or "TRUE"
    text = read_sql("shapes/count").format(resource=_all(query.resource), conditions=conditions)
    return Statement(text, parameters, "count", timeout=timeout)


def counts(query: Query, ranges: Iterable[TimeRange], timeout: float) -> Statement:
    """The number of matching records in each time range, as (place of the range, number). `timeout` is in seconds."""
    parameters, shape = _scope(query.caller), read_sql("shapes/range_count")
    texts = []
    for place, time_range in enumerate(ranges):
        conditions = " AND ".join(_conditions(replace(query, ranges=(time_range,)), parameters))
        texts.append(shape.format(place=place, resource=_all(query.resource), conditions=conditions))
    return Statement(" UNION ALL ".join(texts), parameters, "range_count", timeout=timeout)


def sums(query: Query, duration: str, price: str, starts: Sequence[int]) -> Statement:
    """Numbers of calls, and sums of `duration` and `price`, in the buckets that begin at `starts` (Unix times)."""
    parameters = _scope(query.caller)
    conditions = " AND ".join(_conditions(query, parameters)) or "TRUE"
    resource = _all(query.resource)
    text = read_sql("shapes/statistics").format(
        resource=resource, conditions=conditions, duration=duration, price=price
    )
    parameters["starts"] = f"{{{','.join(moment(start).isoformat() for start in starts)}}}"
    return Statement(text, parameters, "statistics")


def by_id_in_partition(
    query: Query, identifier: int, partition: str, oid: int, handled: tuple[str, ...] = ()
) -> Statement:
    """The record with this id in one partition, if it is still attached. `partition` is its quoted name."""
    text = _by_id_in_partition(query.resource, query.columns, partition, oid)
    return Statement(text, {**_scope(query.caller), "id": identifier}, "one", repeated=True, handled=handled)


def by_id(query: Query, identifier: int, ranges: Sequence[TimeRange] | None) -> Statement:
    """The record with this id in these time ranges, or in all partitions if `ranges` is None."""
    where = "TRUE" if ranges is None else in_ranges(ranges, "cdr.time_start")
    text = _by_id(query.resource, query.columns, query.resource.table, where)
    return Statement(text, {**_scope(query.caller), "id": identifier}, "one_within")


def reading_order(query: Query) -> Sequence[Sort]:
    """The order of reading; reversed for a page before a cursor."""
    backwards = isinstance(query.window, CursorPage) and query.window.backwards
    return keyset.reverse_order(query.sorts) if backwards else query.sorts


def in_ranges(ranges: Iterable[TimeRange], column: str = "time_start") -> str:
    """A condition with constants, which PostgreSQL needs to prune partitions at plan time."""
    return " OR ".join(_in_range(time_range, column) for time_range in ranges) or "FALSE"


def _in_range(time_range: TimeRange, column: str) -> str:
    first, end = time_range
    if end == UNBOUNDED:
        return f"{column} >= '{first}'"
    return f"{column} = '{first}'" if first == end else f"{column} >= '{first}' AND {column} < '{end}'"


@lru_cache(4096)
def _by_id_in_partition(resource: Resource, columns: tuple[str, ...], partition: str, oid: int) -> str:
    is_partition = read_sql("shapes/is_partition").format(oid=oid, table=resource.table)
    return _by_id(resource, columns, partition.replace("%", "%%"), is_partition)


def _by_id(resource: Resource, columns: tuple[str, ...], calls: str, where: str) -> str:
    narrowed = read_sql("shapes/by_id").format(where=where)
    return f"SELECT {_columns(columns)} FROM ({_resource(resource, calls, narrowed)}) AS r LIMIT 1"


def _keys(query: Query, parameters: Parameters, conditions: Sequence[str]) -> Statement:
    text = read_sql("shapes/keys").format(
        resource=_all(query.resource),
        conditions=" AND ".join(conditions) or "TRUE",
        order=_order(reading_order(query), NO_INDEX),
    )
    return Statement(text, parameters, "keys")


def _without_prefix(condition: Filter) -> Sequence[Filter]:
    """The condition, or if it is for texts that begin with certain digits, the range of these texts.

    PostgreSQL uses a B-tree for a pattern only if it knows the pattern, but for a range in any case.
    """
    text = str(next(iter(condition.values), ""))
    if condition.operator not in ("start", "starts_with") or not (text.isascii() and text.isdigit()):
        return (condition,)
    end = text[:-1] + chr(ord(text[-1]) + 1)
    column = condition.column
    return Filter(column, "byte_gteq", (text,)), Filter(column, "byte_lt", (end,))


def _is_preparable(condition: Filter) -> bool:
    long = len(str(next(iter(condition.values), ""))) >= _MIN_TRIGRAM
    return condition.operator in _PREPARABLE or (condition.operator in _TRIGRAM and long)


def _day(time: datetime) -> datetime:
    return time.astimezone(UTC).replace(hour=0, minute=0, second=0, microsecond=0)


def _positions(query: Query) -> list[str]:
    """The columns of the keyset position; none for a numbered page."""
    return [] if isinstance(query.window, Page) else [f"{sort.column}::text" for sort in query.sorts]


def _columns(columns: Iterable[str]) -> str:
    return ", ".join(f"r.{column}" for column in columns)


def _order(sorts: Iterable[Sort], key: str = "r.{}") -> str:
    return ", ".join(f"{key.format(sort.column)}{' DESC' if sort.descending else ''}" for sort in sorts)


@lru_cache
def _all(resource: Resource) -> str:
    return _resource(resource, resource.table, "")


def _resource(resource: Resource, calls: str, narrowed: str) -> str:
    rec = read_sql("shapes/rec")
    return read_sql(f"resources/{resource.sql}").format(rec=rec, calls=calls, narrowed=narrowed)


def _scope(caller: Caller) -> Parameters:
    return {
        "customer_id": caller.customer_id,
        "account_ids": None if caller.account_ids is None else list(caller.account_ids),
        "may_listen": caller.may_listen,
    }


def _conditions(query: Query, parameters: Parameters, *, prepared: bool = False) -> list[str]:
    """The conditions of the time ranges and the filters; adds their values to the parameters.

    `prepared`: for `prepared_keys`. A parameter would have the type of its column, which large integers do not fit in.
    """
    conditions = [] if query.ranges is None else [f"({in_ranges(query.ranges, 'r.time_start')})"]
    for index, condition in enumerate(query.filters):
        name = f"filter_{index}"
        template = CONDITIONS[condition.operator] if condition.values else EMPTY[condition.operator]
        column = NO_INDEX if prepared and condition.column in ("id", "time_start") else "r.{}"
        parameters[name] = _value(condition)
        cast = "::numeric" if prepared and type(parameters[name]) is int else ""
        conditions.append(template.format(column=column.format(condition.column), value=f"%({name})s{cast}"))
    return conditions


def _keyset(query: Query, parameters: Parameters) -> list[str]:
    """The conditions for the records after one position and before another."""
    window = query.window
    if isinstance(window, Page):
        return []
    before = window.before if isinstance(window, CursorPage) else None
    ends: list[tuple[Sequence[Sort], KeysetPosition | None, str]] = [
        (query.sorts, window.after, "after"),
        (keyset.reverse_order(query.sorts), before, "before"),
    ]
    conditions = []
    for sorts, position, name in ends:
        if position is not None:
            condition, values = keyset.after(sorts, position, name)
            conditions.append(condition)
            parameters.update(values)
    return conditions


def _value(condition: Filter) -> Any:
    values = [
        _pattern(condition.operator, value) if condition.operator in PATTERNS else value for value in condition.values
    ]
    # As text, because the driver would convert an infinite Decimal to NaN.
    values = [str(value) if isinstance(value, Decimal) else value for value in values]
    if condition.operator in ("in", "not_in"):
        return tuple(values)
    return values if condition.operator == "cont_any" else next(iter(values), None)


def _pattern(operator: str, text: str) -> str:
    return PATTERNS[operator].format(WILDCARD.sub(r"\\\g<0>", text))
