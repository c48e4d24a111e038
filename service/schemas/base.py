"""The base schema of all resources: JSON:API with absolute links and a fixed order of members."""

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
    """Declares one resource. `dump` is the specification of the renderer's output.

    `base`: scheme and host of links. `fieldset`: requested names in order. `hidden`: names that are left out of every
    record. `included`: the schema of related records.
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
        """A resource object: id, type, links, attributes, relationships; the last two only if not empty."""
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
        database: str  # The database with the records: cdr or routing.
        inflect = dasherize
        hidden_setting: str | None = None  # The setting under `resources` that lists hidden names.
        window: str | None = None  # The time attribute that lists limit to the last 24 hours by default.
        default_sort = "id"
        number = "id"  # The column of the internal number, to which filter[id] applies.
