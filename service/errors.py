"""Every way a request can be refused: raised where it is known, rendered once (contract 12)."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

PAGING = "https://jsonapi.org/profiles/ethanresnick/cursor-pagination"


@dataclass(frozen=True, slots=True)
class Problem:
    """One entry of a JSON:API error document. `more` holds members that the reference never sends."""

    title: str
    detail: str
    code: str
    status: int = 400
    more: Mapping[str, Any] | None = None


class Refused(Exception):  # A refusal is an answer, not a defect.
    """A request that is answered with an error document; the first problem gives the HTTP status."""

    def __init__(self, *problems: Problem, retry_after: int | None = None) -> None:
        super().__init__(*(problem.detail for problem in problems))
        self.problems = problems
        self.retry_after = retry_after  # Seconds.


def bad_request(detail: str) -> Refused:
    """The request cannot be read at all."""
    return Refused(Problem("Bad Request", detail, "400"))


def unknown_resource_type(name: str) -> Refused:
    """E7b: `fields[...]` names no type."""
    return Refused(Problem("Invalid resource", f"{name} is not a valid resource.", "101"))


def filter_not_allowed(name: str) -> Refused:
    """E2: no such filter."""
    return Refused(Problem("Filter not allowed", f"{name} is not allowed.", "102"))


def invalid_id(text: str) -> Refused:
    """E9: the id is no integer."""
    return Refused(Problem("Invalid field value", f"{text} is not a valid value for id.", "103"))


def invalid_field(name: str, type_: str) -> Refused:
    """E7: a sparse fieldset names no attribute."""
    return Refused(Problem("Invalid field", f"{name} is not a valid field for {type_}.", "104"))


def invalid_filter_value(text: str, name: str) -> Refused:
    """E3 and D2: the wrong number of values, or one that cannot be read."""
    return Refused(Problem("Invalid filter value", f"{text} is not a valid value for {name}.", "107"))


def invalid_include(name: str, type_: str) -> Refused:
    """E5: no such relationship."""
    return Refused(Problem("Invalid field", f"{name} is not a valid relationship of {type_}", "112"))


def invalid_sort(name: str, type_: str) -> Refused:
    """E4: no such sort key."""
    return Refused(Problem("Invalid sort criteria", f"{name} is not a valid sort criteria for {type_}", "114"))


def invalid_page(value: object, name: str) -> Refused:
    """E6a and E6b: a page number or size below 1."""
    return Refused(Problem("Invalid page value", f"{value} is not a valid value for {name} page parameter.", "118"))


def page_too_large(most: int) -> Refused:
    """E6c: a page size above the limit."""
    return Refused(Problem("Invalid page value", f"size exceeds maximum page size of {most}.", "118"))


def invalid_parameter(name: str, detail: str) -> Refused:
    """A parameter of our own that cannot be used; the text names it."""
    return Refused(Problem("Invalid parameter", detail, "118", more=_source(name)))


def cursor_page_too_large(most: int) -> Refused:
    """A cursor page's size above the limit, as the profile tells it."""
    known = {**_source("page[size]"), **_type("max-size-exceeded"), "meta": {"page": {"maxSize": most}}}
    return Refused(Problem("Invalid page value", f"size exceeds maximum page size of {most}.", "118", more=known))


def export_too_wide(days: int, most: int) -> Refused:
    """An export of more days than are allowed at once."""
    detail = (
        f"An export covers at most {most} days, and this one covers {days}. "
        "Narrow it by filter[time_start_gteq] and filter[time_start_lt]."
    )
    return Refused(Problem("Export too large", detail, "400", more=_source("filter")))


def export_too_long(rows: int, most: int) -> Refused:
    """An export of more records than are allowed at once, where they were counted before."""
    detail = f"An export holds at most {most} records, and this one would hold {rows}. Narrow it by filters."
    return Refused(Problem("Export too large", detail, "400", more=_source("filter")))


def unsupported_sort(name: str, detail: str) -> Refused:
    """An order that cannot be paged through by cursors, as the profile tells it."""
    known = {**_source("sort"), **_type("unsupported-sort")}
    return Refused(Problem("Unsupported sort", f"{name} {detail}", "114", more=known))


def fields_without_type() -> Refused:
    """E7c: `fields` is no object."""
    return Refused(Problem("Invalid field format", "Fields must specify a type.", "119"))


def invalid_filter_syntax(text: str) -> Refused:
    """E8 and D18: `filter`, or the value of one, has the wrong shape."""
    return Refused(Problem("Invalid filters syntax", f"{text} is not a valid syntax for filtering.", "120"))


def unauthorized() -> Refused:
    """E11: the same answer for every cause."""
    return Refused(Problem("Authorization failed", "Authorization token expired or incorrect.", "401", 401))


def not_found() -> Refused:
    """No such path, or no such verb on it."""
    return Refused(Problem("Not Found", "Not Found", "404", 404))


def record_not_found(identifier: object) -> Refused:
    """E1: no such record in the caller's scope."""
    detail = f"The record identified by {identifier} could not be found."
    return Refused(Problem("Record not found", detail, "404", 404))


def not_acceptable(accept: str) -> Refused:
    """E10: the client does not take JSON:API."""
    detail = (
        "All requests must use the 'application/vnd.api+json' Accept without media type parameters. "
        f"This request specified '{accept}'."
    )
    return Refused(Problem("Not acceptable", detail, "406", 406))


def internal_error() -> Refused:
    """E12: anything unexpected; what it was is in the log only."""
    return Refused(Problem("Internal Server Error", "Internal Server Error", "500", 500))


class Unavailable(Refused):
    """A database does not answer; another one may."""


def unavailable() -> Unavailable:
    """A database does not answer; worth another try soon."""
    return Unavailable(Problem("Service unavailable", "The database is not available.", "503", 503), retry_after=1)


def busy(detail: str) -> Refused:
    """There is more to do than the service takes on; worth another try soon."""
    return Refused(Problem("Service unavailable", detail, "503", 503), retry_after=1)


def too_many_requests(seconds: int) -> Refused:
    """The caller asks more often than it may; it may again in so many seconds."""
    detail = f"The rate limit is exceeded. Try again in {seconds} s."
    return Refused(Problem("Too many requests", detail, "429", 429), retry_after=seconds)


def timed_out() -> Refused:
    """A statement ran past its time limit."""
    detail = "The query took too long. Narrow it, for instance by filter[time_start_gteq] and filter[time_start_lt]."
    return Refused(Problem("Query timed out", detail, "504", 504))


def _source(parameter: str) -> dict[str, Any]:
    return {"source": {"parameter": parameter}}


def _type(name: str) -> dict[str, Any]:
    return {"links": {"type": [f"{PAGING}/{name}"]}}
