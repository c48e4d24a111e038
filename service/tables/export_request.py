"""Parses the parameters of an export: format, dialect, query and limits."""

from dataclasses import dataclass
from datetime import datetime, timedelta, tzinfo

from service import errors
from service.jsonapi import params
from service.jsonapi.accept import Accept
from service.jsonapi.query_string import Parameters, Value
from service.jsonapi.spelling import is_blank
from service.jsonapi.view import View
from service.query import Caller, Everything, Query
from service.schemas.resource import Resource
from service.tables import excel
from service.tables.formats import CSV, FORMATS, Format

BY_MEDIA_TYPE = {format_.media_type: format_ for format_ in FORMATS.values()}
STARTS, ENDS = ("gteq", "gt", "eq", "in"), ("lteq", "lt", "eq", "in")
DAY = timedelta(days=1)


@dataclass(frozen=True, slots=True)
class ExportRequest:
    """A parsed export. `counted`: count the records first. `name`: the file name without its suffix."""

    query: Query
    view: View
    counted: bool
    name: str


def format_of(parameters: Parameters, accept: Accept) -> Format | None:
    """The format by the parameter `format`, or else by Accept; None for JSON:API. Raises BadRequestError."""
    asked = parameters.get("format")
    if not isinstance(asked, str) or is_blank(asked):
        return BY_MEDIA_TYPE.get(accept.preferred(BY_MEDIA_TYPE) or "")
    if asked not in ("json", *FORMATS):
        raise errors.unknown_format(f"{', '.join(FORMATS)} or json")
    return FORMATS.get(asked)


def with_dialect(table: Format, resource: Resource, dialect: Value) -> Format:
    """The format in the requested dialect, if any. Raises BadRequestError."""
    if dialect is None or dialect == "":
        return table
    if table is not CSV or dialect != excel.DIALECT:
        raise errors.unknown_dialect(excel.DIALECT)
    return excel.format_of(resource)


def parse(
    resource: Resource, parameters: Parameters, caller: Caller, now: datetime, max_days: int, max_rows: int
) -> ExportRequest:
    """The requested export. Raises BadRequestError."""
    if parameters.get("page") is not None:
        raise errors.page_of_export()
    counted = parameters.get("count")
    if counted not in (None, "true", "false"):
        raise errors.invalid_flag("count")
    query, view = params.parse_list(resource, parameters, caller, now, Everything(max_rows))
    start, end = _period(query, now)
    days = _days(start, end, resource.schema.time_zone)
    # The default window starts at a whole second, so it may be slightly longer than a day.
    if days > max_days and not any(condition.implicit_window for condition in query.filters):
        raise errors.export_too_wide(days, max_days)
    moments = [end] if resource.meta.window is None else [start, end]
    name = "_".join([resource.type, *map(_file_time, moments)])
    return ExportRequest(query, view, counted == "true", name)


def _period(query: Query, now: datetime) -> tuple[datetime, datetime]:
    """The earliest and the latest possible time of the calls; the parser ensures a lower bound."""
    bounds = [f for f in query.filters if f.column == query.resource.meta.window and f.values]
    starts = [min(bound.values) for bound in bounds if bound.operator in STARTS]
    ends = [max(bound.values) for bound in bounds if bound.operator in ENDS]
    end = min([now, *ends])
    return max(starts, default=end), end


def _days(start: datetime, end: datetime, zone: tzinfo) -> int:
    """The number of days, rounded up: in local time or of 24 hours each, whichever is less.

    So a month with a repeated hour counts its calendar days, and 31 times 24 hours with a skipped hour count 31.
    """
    try:
        by_clock = end.astimezone(zone).replace(tzinfo=None) - start.astimezone(zone).replace(tzinfo=None)
    except OverflowError:  # Outside of the years 1 to 9999 in this zone.
        by_clock = end - start
    return -(-min(by_clock, end - start) // DAY)


def _file_time(moment: datetime) -> str:
    """A time in UTC, for example `20260301T000000Z`."""
    return f"{moment.year:04}{moment:%m%dT%H%M%SZ}"
