"""Query parameters to a Selection; everything a request asks for is checked here, in the reference's order (12.2)."""

import re
from collections.abc import Callable, Mapping
from datetime import datetime
from typing import TypeVar
from urllib.parse import unquote

from service import errors
from service.errors import ApiError
from service.jsonapi import cursor_pages, filters
from service.jsonapi.cursors import CursorSigner
from service.jsonapi.query_string import Query, Value, display_value
from service.jsonapi.spelling import MalformedListError, is_blank, split_list, underscore
from service.query import Page, Selection, Sort
from service.schemas.fields import OUT_OF_RANGE, Integer
from service.schemas.resource import Resource

T = TypeVar("T")

MAX_PAGE_SIZE = 1000
MAX_OFFSET = 2**63 - 1
NO_UNICODE = re.compile(r"[\ud800-\udfff]")  # What bytes that are no UTF-8 have become.
PLAIN_INTEGER = re.compile(r"-?\d+", re.ASCII)
LEADING_INTEGER = re.compile(r"\s*([+-]?\d+(?:_\d+)*)", re.ASCII)


def identifier(resource: Resource, text: str) -> str:
    """The id in a path in its plain spelling. Raises ApiError where the records have integers and this is none (D8)."""
    if not isinstance(resource.schema.fields["id"], Integer):
        return text
    if NO_UNICODE.search(text):
        raise errors.bad_request("The path is not valid UTF-8.")
    if not PLAIN_INTEGER.fullmatch(text):
        raise errors.invalid_id(text)
    digits = text.lstrip("-0") or "0"
    return f"-{digits}" if text[0] == "-" and digits != "0" else digits


def many(
    resource: Resource, query: Query, now: datetime, seal: CursorSigner | None = None, profiled: bool = False
) -> Selection:
    """A list. `now` is the moment that the default window of 24 hours ends. Raises ApiError.

    With a `seal` it may be paged by cursors; `profiled` tells that the client named their profile.
    """
    fieldsets = _fieldsets(resource.registry, query)
    problems = _Problems()
    include = problems.collect(lambda: _include(resource, query)) or False
    rules = problems.collect(lambda: filters.parse_names(resource, query, include)) or {}
    sorts = _sorts(resource, query)
    page, stretch = Page(), None
    if seal and cursor_pages.asked(query, profiled):
        stretch = problems.collect(lambda: cursor_pages.read(resource, query, sorts, seal, MAX_PAGE_SIZE))
    else:
        page = problems.collect(lambda: _page(query)) or page
    problems.answer()
    return Selection(fieldsets, include, filters.read(resource, rules, now), sorts, page, stretch)


def one(resource: Resource, query: Query) -> Selection:
    """A single record: filters are checked by name and have no effect; sort and page are ignored. Raises ApiError."""
    if not query:
        return Selection({})
    fieldsets = _fieldsets(resource.registry, query)
    problems = _Problems()
    include = problems.collect(lambda: _include(resource, query)) or False
    problems.collect(lambda: filters.check_names(resource, query, include))
    problems.answer()
    return Selection(fieldsets, include)


def related(resource: Resource, query: Query) -> Selection:
    """A to-one related record, checked as a request for its own type, sort and page included. Raises ApiError."""
    fieldsets = _fieldsets(resource.registry, query)
    problems = _Problems()
    problems.collect(lambda: _include(resource, query))
    problems.collect(lambda: filters.check_names(resource, query, include=False))
    _sorts(resource, query)
    problems.collect(lambda: _page(query))
    problems.answer()
    return Selection(fieldsets)


class _Problems:
    """Refusals that wait for each other, so that a client learns of all at once."""

    def __init__(self) -> None:
        self.found: list[errors.ErrorObject] = []

    def collect(self, check: Callable[[], T]) -> T | None:
        try:
            return check()
        except ApiError as refused:
            self.found += refused.problems
            return None

    def answer(self) -> None:
        if self.found:
            raise ApiError(*self.found)


def _fieldsets(resources: Mapping[str, Resource], query: Query) -> dict[str, tuple[str, ...]]:
    """Names by type, underscored, in the client's order; the singular spelling is checked and has no effect (0.1.2)."""
    asked = query.get("fields")
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


def _include(resource: Resource, query: Query) -> bool:
    """Whether the one relationship there is, the account, is asked for."""
    asked = query.get("include")
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
        if name not in resource.relationships:
            raise errors.invalid_include(name, resource.type)
        if nested:
            raise errors.invalid_include(nested.partition(".")[0], resource.relationships[name].type_)
    return bool(paths)


def _sorts(resource: Resource, query: Query) -> tuple[Sort, ...]:
    """The order, made total by the id in the last key's direction (D9)."""
    asked = query.get("sort")
    if isinstance(asked, list | dict):
        raise errors.invalid_sort(display_value(asked), resource.type)
    if is_blank(asked):
        sorts = {resource.default_sort.column: resource.default_sort}
    else:
        sorts = _sort_keys(resource, unquote(str(asked), errors="replace"))
    *_, last = sorts.values()
    return tuple({**sorts, "id": sorts.get("id", Sort("id", last.descending))}.values())


def _sort_keys(resource: Resource, text: str) -> dict[str, Sort]:
    """By column: a key given twice keeps the place of the first and takes the direction of the last."""
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


def _page(query: Query) -> Page:
    asked = query.get("page")
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
    """`2x` is 2, `1_0` is 10, what starts with no digit is 0; what is absent or no text is the default."""
    if not isinstance(value, str):
        return default
    match = LEADING_INTEGER.match(value)
    if not match:
        return 0
    text = match[1].replace("_", "")
    return int(text) if len(text) <= 40 else (-OUT_OF_RANGE if text[0] == "-" else OUT_OF_RANGE)
