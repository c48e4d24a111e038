"""A resource's schema, compiled once for a fieldset, to resource objects: rows as tuples in, dicts ready for JSON out.

Held equal, value for value, to what the schema itself dumps; there is no other description of a resource.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import lru_cache
from typing import Any

from service.schemas.base import PREFIX, dasherize
from service.schemas.resource import Resource
from service.selection import Selection

Record = dict[str, Any]
Row = Sequence[Any]
MOST_COMPILED = 512  # Clients choose fieldsets, so the number of renderers kept is bounded.


class Renderer:
    """Renders rows of `columns`: the id, the attributes, then the columns that point to related records."""

    def __init__(self, resource: Resource, names: Sequence[str], linked: bool) -> None:
        shown = [name for name in names if name not in resource.hidden]
        fields = [(name, resource.attributes[name]) for name in shown if name in resource.attributes]
        self.relationships = [name for name in shown if name in resource.relationships]
        self.linked = linked
        self.type = resource.type
        self.columns = (
            "id",
            *(field.column for _, field in fields),
            *(resource.relationships[name].column for name in resource.relationships if linked),
        )
        self._names = [dasherize(name) for name, _ in fields]
        self._converted: list[tuple[str, Callable[[Any, str, None], Any]]] = [
            (dasherize(name), field._serialize) for name, field in fields if not field.verbatim
        ]

    def records(self, rows: Iterable[Row], base: str, related: Mapping[int, str] | None = None) -> list[Record]:
        """Resource objects. `base` is scheme and host; `related` gives the UUIDs of accounts by internal number."""
        prefix = f"{base}{PREFIX}/{self.type}/"
        return [self._record(row, f"{prefix}{row[0]}", related) for row in rows]

    def _record(self, row: Row, url: str, related: Mapping[int, str] | None) -> Record:
        record: Record = {"id": str(row[0]), "type": self.type, "links": {"self": url}}
        if self._names:
            attributes = dict(zip(self._names, row[1:], strict=False))
            for name, convert in self._converted:
                attributes[name] = convert(attributes[name], name, None)
            record["attributes"] = attributes
        if self.relationships:
            record["relationships"] = {name: self._relationship(name, row, url, related) for name in self.relationships}
        return record

    def _relationship(self, name: str, row: Row, url: str, related: Mapping[int, str] | None) -> Record:
        relationship: Record = {"links": links(url, name)}
        if related is not None:
            relationship["data"] = linkage(related.get(row[-1]))
        return relationship


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
