"""The `filter` parameter: names, values, and the default window of lists (contract 5)."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta, tzinfo

from marshmallow.exceptions import ValidationError

from service import errors
from service.jsonapi.query_string import Parameters, display_value
from service.jsonapi.spelling import MalformedListError, is_blank, split_list, underscore
from service.query import Filter
from service.schemas.fields import ASCII_SPACE, String
from service.schemas.resource import ACCOUNT, FilterRule, Resource

WINDOW = timedelta(hours=24)


@dataclass(frozen=True, slots=True)
class ParsedFilter:
    """A filter of a request: its rule, and its text, which is None without `=`.

    `canonical`: the request has a value under the underscored name. Only then `gt` and `eq` disable the default window.
    """

    rule: FilterRule
    text: str | None
    canonical: bool


ParsedFilters = Mapping[str, ParsedFilter]
"""By underscored name."""


def parse_names(resource: Resource, parameters: Parameters, include: bool) -> ParsedFilters:
    """The filters of a list. If a name occurs in several spellings, the last text counts. Raises BadRequestError."""
    asked = parameters.get("filter")
    if isinstance(asked, list) and resource.meta.window:
        raise errors.invalid_filter_syntax(display_value(asked))
    check_names(resource, parameters, include)
    parsed: dict[str, ParsedFilter] = {}
    for spelling, value in asked.items() if isinstance(asked, dict) else ():
        rule = resource.filters.get(underscore(spelling))
        if rule is None:
            continue  # A filter on the included account, which has no effect on a to-one relationship.
        if isinstance(value, list | dict):
            raise errors.invalid_filter_syntax(spelling)
        canonical = spelling == rule.name and not is_blank(value)
        earlier = parsed.get(rule.name)
        parsed[rule.name] = ParsedFilter(rule, value, canonical or (earlier is not None and earlier.canonical))
    return parsed


def check_names(resource: Resource, parameters: Parameters, include: bool) -> None:
    """Raises BadRequestError for the first name that is not a filter of the resource."""
    _check_spelling(parameters)
    asked = parameters.get("filter")
    if isinstance(asked, str):
        raise errors.invalid_filter_syntax(asked)
    for spelling in asked or ():
        name = underscore(display_value(spelling))
        relationship, dot, nested = name.partition(".")
        if dot:
            if not (include and resource.account and relationship == ACCOUNT and nested in resource.accounts.filters):
                raise errors.filter_not_allowed(nested)
        elif name not in resource.filters:
            raise errors.filter_not_allowed(name)


def _check_spelling(parameters: Parameters) -> None:
    """Rejects `filters[x]`, `Filter[x]` and `filter%255Bx%255D`, which would otherwise be ignored (D19)."""
    for name in parameters:
        if name != "filter" and name.lower().startswith("filter"):
            raise errors.filter_not_allowed(name)


def parse_values(resource: Resource, parsed: ParsedFilters, now: datetime) -> tuple[Filter, ...]:
    """The conditions. Lists of calls without a lower time bound start 24 hours ago. Raises BadRequestError."""
    conditions = {name: _condition(parsed_filter) for name, parsed_filter in parsed.items()}
    found = [condition for condition in conditions.values() if condition is not None]
    window = resource.meta.window
    if window and not _bounded(window, parsed, conditions):
        found.append(Filter(window, "gteq", (_day_before(now, resource.schema.time_zone),), implicit_window=True))
    return tuple(found)


def _bounded(window: str, parsed: ParsedFilters, conditions: Mapping[str, Filter | None]) -> bool:
    """True if there is a lower time bound: `gteq` in any spelling, `gt` and `eq` only underscored (contract 5.6)."""
    if conditions.get(f"{window}_gteq"):
        return True
    names = (f"{window}_gt", f"{window}_eq")
    return any(conditions.get(name) and parsed[name].canonical for name in names)


def _day_before(now: datetime, time_zone: tzinfo) -> datetime:
    """24 hours ago in whole seconds. In a repeated hour, the first occurrence, as for text without an offset."""
    return (now - WINDOW).astimezone(time_zone).replace(microsecond=0, fold=0).astimezone(UTC)


def _condition(parsed: ParsedFilter) -> Filter | None:
    """The condition; None if all values are blank. Raises BadRequestError for invalid values or a wrong number."""
    rule, text = parsed.rule, parsed.text or ""
    values = _values(text)
    shown = ",".join(value or "" for value in values)
    if "\0" in text:  # In the whole text, although only its first line is parsed.
        raise errors.invalid_filter_value(shown, rule.name)
    if _has_lines(text) and not isinstance(rule.field, String):
        raise errors.invalid_filter_value(text.strip(ASCII_SPACE), rule.name)
    if rule.takes_list:
        given = values if any(not is_blank(value) for value in values) else []
    elif len(values) == 1:
        given = [] if is_blank(values[0]) else [(values[0] or "").strip(ASCII_SPACE)]
    else:
        raise errors.invalid_filter_value(shown, rule.name)
    if not given and not rule.empty_matches_nothing:
        return None
    try:
        read = tuple(rule.field.deserialize(value) for value in given if _counts(rule, value))
    except ValidationError as error:
        raise errors.invalid_filter_value(shown, rule.name) from error
    return Filter(rule.column, rule.operator, read, rule.by_account_uuid)


def _has_lines(text: str) -> bool:
    """True if text other than ASCII white space follows a line break."""
    return not is_blank(text) and any(end in text.rstrip(ASCII_SPACE) for end in "\r\n")


def _values(text: str) -> list[str | None]:
    if is_blank(text):
        return []
    try:
        return split_list(text)
    except MalformedListError:
        return [text]


def _counts(rule: FilterRule, value: str | None) -> bool:
    """True if an element of a list is a value: not empty and, except for text, not blank."""
    return bool(value) if isinstance(rule.field, String) else not is_blank(value)
