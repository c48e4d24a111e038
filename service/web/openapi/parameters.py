"""The parameters of requests, in the path, the query and the header."""

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
    "not_eq": "Not equal to the value; records without one are left out.",
    "gt": "Greater than the value.",
    "gteq": "Greater than the value, or equal.",
    "lt": "Less than the value.",
    "lteq": "Less than the value, or equal.",
    "in": "One of the values.",
    "not_in": "None of the values; records without one are left out.",
    "cont": "Contains the text, in any case of letters.",
    "start": "Begins with the text, in any case of letters.",
    "end": "Ends with the text, in any case of letters.",
    "starts_with": "Begins with the text, in the same case of letters.",
    "ends_with": "Ends with the text, in the same case of letters.",
    "cont_any": "Contains one of the texts, in any case of letters.",
}

COMMON: dict[str, Parameter] = {
    name: {"name": name, "in": "header", "description": description, "schema": {"type": "string"}}
    for name, description in (
        ("If-None-Match", "Entity tags of what the client has already, or `*`."),
        ("X-Request-Id", "A name for the request, which its answer and the log repeat."),
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


def listing(resource: Resource) -> list[Parameter]:
    """What a list takes."""
    filters = (_filter(rule) for rule in resource.filters.values())
    return [*_pages(), *_cursors(), *_tables(), _sort(resource), *record(resource), *filters]


def record(resource: Resource) -> list[Parameter]:
    """What a single record takes: which members are shown."""
    if resource.account is None:
        return [_fieldset(resource), *SEEN]
    return [_fieldset(resource), _fieldset(resource.accounts), _include(), *SEEN]


def related(resource: Resource) -> list[Parameter]:
    """What asking for a related record of the resource takes."""
    return [_fieldset(resource), *SEEN]


def _query(name: str, description: str, schema: dict[str, Any]) -> Parameter:
    """Lists are separated by commas."""
    separated = {"style": "form", "explode": False} if schema.get("type") == "array" else {}
    return {"name": name, "in": "query", "description": description, **separated, "schema": schema}


def _pages() -> list[Parameter]:
    """Without `default`, which the page would send along, also where a list is to be a table."""
    size = {"type": "integer", "minimum": 1, "maximum": MAX_PAGE_SIZE}
    return [
        _query(
            "page[number]",
            f"Which page, {Page().number} unless told; fewer than 2^63 records may come before it.",
            {"type": "integer", "minimum": 1},
        ),
        _query("page[size]", f"How many records a page holds, {Page().size} unless told.", size),
    ]


def _cursors() -> list[Parameter]:
    cursor = {"type": "string", "format": "cursor", "pattern": "^[A-Za-z0-9_-]*$"}
    ends = (
        ("after", "The records after a cursor, or from the list's start where it is empty; not with `page[number]`."),
        ("before", "The records just before a cursor, or the list's end where it is empty; not with `page[number]`."),
    )
    text = "Whether a page by cursors tells the number of all records. Other pages always do."
    return [
        *({**_query(f"page[{end}]", meaning, cursor), "allowEmptyValue": True} for end, meaning in ends),
        _query("page[total]", text, {"type": "boolean"}),
    ]


def _tables() -> list[Parameter]:
    text = "All records as a table rather than a page; it counts before `Accept`, and does not go with `page`."
    dialect = (
        "For `csv`, a file that Excel and LibreOffice open where the decimal separator is a comma: UTF-8 with a byte "
        "order mark, semicolons, decimal commas, and phone numbers kept as text. Elsewhere without effect or refused."
    )
    counted = "Whether a table's records are counted first, for `x-total-count`."
    return [
        _query("format", text, {"type": "string", "enum": ["json", *FORMATS]}),
        _query("dialect", dialect, {"type": "string", "enum": [DIALECT]}),
        _query("count", counted, {"type": "boolean"}),
    ]


def _sort(resource: Resource) -> Parameter:
    keys = [f"{sign}{name}" for name in resource.sort_keys for sign in ("", "-")]
    standard = resource.meta.default_sort
    text = f"The order; `-` is descending. Without it, `{standard}`. Ties are ordered by `id`."
    return _query("sort", text, {"type": "array", "items": {"type": "string", "enum": keys}})


def _fieldset(resource: Resource) -> Parameter:
    text = f"Only these attributes and relationships of {resource.type}, in this order."
    items = {"type": "string", "enum": list(resource.field_names)}
    return _query(f"fields[{resource.type}]", text, {"type": "array", "minItems": 1, "items": items})


def _include() -> Parameter:
    items = {"type": "string", "enum": [ACCOUNT]}
    return _query("include", "Adds what the records point to as `included`.", {"type": "array", "items": items})


def _filter(rule: FilterRule) -> Parameter:
    text = f"{rule.field.metadata['description']} {MEANINGS[rule.operator]}"
    schema = schemas.of(rule.field, schemas.READ)
    if rule.takes_list:
        items = schemas.of(rule.field, {**schemas.READ, **schemas.ELEMENTS})
        schema = {"type": "array", "items": items, **({} if rule.empty_matches_nothing else {"minItems": 1})}
    return _query(f"filter[{rule.name}]", text, schema)
