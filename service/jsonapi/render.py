"""A resource's schema, compiled once for a fieldset: rows as tuples in, records out, as JSON or flat for tables.

Held equal, byte for byte, to what the schema itself dumps; there is no other description of a resource.
"""

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import lru_cache
from typing import Any

import orjson

from service.query import Selection
from service.schemas.base import PREFIX, dasherize
from service.schemas.fields import Attribute, Boolean, Decimal, Identifier, Inet, Integer, String, Timestamp, Uuid
from service.schemas.resource import Resource

Row = Sequence[Any]
Flat = dict[str, Any]
Related = Mapping[int, str]  # The UUIDs of accounts by internal number.

VERBATIM = {Boolean, Inet, Integer, String, Uuid}  # Whose value from the database is the value in JSON.
DISPLAYED = {Decimal, Identifier, Timestamp}  # Whose `display` is all that there is to their serialiser.
MAX_RENDERERS = 512  # Clients choose fieldsets, so the number of renderers kept is bounded.
SLOT = re.compile(r'"<(\w+)>"|\{(\w+)\}')  # For a value, and for text within a string.


class Renderer:
    """Renders rows of `columns`: the id, the attributes, then the columns that point to related records."""

    def __init__(self, resource: Resource, names: Sequence[str], linked: bool) -> None:
        shown = [name for name in names if name not in resource.hidden]
        fields = {name: resource.attributes[name] for name in shown if name in resource.attributes}
        relationships = [name for name in shown if name in resource.relationships]
        pointers = {name: pointer for name, pointer in resource.relationships.items() if linked}
        self.linked = linked
        self.columns = ("id", *(field.column for field in fields.values()), *(p.column for p in pointers.values()))
        self._path = f"{PREFIX}/{resource.type}/"
        row = ", ".join(["number", *(f"of_{name}" for name in fields), *(f"to_{name}" for name in pointers), "*rest"])
        attributes = {dasherize(name): _value(name, field) for name, field in fields.items()}
        known = {"dumps": orjson.dumps, "linkage": linkage}
        known |= {f"as_{n}": f.display if type(f) in DISPLAYED else f._serialize for n, f in fields.items()}
        self._json = _json(resource, attributes, relationships, linked, row, known)
        self._flat = _flat(attributes, relationships if linked else (), row, known)

    def records(self, rows: Iterable[Row], base: str, related: Related | None = None) -> list[bytes]:
        """Resource objects as JSON. `base` is scheme and host."""
        return self._json(rows, orjson.dumps(base + self._path)[1:-1], related or {})

    def flat(self, rows: Iterable[Row], related: Related | None = None) -> list[Flat]:
        """Id and attributes, and the ids of accounts where rows are linked."""
        return self._flat(rows, related or {})


# Below, one expression makes all records: a loop over names would take several times as long. Nothing but names from
# declarations is in its text.


def _json(
    resource: Resource,
    attributes: Mapping[str, str],
    relationships: Sequence[str],
    linked: bool,
    row: str,
    known: Mapping[str, Any],
) -> Callable[[Iterable[Row], bytes, Related], list[bytes]]:
    """A template that is everything but the values, which is faster than a dict of dicts for each record."""
    record: dict[str, Any] = {"id": "{id}", "type": resource.type, "links": {"self": "{url}"}}
    values = {"id": "id", "url": "url", "attributes": f"dumps({_display(attributes)})"}
    if attributes:
        record["attributes"] = "<attributes>"
    if relationships:
        record["relationships"] = {name: {"links": links("{url}", name)} for name in relationships}
    for name in relationships if linked else ():
        record["relationships"][name]["data"] = f"<to_{name}>"
        values[f"to_{name}"] = f"dumps(linkage(related.get(to_{name})))"
    text = orjson.dumps(record).decode()
    slots = ", ".join(values[slot[1] or slot[2]] for slot in SLOT.finditer(text))
    template = SLOT.sub("%b", text.replace("%", "%%")).encode()
    made = f"template % ({slots}) for {row} in rows for id in [dumps(str(number))[1:-1]] for url in [prefix + id]"
    return eval(f"lambda rows, prefix, related: [{made}]", {**known, "template": template})  # type: ignore[no-any-return]  # noqa: S307


def _flat(
    attributes: Mapping[str, str], relationships: Sequence[str], row: str, known: Mapping[str, Any]
) -> Callable[[Iterable[Row], Related], list[Flat]]:
    accounts = {name: f"related.get(to_{name})" for name in relationships}
    made = f"{_display({'id': 'str(number)', **attributes, **accounts})} for {row} in rows"
    return eval(f"lambda rows, related: [{made}]", dict(known))  # type: ignore[no-any-return]  # noqa: S307


def _display(members: Mapping[str, str]) -> str:
    """A dict in Python from names and expressions."""
    return f"{{{', '.join(f'{name!r}: {expression}' for name, expression in members.items())}}}"


def _value(name: str, field: Attribute) -> str:
    if type(field) in VERBATIM:
        return f"of_{name}"
    return f"as_{name}(of_{name})" if type(field) in DISPLAYED else f"as_{name}(of_{name}, {name!r}, None)"


def links(url: str, name: str) -> dict[str, str]:
    """The links of a relationship of the record at `url`."""
    return {"self": f"{url}/relationships/{name}", "related": f"{url}/{name}"}


def linkage(identifier: str | None) -> dict[str, str] | None:
    """The account that a record points to, or null."""
    return {"type": "accounts", "id": identifier} if identifier else None


def renderer_for(resource: Resource, selection: Selection) -> Renderer:
    """The renderer of what a request selects; a relationship that is hidden is not looked up."""
    linked = selection.include and not resource.hidden.issuperset(resource.relationships)
    return get_renderer(resource, selection.fieldsets.get(resource.type), linked)


@lru_cache(MAX_RENDERERS)
def get_renderer(resource: Resource, fieldset: tuple[str, ...] | None = None, linked: bool = False) -> Renderer:
    """The renderer of a fieldset in its order (None: everything); `linked` rows also carry related records' numbers."""
    everything = (*resource.attributes, *resource.relationships)
    return Renderer(resource, everything if fieldset is None else fieldset, linked)
