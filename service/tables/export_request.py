"""What a request for an export asks for: its format, and a selection without pages that is not too wide."""

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from service import errors
from service.jsonapi import accept, params
from service.jsonapi.query_string import Query
from service.jsonapi.spelling import is_blank
from service.query import Selection
from service.schemas.resource import Resource
from service.tables.formats import FORMATS, Format

BY_MEDIA_TYPE = {format_.media_type: format_ for format_ in FORMATS.values()}
STARTS, ENDS = ("gteq", "gt", "eq", "in"), ("lteq", "lt", "eq", "in")
MOMENT = "%Y%m%dT%H%M%SZ"


@dataclass(frozen=True, slots=True)
class Export:
    """A selection, whether its records are to be counted first, and a name for the file without its suffix."""

    selection: Selection
    counted: bool
    name: str


def format_of(query: Query, accepted: str) -> Format | None:
    """The format of a list, None for JSON:API: by the parameter `format`, or else by Accept. Raises ApiError."""
    asked = query.get("format")
    if not isinstance(asked, str) or is_blank(asked):
        return BY_MEDIA_TYPE.get(accept.preferred(accepted, tuple(BY_MEDIA_TYPE)) or "")
    if asked not in ("json", *FORMATS):
        raise errors.invalid_parameter("format", f"format must be {', '.join(FORMATS)} or json.")
    return FORMATS.get(asked)


def read(resource: Resource, query: Query, now: datetime, most_days: int) -> Export:
    """The export asked for. Raises ApiError."""
    if query.get("page") is not None:
        raise errors.invalid_parameter("page", "An export has no pages; it holds all records.")
    counted = query.get("count")
    if counted not in (None, "true", "false"):
        raise errors.invalid_parameter("count", "count must be true or false.")
    selection = params.many(resource, query, now)
    start, end = _window(resource, selection, now)
    if end - start > timedelta(days=most_days):
        raise errors.export_too_wide(-(-(end - start) // timedelta(days=1)), most_days)
    moments = [end] if resource.meta.window is None else [start, end]
    name = "_".join([resource.type, *(moment.astimezone(UTC).strftime(MOMENT) for moment in moments)])
    return Export(selection, counted == "true", name)


def _window(resource: Resource, selection: Selection, now: datetime) -> tuple[datetime, datetime]:
    """The first and the last moment that calls can have; the parser has seen to a first one."""
    bounds = [f for f in selection.filters if f.column == resource.meta.window and f.values]
    starts = [min(bound.values) for bound in bounds if bound.operator in STARTS]
    ends = [max(bound.values) for bound in bounds if bound.operator in ENDS]
    end = min([now, *ends])
    return max(starts, default=end), end
