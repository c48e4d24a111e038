"""What a request for an export asks for: its format, and a query for everything that is not too wide."""

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from service import errors
from service.jsonapi import params
from service.jsonapi.accept import Accept
from service.jsonapi.query_string import Parameters
from service.jsonapi.spelling import is_blank
from service.jsonapi.view import View
from service.query import Caller, Everything, Query
from service.schemas.resource import Resource
from service.tables.formats import FORMATS, Format

BY_MEDIA_TYPE = {format_.media_type: format_ for format_ in FORMATS.values()}
STARTS, ENDS = ("gteq", "gt", "eq", "in"), ("lteq", "lt", "eq", "in")
MOMENT = "%Y%m%dT%H%M%SZ"


@dataclass(frozen=True, slots=True)
class ExportRequest:
    """`counted`: the records are to be counted first. `name` is the file's, without its suffix."""

    query: Query
    view: View
    counted: bool
    name: str


def format_of(parameters: Parameters, accept: Accept) -> Format | None:
    """The format of a list, None for JSON:API: by the parameter `format`, or else by Accept. Raises BadRequestError."""
    asked = parameters.get("format")
    if not isinstance(asked, str) or is_blank(asked):
        return BY_MEDIA_TYPE.get(accept.preferred(BY_MEDIA_TYPE) or "")
    if asked not in ("json", *FORMATS):
        raise errors.unknown_format(f"{', '.join(FORMATS)} or json")
    return FORMATS.get(asked)


def parse(
    resource: Resource, parameters: Parameters, caller: Caller, now: datetime, max_days: int, max_rows: int
) -> ExportRequest:
    """The export asked for. Raises BadRequestError."""
    if parameters.get("page") is not None:
        raise errors.page_of_export()
    counted = parameters.get("count")
    if counted not in (None, "true", "false"):
        raise errors.invalid_flag("count")
    query, view = params.parse_list(resource, parameters, caller, now, Everything(max_rows))
    start, end = _period(query, now)
    if end - start > timedelta(days=max_days):
        raise errors.export_too_wide(-(-(end - start) // timedelta(days=1)), max_days)
    moments = [end] if resource.meta.window is None else [start, end]
    name = "_".join([resource.type, *(moment.astimezone(UTC).strftime(MOMENT) for moment in moments)])
    return ExportRequest(query, view, counted == "true", name)


def _period(query: Query, now: datetime) -> tuple[datetime, datetime]:
    """The first and the last moment that calls can have; the parser has made sure that there is a first."""
    bounds = [f for f in query.filters if f.column == query.resource.meta.window and f.values]
    starts = [min(bound.values) for bound in bounds if bound.operator in STARTS]
    ends = [max(bound.values) for bound in bounds if bound.operator in ENDS]
    end = min([now, *ends])
    return max(starts, default=end), end
