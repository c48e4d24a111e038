"""A selection to a statement: names come from declarations, values are parameters, shapes and SELECTs are files."""

import re
from collections.abc import Iterable, Mapping, Sequence
from decimal import Decimal
from functools import lru_cache
from typing import Any, NamedTuple

from service.db import keyset, sql_files
from service.query import Caller, CursorPage, Filter, Sort

Parameters = dict[str, Any]

TimeRange = tuple[str, str]  # Two moments as PostgreSQL writes them, the second just outside.

CALLS = "cdr.cdr"  # All partitions of it.


class Statement(NamedTuple):
    """What a database is asked: `name` is for logs and metrics; what is `repeated` is worth preparing."""

    text: str
    parameters: Mapping[str, Any] | None = None
    name: str = ""
    repeated: bool = False


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
    "cont_any": "{column} ILIKE ANY ({value})",
}
PATTERNS = {"cont": "%{}%", "start": "{}%", "end": "%{}", "cont_any": "%{}%"}
# What the condition comes to when there is no value left to compare with.
EMPTY = {
    "eq": "FALSE",
    "in": "FALSE",
    "cont_any": "FALSE",
    "not_eq": "{column} IS NOT NULL",
    "not_in": "{column} IS NOT NULL",
}
WILDCARD = re.compile(r"[\\%_]")


def listing(
    resource: str,
    columns: Sequence[str],
    filters: Iterable[Filter],
    sorts: Iterable[Sort],
    caller: Caller,
    *,
    limit: int,
    offset: int = 0,
    spans: Sequence[TimeRange] | None = None,
) -> Statement:
    """Rows of `columns` in the caller's scope, and in the spans of time where those are known."""
    conditions, parameters = _where(filters, caller, spans)
    text = sql_files.text("shapes/list").format(
        columns=_columns(columns), resource=_all(resource), conditions=conditions, order=_order(sorts)
    )
    return Statement(text, {**parameters, "limit": limit, "offset": offset}, "list")


def stretch(
    resource: str,
    columns: Sequence[str],
    filters: Iterable[Filter],
    sorts: Sequence[Sort],
    caller: Caller,
    wanted: CursorPage,
    spans: Sequence[TimeRange] | None = None,
) -> Statement:
    """One row more than are wanted, in the order they are read; the sort keys come behind the columns, as text."""
    conditions, parameters = _where(filters, caller, spans)
    backwards = keyset.reverse_order(sorts)
    for order, place, name in ((sorts, wanted.after, "after"), (backwards, wanted.before, "before")):
        if place is not None:
            condition, values = keyset.after(order, place, name)
            conditions, parameters = f"{conditions} AND {condition}", parameters | values
    text = sql_files.text("shapes/list").format(
        columns=_columns([*columns, *(f"{sort.column}::text" for sort in sorts)]),
        resource=_all(resource),
        conditions=conditions,
        order=_order(backwards if wanted.backwards else sorts),
    )
    return Statement(text, {**parameters, "limit": wanted.size + 1, "offset": 0}, "stretch")


def stream(
    resource: str,
    columns: Sequence[str],
    filters: Iterable[Filter],
    sorts: Iterable[Sort],
    caller: Caller,
    limit: int,
    spans: Sequence[TimeRange] | None = None,
) -> Statement:
    """A cursor over rows of `columns` in the caller's scope."""
    conditions, parameters = _where(filters, caller, spans)
    text = sql_files.text("shapes/stream").format(
        columns=_columns(columns), resource=_all(resource), conditions=conditions, order=_order(sorts)
    )
    return Statement(text, {**parameters, "limit": limit}, "stream")


def count(
    resource: str, filters: Iterable[Filter], caller: Caller, spans: Sequence[TimeRange] | None = None
) -> Statement:
    """The number of rows in the caller's scope, and in the spans, that meet the filters."""
    conditions, parameters = _where(filters, caller, spans)
    text = sql_files.text("shapes/count").format(resource=_all(resource), conditions=conditions)
    return Statement(text, parameters, "count")


def one(
    resource: str, columns: tuple[str, ...], identifier: int, caller: Caller, partition: str, oid: int
) -> Statement:
    """The record with this id in one partition, as long as that is one; `partition` is its quoted name."""
    return Statement(_one(resource, columns, partition, oid), {**_scope(caller), "id": identifier}, "one", True)


def one_within(
    resource: str, columns: tuple[str, ...], identifier: int, caller: Caller, spans: Sequence[TimeRange]
) -> Statement:
    """The record with this id in some spans of time."""
    text = _record(resource, columns, CALLS, within(spans, "cdr.time_start"))
    return Statement(text, {**_scope(caller), "id": identifier}, "one_within")


def within(spans: Sequence[TimeRange], column: str = "time_start") -> str:
    """A condition of constants: only so the planner leaves out all other partitions."""
    return " OR ".join(f"{column} >= '{first}' AND {column} < '{after}'" for first, after in spans) or "FALSE"


@lru_cache(4096)
def _one(resource: str, columns: tuple[str, ...], partition: str, oid: int) -> str:
    is_partition = sql_files.text("shapes/is_partition").format(oid=oid)
    return _record(resource, columns, _escaped(partition), is_partition)


def _record(resource: str, columns: tuple[str, ...], calls: str, where: str) -> str:
    by_id = sql_files.text("shapes/by_id").format(where=where)
    return f"SELECT {_columns(columns)} FROM ({_select(resource, calls, by_id)}) AS r LIMIT 1"


def _escaped(name: str) -> str:
    """A name as it stands in a statement with parameters."""
    return name.replace("%", "%%")


def _columns(columns: Iterable[str]) -> str:
    return ", ".join(f"r.{column}" for column in columns)


def _order(sorts: Iterable[Sort]) -> str:
    return ", ".join(f"r.{sort.column}{' DESC' if sort.descending else ''}" for sort in sorts)


@lru_cache
def _all(resource: str) -> str:
    return _select(resource, CALLS, "")


def _select(resource: str, calls: str, narrowed: str) -> str:
    rec = sql_files.text("shapes/rec")
    return sql_files.text(f"resources/{resource}").format(rec=rec, calls=calls, narrowed=narrowed)


def _scope(caller: Caller) -> Parameters:
    return {
        "customer_id": caller.customer_id,
        "account_ids": caller.account_ids and list(caller.account_ids),
        "may_listen": caller.may_listen,
    }


def _where(filters: Iterable[Filter], caller: Caller, spans: Sequence[TimeRange] | None) -> tuple[str, Parameters]:
    parameters = _scope(caller)
    conditions = [] if spans is None else [f"({within(spans, 'r.time_start')})"]
    for index, condition in enumerate(filters):
        name = f"filter_{index}"
        template = CONDITIONS[condition.operator] if condition.values else EMPTY[condition.operator]
        conditions.append(template.format(column=f"r.{condition.column}", value=f"%({name})s"))
        parameters[name] = _value(condition)
    return " AND ".join(conditions) or "TRUE", parameters


def _value(condition: Filter) -> Any:
    values = [
        _pattern(condition.operator, value) if condition.operator in PATTERNS else value for value in condition.values
    ]
    # PostgreSQL reads a numeric from text; the driver would turn an infinite Decimal into NaN.
    values = [str(value) if isinstance(value, Decimal) else value for value in values]
    if condition.operator in ("in", "not_in"):
        return tuple(values)
    return values if condition.operator == "cont_any" else next(iter(values), None)


def _pattern(operator: str, text: str) -> str:
    return PATTERNS[operator].format(WILDCARD.sub(r"\\\g<0>", text))
