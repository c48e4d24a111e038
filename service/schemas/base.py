"""The schema that all resources share: JSON:API as this API writes it, with absolute links and members in one order."""

from collections.abc import Collection, Sequence
from datetime import UTC, tzinfo
from typing import Any

from marshmallow_jsonapi import Schema

from service.schemas.fields import Attribute

PREFIX = "/api/rest/customer/v1"


def dasherize(name: str) -> str:
    """The spelling of a name in JSON: `time_start` is `time-start`."""
    return name.replace("_", "-")


class ResourceSchema(Schema):
    """One resource: declares it, and dumps it in the plain way that the compiled renderer is held equal to.

    `base` is the scheme and host of links; `fieldset` the names asked for, in their order; `hidden` names are left out
    of every record; `included` is the schema that related records are dumped with.
    """

    def __init__(
        self,
        *,
        time_zone: tzinfo = UTC,
        hidden: Collection[str] = (),
        base: str = "",
        fieldset: Sequence[str] | None = None,
        included: "ResourceSchema | None" = None,
        **options: Any,
    ) -> None:
        self.time_zone = time_zone
        self.base = base
        self.included = included
        super().__init__(**options)
        shown = [n for n, f in self.declared_fields.items() if not isinstance(f, Attribute) or f.shown]
        self.members = [n for n in (shown if fieldset is None else fieldset) if n not in hidden]

    def record_url(self, identifier: object) -> str:
        """The absolute URL of a record."""
        return f"{self.base}{PREFIX}/{self.opts.type_}/{identifier}"

    def format_item(self, item: dict[str, Any]) -> dict[str, Any]:
        """A resource object: id, type, links, attributes, relationships; the last two only when not empty."""
        plain = super().format_item(item)
        ordered = {
            part: {name: plain[part][name] for name in map(dasherize, self.members) if name in plain[part]}
            for part in ("attributes", "relationships")
            if part in plain
        }
        return {
            "id": plain["id"],
            "type": self.opts.type_,
            "links": {"self": self.record_url(plain["id"])},
            **{part: values for part, values in ordered.items() if values},
        }

    class Meta:
        type_: str
        database: str  # Which of the two databases holds the records: cdr or routing.
        inflect = dasherize
        hidden_setting: str | None = None  # The setting under `resources` that lists hidden names.
        window: str | None = None  # The attribute that a list without a lower bound limits to the last 24 hours.
        default_sort = "id"
        number = "id"  # The column of the internal number, which filter[id] means.
