"""A selection to a statement: names come from declarations, values are parameters, shapes and SELECTs are files."""

import re
from collections.abc import Iterable, Sequence
from decimal import Decimal
from functools import cache
from typing import Any

from service.db import sql_files
from service.selection import Caller, Filter, Sort

Parameters = dict[str, Any]
Statement = tuple[str, Parameters]

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
) -> Statement:
    """Rows of `columns` in the caller's scope."""
    conditions, parameters = _where(filters, caller)
    order = ", ".join(f"r.{sort.column}{' DESC' if sort.descending else ''}" for sort in sorts)
    text = sql_files.text("shapes/list").format(
        columns=", ".join(f"r.{column}" for column in columns),
        resource=_select(resource),
        conditions=conditions,
        order=order,
    )
    return text, {**parameters, "limit": limit, "offset": offset}


def count(resource: str, filters: Iterable[Filter], caller: Caller) -> Statement:
    """The number of rows in the caller's scope that meet the filters."""
    conditions, parameters = _where(filters, caller)
    return sql_files.text("shapes/count").format(resource=_select(resource), conditions=conditions), parameters


@cache
def _select(resource: str) -> str:
    return sql_files.text(f"resources/{resource}").format(rec=sql_files.text("shapes/rec"))


def _where(filters: Iterable[Filter], caller: Caller) -> Statement:
    parameters: Parameters = {
        "customer_id": caller.customer_id,
        "account_ids": caller.account_ids and list(caller.account_ids),
        "may_listen": caller.may_listen,
    }
    conditions = []
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
