"""Examples: recorded responses from a file, and generated error documents."""

import json
from collections.abc import Callable, Mapping
from functools import cache
from typing import Any, TypeAlias

from service import errors
from service.errors import ApiError
from service.files import DOCS
from service.jsonapi import document
from service.jsonapi.params import MAX_PAGE_SIZE
from service.schemas.base import dasherize
from service.schemas.resource import Resource
from service.tables.formats import FORMATS
from service.web.responses import status_of

Example = dict[str, Any]
ExampleTable: TypeAlias = Mapping[str, tuple[str, Callable[[Resource], ApiError]]]

# Examples of invalid queries by name: the query, and the resulting error.
RECORD: ExampleTable = {
    "broken-escape": ("sort=%", lambda _: errors.bad_request("The query string has a broken percent-encoding.")),
    "unknown-type": ("fields[nosuch]=id", lambda _: errors.unknown_resource_type("nosuch")),
    "unknown-field": ("fields[accounts]=nosuch", lambda _: errors.invalid_field("nosuch", "accounts")),
    "fields-without-type": ("fields=id", lambda _: errors.fields_without_type()),
    "unknown-relationship": ("include=nosuch", lambda resource: errors.invalid_include("nosuch", resource.type)),
    "unknown-filter": ("filter[nosuch_eq]=1", lambda _: errors.filter_not_allowed("nosuch_eq")),
    "filter-without-name": ("filter=1", lambda _: errors.invalid_filter_syntax("1")),
}
PAGE: ExampleTable = {
    "unknown-sort-key": ("sort=nosuch", lambda resource: errors.invalid_sort("nosuch", resource.type)),
    "page-number": ("page[number]=0", lambda _: errors.invalid_page(0, "number")),
    "page-size": ("page[size]=0", lambda _: errors.invalid_page(0, "size")),
    "page-too-large": ("page[size]=1001", lambda _: errors.page_too_large(MAX_PAGE_SIZE)),
}
VALUE: ExampleTable = {
    "unreadable-value": ("filter[id]=x", lambda _: errors.invalid_filter_value("x", "id")),
    "value-with-members": ("filter[id][a]=1", lambda _: errors.invalid_filter_syntax("id")),
}
CURSORS: ExampleTable = {
    "unknown-cursor": (
        "page[after]=x",
        lambda _: errors.invalid_cursor("after"),
    ),
    "cursor-and-page-number": (
        "page[before]=&page[number]=1",
        lambda _: errors.page_number_with_cursor(),
    ),
    "cursor-page-size": (
        "page[after]=&page[size]=0",
        lambda _: errors.invalid_cursor_page_size(),
    ),
    "cursor-page-too-large": ("page[after]=&page[size]=1001", lambda _: errors.cursor_page_too_large(MAX_PAGE_SIZE)),
    "cursor-page-total": (
        "page[after]=&page[total]=x",
        lambda _: errors.invalid_flag("page[total]"),
    ),
}
EXPORT: ExampleTable = {
    "unknown-format": (
        "format=xlsx",
        lambda _: errors.unknown_format("csv, ndjson or json"),
    ),
    "export-dialect": (
        "format=ndjson&dialect=excel",
        lambda _: errors.unknown_dialect("excel"),
    ),
    "export-of-a-page": (
        "format=csv&page[size]=10",
        lambda _: errors.page_of_export(),
    ),
    "export-count": (
        "format=csv&count=x",
        lambda _: errors.invalid_flag("count"),
    ),
}
WIDE = "format=csv&filter[time_start_gteq]=1900-01-01&filter[time_start_lt]=2000-01-01"
WIDE_DAYS = 36524
UNKNOWN_UUID = "00000000-0000-0000-0000-000000000000"


def wide(most_days: int) -> ExampleTable:
    """An export that exceeds the limit of days, unless the limit is a century."""
    if most_days >= WIDE_DAYS:
        return {}
    return {"export-too-wide": (WIDE, lambda _: errors.export_too_wide(WIDE_DAYS, most_days))}


def list_examples(operation: str, resource: Resource, way: str) -> dict[str, Example]:
    """The recorded response of a list as `page`, as `cursors` or as a table; no table if attributes are hidden."""
    hidden = resource.hidden and way in FORMATS
    return {} if hidden else recorded(f"{operation}/{way}", resource.registry)


def recorded(operation: str, resources: Mapping[str, Resource]) -> dict[str, Example]:
    """The recorded response of an operation without hidden attributes; empty if there is none."""
    found = _recordings().get(operation)
    if found is None:
        return {}
    return {"recorded": {"summary": f"GET {found['path']}", "value": _visible(found["body"], resources)}}


def refused(refusal: ApiError, summary: str) -> dict[str, Example]:
    """An error document."""
    return {"refused": {"summary": summary, "value": json.loads(document.errors(refusal.errors, status_of(refusal)))}}


def bad_queries(resource: Resource, table: ExampleTable) -> dict[str, Example]:
    """The responses to the queries of a table."""
    return {name: refused(refusal(resource), f"?{query}")["refused"] for name, (query, refusal) in table.items()}


def bad_identifier(resource: Resource) -> dict[str, Example]:
    """The response to an invalid id. An invalid UUID is an unknown path instead."""
    if not resource.integer_ids:
        return {}
    return {"bad-id": refused(errors.invalid_id("x"), f"/{resource.type}/x")["refused"]}


def missing(resource: Resource) -> dict[str, Example]:
    """The response to an unknown id."""
    identifier = "-1" if resource.integer_ids else UNKNOWN_UUID
    return refused(errors.record_not_found(identifier), f"/{resource.type}/{identifier}")


@cache
def _recordings() -> dict[str, Any]:
    found: dict[str, Any] = json.loads((DOCS / "examples.json").read_text(encoding="utf-8"))
    return found


def _visible(node: Any, resources: Mapping[str, Resource]) -> Any:
    """A document without hidden attributes."""
    if isinstance(node, list):
        return [_visible(item, resources) for item in node]
    if not isinstance(node, dict):
        return node
    resource = resources.get(str(node.get("type")))
    hidden = {dasherize(name) for name in resource.hidden} if resource else set()
    kept = {name: _visible(value, resources) for name, value in node.items()}
    for part in ("attributes", "relationships"):
        if part in kept:
            kept[part] = {name: value for name, value in kept[part].items() if name not in hidden}
    return {name: value for name, value in kept.items() if value or name not in ("attributes", "relationships")}
