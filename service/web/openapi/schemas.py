"""The JSON Schemas of responses and of filter values."""

from collections.abc import Mapping
from typing import Any

from service.jsonapi.spelling import WHITE_SPACE
from service.schemas import fields
from service.schemas.base import dasherize
from service.schemas.fields import Attribute
from service.schemas.resource import ACCOUNT, Resource

Schema = dict[str, Any]

BLANK = "".join(f"\\u{ord(character):04x}" for character in WHITE_SPACE)
LINE = r'("([^"]|"")*"|[^",\r\n]*)'
DAY = r"[1-9]\d{3}-(0[1-9]|1[0-2])-(0[1-9]|[12]\d|3[01])"
CLOCK = r"([01]\d|2[0-3]):[0-5]\d(:[0-5]\d(\.\d+)?)?"
OCTET = r"(25[0-5]|2[0-4]\d|1\d\d|[1-9]?\d)"
IPV4 = rf"{OCTET}(\.{OCTET}){{3}}(/(3[0-2]|[12]?\d))?"
IPV6 = r"[0-9A-Fa-f]*(:[0-9A-Fa-f.]*){2,8}(/(12[0-8]|1[01]\d|[1-9]?\d))?"
OFFSET = r"[Zz]| UTC|[+ -]([01]\d|2[0-3])(:?[0-5]\d)?"

# Values in responses, by type of the attribute.
SHOWN: Mapping[type, Schema] = {
    fields.Integer: {"type": "integer"},
    fields.Identifier: {"type": "string", "pattern": r"^-?\d+$"},
    fields.Decimal: {"type": "string", "format": "decimal", "pattern": r"^-?\d+\.\d+$"},
    fields.Boolean: {"type": "boolean"},
    fields.String: {"type": "string"},
    fields.Timestamp: {"type": "string", "format": "date-time"},
    fields.Inet: {"type": "string", "format": "inet"},
    fields.Uuid: {"type": "string", "format": "uuid"},
}

# Values in filters; the larger schemas are components.
READ: Mapping[type, Schema] = {
    fields.Integer: {"type": "integer"},
    fields.Decimal: {"$ref": "#/components/schemas/decimal"},
    fields.Boolean: {"type": "boolean"},
    fields.String: {"$ref": "#/components/schemas/text"},
    fields.Timestamp: {"$ref": "#/components/schemas/time"},
    fields.Inet: {"$ref": "#/components/schemas/address"},
    fields.Uuid: {"$ref": "#/components/schemas/uuid"},
}
# Elements of a list of texts may contain anything, because a malformed list is one value.
ELEMENTS: Mapping[type, Schema] = {fields.String: {"type": "string", "pattern": r"^[^\u0000]*$"}}

VALUES: Mapping[str, Schema] = {
    "decimal": {
        "type": "string",
        "format": "decimal",
        "pattern": r"^[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d{1,5})?$",
        "description": "A decimal number; an exponent, `NaN` and `Infinity` are allowed as well.",
    },
    "text": {
        "type": "string",
        "minLength": 1,
        "allOf": [
            {"pattern": r"^[^\u0000]*$"},
            {"pattern": f"[^{BLANK}]"},
            {"not": {"pattern": f"^({LINE},)+{LINE}($|[\\r\\n])|^[\\r\\n]"}},
        ],
        "description": "Text. A value with commas must be in double quotes, with double quotes in it doubled.",
    },
    "time": {
        "type": "string",
        "format": "moment",
        "pattern": f"^{DAY}([ T]{CLOCK}({OFFSET})?)?$",
        "description": "ISO 8601 date, or date and time. Default offset: the service's time zone.",
    },
    "address": {
        "type": "string",
        "format": "inet",
        "pattern": f"^({IPV4}|{IPV6})$",
        "description": "An IPv4 or IPv6 address, or a network with its mask.",
    },
    "uuid": {"type": "string", "format": "uuid"},
}


def of(attribute: Attribute, table: Mapping[type, Schema]) -> Schema:
    """The schema in `table` for an attribute's type or its nearest base class."""
    return next(table[type_] for type_ in type(attribute).__mro__ if type_ in table)


def components(resources: Mapping[str, Resource]) -> dict[str, Schema]:
    """All schemas by name."""
    found: dict[str, Schema] = {**VALUES, "errors": ERRORS}
    for resource in resources.values():
        found |= _resource(resource)
        if resource.account:
            found[f"{resource.type}-linkage"] = _linkage(resource)
    return found


def _resource(resource: Resource) -> dict[str, Schema]:
    reference = {"$ref": f"#/components/schemas/{resource.type}"}
    members: dict[str, Schema] = {"data": reference}
    page: dict[str, Schema] = {"data": {"type": "array", "items": reference}}
    if resource.account:
        accounts = {"type": "array", "minItems": 1, "items": {"$ref": "#/components/schemas/accounts"}}
        members["included"] = page["included"] = accounts
    by_cursor = {**page, "data": {"type": "array", "items": {"$ref": f"#/components/schemas/{resource.type}-placed"}}}
    page["meta"] = PAGE_META
    page["links"] = closed(dict.fromkeys(("first", "prev", "next", "last"), URL), "first")
    cursor_meta = {**closed({"page": CURSOR_PAGE, "total-count-omitted": OMITTED}), "required": [], "minProperties": 1}
    by_cursor |= {"meta": cursor_meta, "links": CURSOR_LINKS}
    return {
        f"{resource.type}-attributes": _attributes(resource),
        resource.type: _record(resource),
        f"{resource.type}-placed": _placed(resource),
        f"{resource.type}-document": closed(members, "data"),
        f"{resource.type}-page": closed(page, "data", "meta", "links"),
        f"{resource.type}-cursor-page": closed(by_cursor, "data", "links"),
        f"{resource.type}-or-null": closed({"data": {"anyOf": [reference, {"type": "null"}]}}),
    }


def _record(resource: Resource) -> Schema:
    """A resource object. Only id, type and links are required, because a fieldset may omit the rest."""
    members = {
        "id": of(resource.schema.fields["id"], SHOWN),
        "type": {"const": resource.type},
        "links": closed({"self": URL}),
        "attributes": {"$ref": f"#/components/schemas/{resource.type}-attributes"},
    }
    if resource.account and _visible(resource, ACCOUNT):
        members["relationships"] = closed({ACCOUNT: _relationship()})
    return {**closed(members, "id", "type", "links"), "description": resource.schema.__doc__}


def _attributes(resource: Resource) -> Schema:
    """The attributes, none of them required, because of fieldsets."""
    shown = {dasherize(name): _shown(field) for name, field in resource.attributes.items() if _visible(resource, name)}
    return {**closed(shown), "required": [], "minProperties": 1}


def _placed(resource: Resource) -> Schema:
    """A record on a cursor page, with its cursor in `meta`."""
    cursor = {"type": "string", "pattern": "^[A-Za-z0-9_-]+$", "description": "For `page[after]` and `page[before]`."}
    record = _record(resource)
    members = {
        **record["properties"],
        "meta": closed({"page": closed({"cursor": cursor})}),
    }
    return {**record, "properties": members, "required": [*record["required"], "meta"]}


def _visible(resource: Resource, name: str) -> bool:
    return name not in resource.hidden


def _shown(attribute: Attribute) -> Schema:
    schema = {**of(attribute, SHOWN), "description": attribute.metadata["description"]}
    return {**schema, "type": [schema["type"], "null"]} if attribute.allow_none else schema


def _relationship() -> Schema:
    return closed({"links": closed({"self": URL, "related": URL}), "data": IDENTIFIER}, "links")


def _linkage(resource: Resource) -> Schema:
    return closed({"data": IDENTIFIER, "links": closed({"self": URL, "related": URL})})


def closed(members: dict[str, Schema], *required: str) -> Schema:
    """An object with exactly these members; by default all of them are required."""
    names = list(required or members)
    return {"type": "object", "required": names, "additionalProperties": False, "properties": members}


URL: Schema = {"type": "string", "format": "uri"}
IDENTIFIER: Schema = {
    **closed({"type": {"const": "accounts"}, "id": {"type": "string", "format": "uuid"}}),
    "type": ["object", "null"],
}
TEXT: Schema = {"type": "string"}
OR_NULL: Schema = {**URL, "type": ["string", "null"]}
CURSOR_LINKS: Schema = closed({"first": URL, "prev": OR_NULL, "next": OR_NULL, "last": URL})
OMITTED: Schema = {"type": "boolean", "description": "Always true. Replaces the total if counting took too long."}
PAGE_META: Schema = {
    **closed({"total-count": {"type": "integer", "minimum": 0}, "total-count-omitted": OMITTED}),
    "required": [],
    "minProperties": 1,
    "maxProperties": 1,
}
CURSOR_PAGE: Schema = {
    **closed(
        {
            "total": {"type": "integer", "minimum": 0, "description": "Total number of records, if requested."},
            "rangeTruncated": {
                "type": "boolean",
                "description": "Always true: there are more records between the cursors than on the page.",
            },
        }
    ),
    "required": [],
    "minProperties": 1,
}
PROBLEM: Mapping[str, Schema] = {"title": TEXT, "detail": TEXT, "code": TEXT, "status": TEXT}
# Members of errors for parameters that the reference does not have.
MORE: Mapping[str, Schema] = {
    "source": closed({"parameter": TEXT}),
    "links": closed({"type": {"type": "array", "minItems": 1, "items": URL}}),
    "meta": closed({"page": closed({"maxSize": {"type": "integer"}})}),
}
ERRORS: Schema = closed({"errors": {"type": "array", "minItems": 1, "items": closed({**PROBLEM, **MORE}, *PROBLEM)}})
