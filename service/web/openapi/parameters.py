"""Path, query and header parameters."""

from typing import Any

from service.jsonapi.params import MAX_PAGE_SIZE
from service.query import Page
from service.schemas.resource import ACCOUNT, FilterRule, Resource
from service.tables.excel import DIALECT
from service.tables.formats import FORMATS
from service.web.openapi import schemas

Parameter = dict[str, Any]

MEANINGS = {
    "eq": "Equal to the value.",
    "not_eq": "Not equal to the value; records without a value are excluded.",
    "gt": "Greater than the value.",
    "gteq": "Greater than or equal to the value.",
    "lt": "Less than the value.",
    "lteq": "Less than or equal to the value.",
    "in": "One of the values.",
    "not_in": "None of the values; records without a value are excluded.",
    "cont": "Contains the text, case-insensitive.",
    "start": "Starts with the text, case-insensitive.",
    "end": "Ends with the text, case-insensitive.",
    "starts_with": "Starts with the text, case-sensitive.",
    "ends_with": "Ends with the text, case-sensitive.",
    "cont_any": "Contains one of the texts, case-insensitive.",
}

COMMON: dict[str, Parameter] = {
    name: {"name": name, "in": "header", "description": description, "schema": {"type": "string"}}
    for name, description in (
        ("If-None-Match", "Entity tags of cached responses, or `*`."),
        ("X-Request-Id", "Id of the request, which is repeated in the response and the log."),
    )
}
SEEN: list[Parameter] = [{"$ref": f"#/components/parameters/{name}"} for name in COMMON]


def identifier(resource: Resource) -> Parameter:
    """The id in a path."""
    schema = {"type": "integer"} if resource.integer_ids else {"type": "string", "format": "uuid"}
    return {
        "name": "id",
        "in": "path",
        "required": True,
        "description": resource.schema.fields["id"].metadata["description"],
        "schema": schema,
    }


def list_parameters(resource: Resource) -> list[Parameter]:
    """The parameters of a list."""
    filters = (_filter(rule) for rule in resource.filters.values())
    return [*_pages(), *_cursors(), *_tables(), _sort(resource), *record(resource), *filters]


def record(resource: Resource) -> list[Parameter]:
    """The parameters of a single record."""
    if resource.account is None:
        return [_fieldset(resource), *SEEN]
    return [_fieldset(resource), _fieldset(resource.accounts), _include(), *SEEN]


def related(resource: Resource) -> list[Parameter]:
    """The parameters of a related record."""
    return [_fieldset(resource), *SEEN]


def _query(name: str, description: str, schema: dict[str, Any]) -> Parameter:
    """A query parameter. Arrays are comma-separated."""
    separated = {"style": "form", "explode": False} if schema.get("type") == "array" else {}
    return {"name": name, "in": "query", "description": description, **separated, "schema": schema}


def _pages() -> list[Parameter]:
    """Without `default`, which Swagger UI would send, even for exports."""
    size = {"type": "integer", "minimum": 1, "maximum": MAX_PAGE_SIZE}
    return [
        _query(
            "page[number]",
            f"Page number, default {Page().number}. Fewer than 2^63 records may precede the page.",
            {"type": "integer", "minimum": 1},
        ),
        _query("page[size]", f"Number of records on a page, default {Page().size}.", size),
    ]


def _cursors() -> list[Parameter]:
    cursor = {"type": "string", "format": "cursor", "pattern": "^[A-Za-z0-9_-]*$"}
    ends = (
        ("after", "Records after this cursor; empty: from the start of the list. Not with `page[number]`."),
        ("before", "Records before this cursor; empty: at the end of the list. Not with `page[number]`."),
    )
    text = "Whether a cursor page contains the total number of records. Numbered pages always do."
    return [
        *({**_query(f"page[{end}]", meaning, cursor), "allowEmptyValue": True} for end, meaning in ends),
        _query("page[total]", text, {"type": "boolean"}),
    ]


def _tables() -> list[Parameter]:
    text = "Exports all records in this format instead of a page. Overrides `Accept`. Not with `page`."
    dialect = (
        "For `csv`: a file for Excel and LibreOffice with a comma as decimal separator: UTF-8 with a byte order mark, "
        "semicolons, decimal commas, and phone numbers as text. Not allowed for other formats, ignored for pages."
    )
    counted = "Whether the records of an export are counted first and sent as `x-total-count`."
    return [
        _query("format", text, {"type": "string", "enum": ["json", *FORMATS]}),
        _query("dialect", dialect, {"type": "string", "enum": [DIALECT]}),
        _query("count", counted, {"type": "boolean"}),
    ]


def _sort(resource: Resource) -> Parameter:
    keys = [f"{sign}{name}" for name in resource.sort_keys for sign in ("", "-")]
    standard = resource.meta.default_sort
    text = f"Sort keys; `-` means descending. Default: `{standard}`. Ties are ordered by `id`."
    return _query("sort", text, {"type": "array", "items": {"type": "string", "enum": keys}})


def _fieldset(resource: Resource) -> Parameter:
    text = f"Only these attributes and relationships of {resource.type}, in this order."
    items = {"type": "string", "enum": list(resource.field_names)}
    return _query(f"fields[{resource.type}]", text, {"type": "array", "minItems": 1, "items": items})


def _include() -> Parameter:
    items = {"type": "string", "enum": [ACCOUNT]}
    return _query("include", "Adds related records as `included`.", {"type": "array", "items": items})


def _filter(rule: FilterRule) -> Parameter:
    text = f"{rule.field.metadata['description']} {MEANINGS[rule.operator]}"
    schema = schemas.of(rule.field, schemas.READ)
    if rule.takes_list:
        items = schemas.of(rule.field, {**schemas.READ, **schemas.ELEMENTS})
        schema = {"type": "array", "items": items, **({} if rule.empty_matches_nothing else {"minItems": 1})}
    return _query(f"filter[{rule.name}]", text, schema)
