"""A resource's schema, compiled once for a fieldset, to resource objects: rows as tuples in, dicts ready for JSON out.

Held equal, value for value, to what the schema itself dumps; there is no other description of a resource.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import lru_cache
from typing import Any

from service.schemas.base import PREFIX, dasherize
from service.schemas.fields import Attribute, Boolean, Inet, Integer, String, Uuid
from service.schemas.resource import Resource
from service.selection import Selection

Record = dict[str, Any]
Row = Sequence[Any]

VERBATIM = {Boolean, Inet, Integer, String, Uuid}  # Whose value from the database is the value in JSON.
MOST_COMPILED = 512  # Clients choose fieldsets, so the number of renderers kept is bounded.


class Renderer:
    """Renders rows of `columns`: the id, the attributes, then the columns that point to related records."""

    def __init__(self, resource: Resource, names: Sequence[str], linked: bool) -> None:
        shown = [name for name in names if name not in resource.hidden]
        fields = {name: resource.attributes[name] for name in shown if name in resource.attributes}
        relationships = [name for name in shown if name in resource.relationships]
        pointers = [pointer.column for pointer in resource.relationships.values() if linked]
        self.linked = linked
        self.columns = ("id", *(field.column for field in fields.values()), *pointers)
        self._path = f"{PREFIX}/{resource.type}/"
        self._build = _function(resource, fields, relationships, linked)

    def records(self, rows: Iterable[Row], base: str, related: Mapping[int, str] | None = None) -> list[Record]:
        """Resource objects. `base` is scheme and host; `related` gives the UUIDs of accounts by internal number."""
        return self._build(rows, base + self._path, related or {})


def _function(
    resource: Resource, fields: Mapping[str, Attribute], relationships: Sequence[str], linked: bool
) -> Callable[[Iterable[Row], str, Mapping[int, str]], list[Record]]:
    """One expression that makes all records: a loop over names would take twice as long."""
    record = {"id": "id", "type": repr(resource.type), "links": "{'self': url}"}
    if fields:
        record["attributes"] = _display({dasherize(name): _value(name, field) for name, field in fields.items()})
    if relationships:
        record["relationships"] = _display({name: _relationship(name, linked) for name in relationships})
    row = [
        "number",
        *(f"of_{name}" for name in fields),
        *(f"to_{name}" for name in resource.relationships if linked),
        "*rest",
    ]
    made = f"{_display(record)} for {', '.join(row)} in rows for id in [str(number)] for url in [prefix + id]"
    known = {"linkage": linkage, **{f"as_{name}": field._serialize for name, field in fields.items()}}
    # Nothing but names from declarations is in the text.
    return eval(f"lambda rows, prefix, related: [{made}]", known)  # type: ignore[no-any-return]  # noqa: S307


def _display(members: Mapping[str, str]) -> str:
    """A dict in Python from names and expressions."""
    return f"{{{', '.join(f'{name!r}: {expression}' for name, expression in members.items())}}}"


def _value(name: str, field: Attribute) -> str:
    return f"of_{name}" if type(field) in VERBATIM else f"as_{name}(of_{name}, {name!r}, None)"


def _relationship(name: str, linked: bool) -> str:
    data = f", 'data': linkage(related.get(to_{name}))" if linked else ""
    return f"{{'links': {{'self': url + '/relationships/{name}', 'related': url + '/{name}'}}{data}}}"


def links(url: str, name: str) -> dict[str, str]:
    """The links of a relationship of the record at `url`."""
    return {"self": f"{url}/relationships/{name}", "related": f"{url}/{name}"}


def linkage(identifier: str | None) -> dict[str, str] | None:
    """The account that a record points to, or null."""
    return {"type": "accounts", "id": identifier} if identifier else None


def chosen(resource: Resource, selection: Selection) -> Renderer:
    """The renderer of what a request selects; a relationship that is hidden is not looked up."""
    linked = selection.include and not resource.hidden.issuperset(resource.relationships)
    return compiled(resource, selection.fieldsets.get(resource.type), linked)


@lru_cache(MOST_COMPILED)
def compiled(resource: Resource, fieldset: tuple[str, ...] | None = None, linked: bool = False) -> Renderer:
    """The renderer of a fieldset in its order (None: everything); `linked` rows also carry related records' numbers."""
    everything = (*resource.attributes, *resource.relationships)
    return Renderer(resource, everything if fieldset is None else fieldset, linked)
