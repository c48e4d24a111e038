"""The `filter` parameter: names looked up whole, values read strictly, the default window of lists (contract 5)."""

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta, tzinfo

from marshmallow.exceptions import ValidationError

from service import errors
from service.jsonapi.query_string import Parameters, display_value
from service.jsonapi.spelling import MalformedListError, is_blank, split_list, underscore
from service.query import Filter
from service.schemas.fields import ASCII_SPACE, String
from service.schemas.resource import ACCOUNT, FilterRule, Resource

WINDOW = timedelta(hours=24)

ParsedFilters = dict[str, tuple[FilterRule, "str | None", bool]]


def parse_names(resource: Resource, parameters: Parameters, include: bool) -> ParsedFilters:
    """The filters of a list by their underscored names: rule, text, and whether that name was used. Raises ApiError.

    Of several spellings the last one's text counts.
    """
    asked = parameters.get("filter", {})
    if asked is None:
        return {}
    if isinstance(asked, str) or (isinstance(asked, list) and resource.meta.window):
        raise errors.invalid_filter_syntax(display_value(asked))
    check_names(resource, parameters, include)
    given: ParsedFilters = {}
    for spelling, value in asked.items() if isinstance(asked, dict) else ():
        rule = resource.filters.get(underscore(spelling))
        if rule is None:
            continue  # A condition on the included account, which has no effect on a to-one relationship.
        if isinstance(value, list | dict):
            raise errors.invalid_filter_syntax(spelling)
        used = spelling == rule.name and not is_blank(value)
        given[rule.name] = (rule, value, used or (rule.name in given and given[rule.name][2]))
    return given


def check_names(resource: Resource, parameters: Parameters, include: bool) -> None:
    """Refuses the first name that is no filter. Raises ApiError."""
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


def read(resource: Resource, given: ParsedFilters, now: datetime) -> tuple[Filter, ...]:
    """Conditions for the values; a list of calls without a lower bound in time ends 24 hours ago. Raises ApiError."""
    conditions = {name: _condition(rule, text) for name, (rule, text, _) in given.items()}
    found = [condition for condition in conditions.values() if condition is not None]
    window = resource.meta.window
    if window and not _bounded(window, given, conditions):
        found.append(Filter(window, "gteq", (_day_before(now, resource.schema.time_zone),), implicit_window=True))
    return tuple(found)


def _bounded(window: str, given: ParsedFilters, conditions: Mapping[str, Filter | None]) -> bool:
    """A lower bound counts in any spelling, `gt` and `eq` only in the underscored one (contract 5.6)."""
    if conditions.get(f"{window}_gteq"):
        return True
    names = (f"{window}_gt", f"{window}_eq")
    return any(conditions.get(name) and given[name][2] for name in names)


def _day_before(now: datetime, time_zone: tzinfo) -> datetime:
    """To the second; where clocks are set back, the first of the two hours, as text without an offset is read."""
    return (now - WINDOW).astimezone(time_zone).replace(microsecond=0, fold=0).astimezone(UTC)


def _condition(rule: FilterRule, text: str | None) -> Filter | None:
    """None where all values are blank. Raises ApiError for the wrong number of values and for unreadable ones."""
    values = _values(text)
    shown = ",".join(value or "" for value in values)
    if "\0" in (text or ""):  # It may hide behind the first line, which is all that is read.
        raise errors.invalid_filter_value(shown, rule.name)
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


def _values(text: str | None) -> list[str | None]:
    if text is None or is_blank(text):
        return []
    try:
        return split_list(text)
    except MalformedListError:
        return [text]


def _counts(rule: FilterRule, value: str | None) -> bool:
    """Empty elements of a list are passed over; so is white space, except where it is text."""
    return bool(value) if isinstance(rule.field, String) else not is_blank(value)
