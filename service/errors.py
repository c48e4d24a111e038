"""Every way a request can be refused: raised where it is known, rendered once (contract 12)."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

PAGING = "https://jsonapi.org/profiles/ethanresnick/cursor-pagination"


@dataclass(frozen=True, slots=True)
class ErrorObject:
    """One entry of a JSON:API error document. `more` holds members that the reference never sends."""

    title: str
    detail: str
    code: str
    status: int = 400
    more: Mapping[str, Any] | None = None


class ApiError(Exception):  # A refusal is an answer, not a defect.
    """A request that is answered with an error document; the first problem gives the HTTP status."""

    def __init__(self, *problems: ErrorObject, retry_after: int | None = None) -> None:
        super().__init__(*(problem.detail for problem in problems))
        self.problems = problems
        self.retry_after = retry_after  # Seconds.


def bad_request(detail: str) -> ApiError:
    """The request cannot be read at all."""
    return ApiError(ErrorObject("Bad Request", detail, "400"))


def unknown_resource_type(name: str) -> ApiError:
    """E7b: `fields[...]` names no type."""
    return ApiError(ErrorObject("Invalid resource", f"{name} is not a valid resource.", "101"))


def filter_not_allowed(name: str) -> ApiError:
    """E2: no such filter."""
    return ApiError(ErrorObject("Filter not allowed", f"{name} is not allowed.", "102"))


def invalid_id(text: str) -> ApiError:
    """E9: the id is no integer."""
    return ApiError(ErrorObject("Invalid field value", f"{text} is not a valid value for id.", "103"))


def invalid_field(name: str, type_: str) -> ApiError:
    """E7: a sparse fieldset names no attribute."""
    return ApiError(ErrorObject("Invalid field", f"{name} is not a valid field for {type_}.", "104"))


def invalid_filter_value(text: str, name: str) -> ApiError:
    """E3 and D2: the wrong number of values, or one that cannot be read."""
    return ApiError(ErrorObject("Invalid filter value", f"{text} is not a valid value for {name}.", "107"))


def invalid_include(name: str, type_: str) -> ApiError:
    """E5: no such relationship."""
    return ApiError(ErrorObject("Invalid field", f"{name} is not a valid relationship of {type_}", "112"))


def invalid_sort(name: str, type_: str) -> ApiError:
    """E4: no such sort key."""
    return ApiError(ErrorObject("Invalid sort criteria", f"{name} is not a valid sort criteria for {type_}", "114"))


def invalid_page(value: object, name: str) -> ApiError:
    """E6a and E6b: a page number or size below 1."""
    return ApiError(
        ErrorObject("Invalid page value", f"{value} is not a valid value for {name} page parameter.", "118")
    )


def page_too_large(most: int) -> ApiError:
    """E6c: a page size above the limit."""
    return ApiError(ErrorObject("Invalid page value", f"size exceeds maximum page size of {most}.", "118"))


def invalid_parameter(name: str, detail: str) -> ApiError:
    """A parameter of our own that cannot be used; the text names it."""
    return ApiError(ErrorObject("Invalid parameter", detail, "118", more=_source(name)))


def cursor_page_too_large(most: int) -> ApiError:
    """A cursor page's size above the limit, as the profile tells it."""
    known = {**_source("page[size]"), **_type("max-size-exceeded"), "meta": {"page": {"maxSize": most}}}
    return ApiError(ErrorObject("Invalid page value", f"size exceeds maximum page size of {most}.", "118", more=known))


def export_too_wide(days: int, most: int) -> ApiError:
    """An export of more days than are allowed at once."""
    detail = (
        f"An export covers at most {most} days, and this one covers {days}. "
        "Narrow it by filter[time_start_gteq] and filter[time_start_lt]."
    )
    return ApiError(ErrorObject("Export too large", detail, "400", more=_source("filter")))


def export_too_long(rows: int, most: int) -> ApiError:
    """An export of more records than are allowed at once, where they were counted before."""
    detail = f"An export holds at most {most} records, and this one would hold {rows}. Narrow it by filters."
    return ApiError(ErrorObject("Export too large", detail, "400", more=_source("filter")))


def unsupported_sort(name: str, detail: str) -> ApiError:
    """An order that cannot be paged through by cursors, as the profile tells it."""
    known = {**_source("sort"), **_type("unsupported-sort")}
    return ApiError(ErrorObject("Unsupported sort", f"{name} {detail}", "114", more=known))


def fields_without_type() -> ApiError:
    """E7c: `fields` is no object."""
    return ApiError(ErrorObject("Invalid field format", "Fields must specify a type.", "119"))


def invalid_filter_syntax(text: str) -> ApiError:
    """E8 and D18: `filter`, or the value of one, has the wrong shape."""
    return ApiError(ErrorObject("Invalid filters syntax", f"{text} is not a valid syntax for filtering.", "120"))


def unauthorized() -> ApiError:
    """E11: the same answer for every cause."""
    return ApiError(ErrorObject("Authorization failed", "Authorization token expired or incorrect.", "401", 401))


def not_found() -> ApiError:
    """No such path, or no such verb on it."""
    return ApiError(ErrorObject("Not Found", "Not Found", "404", 404))


def record_not_found(identifier: object) -> ApiError:
    """E1: no such record in the caller's scope."""
    detail = f"The record identified by {identifier} could not be found."
    return ApiError(ErrorObject("Record not found", detail, "404", 404))


def not_acceptable(accept: str) -> ApiError:
    """E10: the client does not take JSON:API."""
    detail = (
        "All requests must use the 'application/vnd.api+json' Accept without media type parameters. "
        f"This request specified '{accept}'."
    )
    return ApiError(ErrorObject("Not acceptable", detail, "406", 406))


def internal_error() -> ApiError:
    """E12: anything unexpected; what it was is in the log only."""
    return ApiError(ErrorObject("Internal Server Error", "Internal Server Error", "500", 500))


class Unavailable(ApiError):
    """A database does not answer; another one may."""


def unavailable() -> Unavailable:
    """A database does not answer; worth another try soon."""
    return Unavailable(ErrorObject("Service unavailable", "The database is not available.", "503", 503), retry_after=1)


def busy(detail: str) -> ApiError:
    """There is more to do than the service takes on; worth another try soon."""
    return ApiError(ErrorObject("Service unavailable", detail, "503", 503), retry_after=1)


def too_many_requests(seconds: int) -> ApiError:
    """The caller asks more often than it may; it may again in so many seconds."""
    detail = f"The rate limit is exceeded. Try again in {seconds} s."
    return ApiError(ErrorObject("Too many requests", detail, "429", 429), retry_after=seconds)


def timed_out() -> ApiError:
    """A statement ran past its time limit."""
    detail = "The query took too long. Narrow it, for instance by filter[time_start_gteq] and filter[time_start_lt]."
    return ApiError(ErrorObject("Query timed out", detail, "504", 504))


def _source(parameter: str) -> dict[str, Any]:
    return {"source": {"parameter": parameter}}


def _type(name: str) -> dict[str, Any]:
    return {"links": {"type": [f"{PAGING}/{name}"]}}
