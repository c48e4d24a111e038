"""Parses the query parameters of a statistic, in the reference's order (contract 21)."""

from collections.abc import Iterator, Mapping
from datetime import datetime
from typing import Any

from marshmallow.exceptions import ValidationError

from service.query import Filter
from service.schemas.fields import Attribute, Integer
from service.schemas.resource import Resource
from service.statistics.question import Question, Statistic

REQUIRED = ("account-id", "from-time", "sampling")
COMPARISONS = ("eq", "gt", "lt")
PREFIXES = {"eq": "eq", "starts-with": "starts_with", "ends-with": "ends_with", "contains": "cont"}
COUNTRY = Integer("Id of the country.")


class StatisticsError(Exception):
    """Invalid parameters; the message is sent to the client."""


Parameters = Mapping[str, Any]


def account(parameters: Parameters, accounts: Resource) -> str:
    """The UUID of the account. Raises StatisticsError if it is invalid or a required parameter is missing."""
    missing = [name for name in REQUIRED if _is_blank(parameters.get(name))]
    if missing:
        raise StatisticsError(f"missing required param(s) {', '.join(missing)}")
    return str(_value(parameters, "account-id", accounts.schema.fields["uuid"]))


def question(statistic: Statistic, parameters: Parameters, calls: Resource, now: datetime) -> Question | None:
    """The parsed question; None if it starts in the future. Raises StatisticsError."""
    time = calls.schema.fields["time_start"]
    first: datetime = _value(parameters, "from-time", time)
    last: datetime = _value(parameters, "to-time", time) if "to-time" in parameters else now
    if first > now:
        return None
    sampling = parameters["sampling"]
    if sampling not in statistic.samplings:
        raise StatisticsError("invalid sampling")
    filters = _filters(statistic, parameters, calls)
    if statistic.quality:
        return Question(statistic, sampling, first, min(last, now), now, filters)
    return Question(statistic, sampling, first, last, last, filters)


def rules(statistic: Statistic, calls: Resource) -> Iterator[tuple[str, str, str, Attribute]]:
    """The filters of a statistic: parameter, column, operator, and the field that reads the value."""
    for side in ("src", "dst"):
        yield f"{side}-country-id", f"{side}_country_id", "eq", COUNTRY
    for column in ("src_prefix_routing", "dst_prefix_routing"):
        for suffix, operator in PREFIXES.items():
            yield f"{_dashed(column)}-{suffix}", column, operator, calls.schema.fields[column]
    for column in ("duration", statistic.price):
        for operator in COMPARISONS:
            yield f"{_dashed(column)}-{operator}", column, operator, calls.schema.fields[column]
    if statistic.has_auth_ip:
        yield "auth-orig-ip", "auth_orig_ip", "eq", calls.schema.fields["auth_orig_ip"]


def _filters(statistic: Statistic, parameters: Parameters, calls: Resource) -> tuple[Filter, ...]:
    given = [rule for rule in rules(statistic, calls) if rule[0] in parameters]
    for name, *_ in given:
        if isinstance(parameters[name], list):
            raise StatisticsError(f"param {name} can't be an array")
    return tuple(Filter(column, op, (_value(parameters, name, field),)) for name, column, op, field in given)


def _value(parameters: Parameters, name: str, field: Attribute) -> Any:
    text = parameters[name]
    try:
        if isinstance(text, str):
            return field.deserialize(text)
    except ValidationError as error:
        raise StatisticsError(f"invalid value {name}") from error
    raise StatisticsError(f"invalid value {name}")


def _is_blank(value: Any) -> bool:
    return value is None or (isinstance(value, str) and not value.strip())


def _dashed(name: str) -> str:
    return name.replace("_", "-")
