"""Parses parameters to a query and a view. Checks are in the reference's order (contract 12.2)."""

import re
from collections.abc import Callable, Mapping
from datetime import datetime
from typing import TypeVar
from urllib.parse import unquote

from service import errors
from service.errors import BadRequestError
from service.jsonapi import cursor_pages, filters, render
from service.jsonapi.cursor_pages import CursorPaging
from service.jsonapi.query_string import Parameters, Value, display_value
from service.jsonapi.spelling import MalformedListError, is_blank, split_list, underscore
from service.jsonapi.view import View
from service.query import Caller, Everything, Page, Query, Sort, Window
from service.schemas.fields import OUT_OF_RANGE
from service.schemas.resource import ACCOUNT, Resource

T = TypeVar("T")

MAX_PAGE_SIZE = 1000
MAX_OFFSET = 2**63 - 1
SURROGATE = re.compile(r"[\ud800-\udfff]")  # Bytes that are not UTF-8, decoded with surrogateescape.
PLAIN_INTEGER = re.compile(r"-?\d+", re.ASCII)
LEADING_INTEGER = re.compile(r"\s*([+-]?\d+(?:_\d+)*)", re.ASCII)


def identifier(resource: Resource, text: str) -> str:
    """The canonical form of an id in a path. Raises BadRequestError if it should be an integer and is not (D8)."""
    if not resource.integer_ids:
        return text
    if SURROGATE.search(text):
        raise errors.bad_request("The path is not valid UTF-8.")
    if not PLAIN_INTEGER.fullmatch(text):
        raise errors.invalid_id(text)
    digits = text.lstrip("-0") or "0"
    return f"-{digits}" if text[0] == "-" and digits != "0" else digits


def parse_list(
    resource: Resource,
    parameters: Parameters,
    caller: Caller,
    now: datetime,
    paging: CursorPaging | Everything | None = None,
) -> tuple[Query, View]:
    """The query and the view of a list. `now` is the end of the default window of 24 hours. Raises BadRequestError.

    `paging`: CursorPaging enables cursor pages, Everything reads all records, None allows only numbered pages.
    """
    fieldsets = _fieldsets(resource.registry, parameters)
    problems = _Problems()
    include = problems.collect(lambda: _include(resource, parameters)) or False
    rules = problems.collect(lambda: filters.parse_names(resource, parameters, include)) or {}
    sorts = _sorts(resource, parameters)
    window = problems.collect(lambda: _window(resource, parameters, sorts, paging)) or Page()
    problems.raise_any()
    view = View(fieldsets, include)
    columns = render.renderer_for(resource, view).columns
    return Query(resource, columns, caller, filters.parse_values(resource, rules, now), sorts, window), view


def parse_record(resource: Resource, parameters: Parameters) -> View:
    """The view of one record. Names of filters are checked, without effect; sort and page are ignored.

    Raises BadRequestError.
    """
    if not parameters:
        return View()
    fieldsets = _fieldsets(resource.registry, parameters)
    problems = _Problems()
    include = problems.collect(lambda: _include(resource, parameters)) or False
    problems.collect(lambda: filters.check_names(resource, parameters, include))
    problems.raise_any()
    return View(fieldsets, include)


def parse_related(resource: Resource, parameters: Parameters) -> View:
    """The view of a related record. Parameters are checked like those of a list of its type, including sort and page.

    Raises BadRequestError.
    """
    fieldsets = _fieldsets(resource.registry, parameters)
    problems = _Problems()
    problems.collect(lambda: _include(resource, parameters))
    problems.collect(lambda: filters.check_names(resource, parameters, include=False))
    _sorts(resource, parameters)
    problems.collect(lambda: _page(parameters))
    problems.raise_any()
    return View(fieldsets)


class _Problems:
    """Collects errors, so that all are reported in one response."""

    def __init__(self) -> None:
        self._errors: list[errors.ErrorObject] = []

    def collect(self, check: Callable[[], T]) -> T | None:
        try:
            return check()
        except BadRequestError as error:
            self._errors += error.errors
            return None

    def raise_any(self) -> None:
        if self._errors:
            raise BadRequestError(*self._errors)


def _fieldsets(resources: Mapping[str, Resource], parameters: Parameters) -> dict[str, tuple[str, ...]]:
    """Underscored names by type, in the request's order. Singular types are checked, without effect (0.1.2)."""
    asked = parameters.get("fields")
    if asked is None:
        return {}
    if not isinstance(asked, dict):
        raise errors.fields_without_type()
    served = {**resources, **{resource.singular: resource for resource in resources.values()}}
    chosen = {type_: _fieldset(served, type_, value) for type_, value in asked.items()}
    return {type_: names for type_, names in chosen.items() if type_ in resources}


def _fieldset(served: Mapping[str, Resource], type_: str, value: Value) -> tuple[str, ...]:
    if type_ not in served:
        raise errors.unknown_resource_type(type_)
    if not value or not isinstance(value, str):
        raise errors.invalid_field("nil", type_)
    known, text = served[type_].field_names, value.rstrip(",")
    names = text.split(",") if text else []
    for name in names:
        if name not in known:
            raise errors.invalid_field(name, type_)
    return tuple(dict.fromkeys(known[name] for name in names))


def _include(resource: Resource, parameters: Parameters) -> bool:
    """True if the account is to be included."""
    asked = parameters.get("include")
    if not asked:
        return False
    if not isinstance(asked, str):
        raise errors.invalid_include(display_value(asked), resource.type)
    try:
        paths = [path for path in split_list(asked) if path is not None]
    except MalformedListError as error:
        raise errors.invalid_include(asked, resource.type) from error
    for path in paths:
        name, _, nested = path.partition(".")
        if name != ACCOUNT or resource.account is None:
            raise errors.invalid_include(name, resource.type)
        if nested:
            raise errors.invalid_include(nested.partition(".")[0], resource.accounts.type)
    return bool(paths)


def _sorts(resource: Resource, parameters: Parameters) -> tuple[Sort, ...]:
    """The sort keys. The id is added in the direction of the last key, for a total order (D9)."""
    asked = parameters.get("sort")
    if isinstance(asked, list | dict):
        raise errors.invalid_sort(display_value(asked), resource.type)
    if is_blank(asked):
        sorts = {resource.default_sort.column: resource.default_sort}
    else:
        sorts = _sort_keys(resource, unquote(str(asked), errors="replace"))
    *_, last = sorts.values()
    return tuple({**sorts, "id": sorts.get("id", Sort("id", last.descending))}.values())


def _sort_keys(resource: Resource, text: str) -> dict[str, Sort]:
    """The sort keys by column. A repeated key keeps its first position and takes its last direction."""
    try:
        keys = split_list(text)
    except MalformedListError as error:
        raise errors.invalid_sort(text, resource.type) from error
    sorts = {}
    for key in keys or [None]:
        descending = (key or "").startswith("-")
        name = underscore((key or "")[descending:])
        if name not in resource.sort_keys:
            raise errors.invalid_sort(name, resource.type)
        column = resource.sort_keys[name]
        sorts[column] = Sort(column, descending)
    return sorts


def _window(
    resource: Resource, parameters: Parameters, sorts: tuple[Sort, ...], paging: CursorPaging | Everything | None
) -> Window:
    if isinstance(paging, Everything):
        return paging
    if paging and paging.wanted(parameters):
        return cursor_pages.parse(resource, parameters, sorts, paging.signer, MAX_PAGE_SIZE)
    return _page(parameters)


def _page(parameters: Parameters) -> Page:
    asked = parameters.get("page")
    if isinstance(asked, list):
        raise errors.invalid_page(display_value(asked), "number")
    given = asked if isinstance(asked, dict) else {"number": asked}
    number = _leading_integer(given.get("number"), default=Page().number)
    size = _leading_integer(given.get("size"), default=Page().size)
    if size < 1:
        raise errors.invalid_page(size, "size")
    if size > MAX_PAGE_SIZE:
        raise errors.page_too_large(MAX_PAGE_SIZE)
    if number < 1 or (number - 1) * size > MAX_OFFSET:
        raise errors.invalid_page(number, "number")
    return Page(number, size)


def _leading_integer(value: Value, *, default: int) -> int:
    """The integer at the start of a text: `2x` is 2, `1_0` is 10, `x` is 0. Absent values are the default."""
    if not isinstance(value, str):
        return default
    match = LEADING_INTEGER.match(value)
    if not match:
        return 0
    text = match[1].replace("_", "")
    return int(text) if len(text) <= 40 else (-OUT_OF_RANGE if text[0] == "-" else OUT_OF_RANGE)
