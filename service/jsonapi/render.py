"""Renders rows as JSON resource objects, or as flat records for tables.

A renderer is derived from the schema once for each fieldset. Its output equals that of the schema's `dump`, byte for
byte.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import lru_cache
from typing import Any

import orjson

from service.jsonapi.view import View
from service.schemas.base import PREFIX, dasherize
from service.schemas.fields import Attribute, Boolean, Decimal, Identifier, Inet, Integer, String, Timestamp, Uuid
from service.schemas.resource import ACCOUNT, Resource

Row = Sequence[Any]
Flat = dict[str, Any]
Related = Mapping[int, str]  # The UUIDs of accounts by internal id.

VERBATIM = {Boolean, Inet, Integer, String, Uuid}  # Types whose database value is the JSON value.
DISPLAYED = {Decimal, Identifier, Timestamp}  # Types that are serialised by `display`.
MAX_RENDERERS = 512  # Clients choose fieldsets, so the number of cached renderers is bounded.


class Renderer:
    """Renders rows of `columns`: the id, the attributes and, if `linked`, the internal id of the account."""

    def __init__(self, resource: Resource, names: Sequence[str], linked: bool) -> None:
        shown = [name for name in names if name not in resource.hidden]
        fields = {name: resource.attributes[name] for name in shown if name in resource.attributes}
        account = (resource.account.column,) if linked and resource.account else ()
        self.linked = linked
        self.columns: tuple[str, ...] = ("id", *(field.column for field in fields.values()), *account)
        self._path = f"{PREFIX}/{resource.type}/"
        self._names = [dasherize(name) for name in fields]
        self._conversions = [
            (place, _conversion(name, field))
            for place, (name, field) in enumerate(fields.items())
            if type(field) not in VERBATIM
        ]
        self._with_account = ACCOUNT in shown and resource.account is not None
        self._template = _template(resource.type, bool(fields), self._with_account, linked)

    def records(self, rows: Iterable[Row], base: str, related: Related | None = None) -> list[bytes]:
        """Resource objects as JSON. `base` is the scheme and host of links."""
        dumps, template, attributes = orjson.dumps, self._template, self._attributes
        prefix = dumps(base + self._path)[1:-1]
        records = []
        for row in rows:
            identifier = str(row[0]).encode()
            url = prefix + identifier
            values: tuple[bytes, ...] = (identifier, url)
            if self._names:
                values += (dumps(attributes(row)),)
            if self._with_account:
                values += (url, url)
                if self.linked:
                    values += (dumps(linkage((related or {}).get(row[-1]))),)
            records.append(template % values)
        return records

    def flat(self, rows: Iterable[Row], related: Related | None = None) -> list[Flat]:
        """Flat records: id, attributes and, if linked, the UUID of the account."""
        records = [{"id": str(row[0]), **self._attributes(row)} for row in rows]
        if self._with_account and self.linked:
            for record, row in zip(records, rows, strict=True):
                record[ACCOUNT] = (related or {}).get(row[-1])
        return records

    def _attributes(self, row: Row) -> dict[str, Any]:
        cells = list(row[1:])
        for place, convert in self._conversions:
            cells[place] = convert(cells[place])
        return dict(zip(self._names, cells))  # noqa: B905 # A linked row has one more column.


def _conversion(name: str, field: Attribute) -> Callable[[Any], Any]:
    if type(field) in DISPLAYED:
        return field.display
    return lambda value: field._serialize(value, name, None)


def _template(type_: str, attributes: bool, account: bool, linked: bool) -> bytes:
    """A resource object with `%b` for each value; building nested dicts for each record takes twice as long."""
    record: dict[str, Any] = {"id": "%b", "type": type_, "links": {"self": "%b"}}
    if attributes:
        record["attributes"] = "<json>"
    if account:
        data = {"data": "<json>"} if linked else {}
        record["relationships"] = {ACCOUNT: {"links": links("%b"), **data}}
    return orjson.dumps(record).replace(b'"<json>"', b"%b")


def links(url: str) -> dict[str, str]:
    """The links of the account relationship of the record at `url`."""
    return {"self": f"{url}/relationships/{ACCOUNT}", "related": f"{url}/{ACCOUNT}"}


def linkage(identifier: str | None) -> dict[str, str] | None:
    """The resource identifier of an account, or None."""
    return {"type": "accounts", "id": identifier} if identifier else None


def renderer_for(resource: Resource, view: View) -> Renderer:
    """The renderer of a resource in a view. A hidden account is not looked up."""
    linked = view.include and resource.account is not None and ACCOUNT not in resource.hidden
    return get_renderer(resource, view.fieldsets.get(resource.type), linked)


@lru_cache(MAX_RENDERERS)
def get_renderer(resource: Resource, fieldset: tuple[str, ...] | None = None, linked: bool = False) -> Renderer:
    """The cached renderer of a fieldset, in its order; None means all members."""
    return Renderer(resource, resource.members if fieldset is None else fieldset, linked)
