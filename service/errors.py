"""All API errors: raised where the cause is known, rendered once.

The class is the kind of failure; `service/web` maps it to an HTTP status. Titles, details and codes are the error
catalogue of contract 12.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from errno import EMFILE, ENFILE
from typing import Any

PAGING = "https://jsonapi.org/profiles/ethanresnick/cursor-pagination"


@dataclass(frozen=True, slots=True)
class ErrorObject:
    """One entry of a JSON:API error document. `more` holds members that the reference never sends."""

    title: str
    detail: str
    code: str
    more: Mapping[str, Any] | None = None


class ApiError(Exception):
    """A request that is answered with an error document. `retry_after` is in seconds."""

    def __init__(self, *errors: ErrorObject, retry_after: int | None = None) -> None:
        super().__init__(*(error.detail for error in errors))
        self.errors = errors
        self.retry_after = retry_after


class BadRequestError(ApiError):
    """The request is malformed or names something that does not exist. Lists every error found."""


class UnauthorizedError(ApiError):
    """The request has no valid token, or the token's access no longer exists."""


class NotFoundError(ApiError):
    """The path does not exist, or the record is not in the caller's scope."""


class NotAcceptableError(ApiError):
    """The client accepts none of the available media types."""


class HeadersTooLargeError(ApiError):
    """The request line or the headers are longer than the service reads."""


class RateLimitedError(ApiError):
    """The caller exceeded its rate limit."""


class OverloadedError(ApiError):
    """The service or the database is at its limit of concurrent work."""


class DatabaseUnavailableError(ApiError):
    """The database cannot be reached, or its connection was lost."""


class DatabaseFailedError(ApiError):
    """The database could not run a statement, although its connection works. `sqlstate` is PostgreSQL's code."""

    def __init__(self, *errors: ErrorObject, sqlstate: str, retry_after: int) -> None:
        super().__init__(*errors, retry_after=retry_after)
        self.sqlstate = sqlstate


class QueryTimeoutError(ApiError):
    """A statement exceeded its time limit."""


class InternalError(ApiError):
    """An unexpected failure; its cause is only in the log."""


def bad_request(detail: str) -> BadRequestError:
    """The request cannot be parsed."""
    return BadRequestError(ErrorObject("Bad Request", detail, "400"))


def unknown_resource_type(name: str) -> BadRequestError:
    """E7b: `fields[...]` names an unknown type."""
    return BadRequestError(ErrorObject("Invalid resource", f"{name} is not a valid resource.", "101"))


def filter_not_allowed(name: str) -> BadRequestError:
    """E2: an unknown filter."""
    return BadRequestError(ErrorObject("Filter not allowed", f"{name} is not allowed.", "102"))


def invalid_id(text: str) -> BadRequestError:
    """E9: the id is not an integer."""
    return BadRequestError(ErrorObject("Invalid field value", f"{text} is not a valid value for id.", "103"))


def invalid_field(name: str, type_: str) -> BadRequestError:
    """E7: a sparse fieldset names an unknown attribute."""
    return BadRequestError(ErrorObject("Invalid field", f"{name} is not a valid field for {type_}.", "104"))


def invalid_filter_value(text: str, name: str) -> BadRequestError:
    """E3 and D2: the wrong number of values, or a value that cannot be parsed."""
    return BadRequestError(ErrorObject("Invalid filter value", f"{text} is not a valid value for {name}.", "107"))


def invalid_include(name: str, type_: str) -> BadRequestError:
    """E5: an unknown relationship."""
    return BadRequestError(ErrorObject("Invalid field", f"{name} is not a valid relationship of {type_}", "112"))


def invalid_sort(name: str, type_: str) -> BadRequestError:
    """E4: an unknown sort key."""
    detail = f"{name} is not a valid sort criteria for {type_}"
    return BadRequestError(ErrorObject("Invalid sort criteria", detail, "114"))


def invalid_page(value: object, name: str) -> BadRequestError:
    """E6a and E6b: a page number or size below 1."""
    detail = f"{value} is not a valid value for {name} page parameter."
    return BadRequestError(ErrorObject("Invalid page value", detail, "118"))


def page_too_large(limit: int) -> BadRequestError:
    """E6c: a page size above the limit."""
    return BadRequestError(ErrorObject("Invalid page value", f"size exceeds maximum page size of {limit}.", "118"))


def page_too_wide(limit: int) -> BadRequestError:
    """A page whose records are too large together."""
    detail = (
        f"The page holds more than {limit >> 20} MiB. "
        "Ask for fewer records with page[size], or for fewer fields with fields[...]."
    )
    return BadRequestError(ErrorObject("Page too large", detail, "400", _source("page[size]")))


def cursor_page_too_large(limit: int) -> BadRequestError:
    """A cursor page's size above the limit, with the members that the profile requires."""
    more = {**_source("page[size]"), **_type("max-size-exceeded"), "meta": {"page": {"maxSize": limit}}}
    detail = f"size exceeds maximum page size of {limit}."
    return BadRequestError(ErrorObject("Invalid page value", detail, "118", more))


def page_number_with_cursor() -> BadRequestError:
    """`page[number]` beside `page[after]` or `page[before]`."""
    return _invalid_parameter("page[number]", "page[number] cannot be combined with page[after] and page[before].")


def invalid_cursor(name: str) -> BadRequestError:
    """A cursor of another list, sort order or caller, or a text that is not a cursor."""
    return _invalid_parameter(f"page[{name}]", f"page[{name}] is not a valid cursor for this list and sort order.")


def invalid_cursor_page_size() -> BadRequestError:
    """A cursor page's size that is not a positive integer."""
    return _invalid_parameter("page[size]", "page[size] must be a positive integer.")


def invalid_flag(name: str) -> BadRequestError:
    """A parameter that is neither true nor false."""
    return _invalid_parameter(name, f"{name} must be true or false.")


def unknown_format(names: str) -> BadRequestError:
    """`format` is not one of `names`."""
    return _invalid_parameter("format", f"format must be {names}.")


def unknown_dialect(names: str) -> BadRequestError:
    """`dialect` is not one of `names`, or the format has no dialects."""
    return _invalid_parameter("dialect", f"dialect must be {names} and requires format=csv.")


def page_of_export() -> BadRequestError:
    """An export with a `page` parameter."""
    return _invalid_parameter("page", "page cannot be used with an export, which contains all records.")


def unsupported_sort(name: str) -> BadRequestError:
    """A sort key that cursors must not contain, because its values are hidden."""
    return _unsupported_sort(f"{name} cannot be used as a sort key with cursor pagination.")


def sort_value_too_long(name: str) -> BadRequestError:
    """A sort key with a value that is too long for a cursor, which is part of a URL."""
    return _unsupported_sort(f"A value of {name} on this page is too long for a cursor.")


def export_too_wide(days: int, limit: int) -> BadRequestError:
    """An export of more days than the limit."""
    detail = (
        f"An export covers at most {limit} days, and this one covers {days}. "
        "Narrow it with filter[time_start_gteq] and filter[time_start_lt]."
    )
    return BadRequestError(ErrorObject("Export too large", detail, "400", _source("filter")))


def export_too_long(rows: int, limit: int) -> BadRequestError:
    """An export of more records than the limit, after counting them."""
    detail = f"An export contains at most {limit} records, and this one would contain {rows}. Narrow it with filters."
    return BadRequestError(ErrorObject("Export too large", detail, "400", _source("filter")))


def fields_without_type() -> BadRequestError:
    """E7c: `fields` is not an object."""
    return BadRequestError(ErrorObject("Invalid field format", "Fields must specify a type.", "119"))


def invalid_filter_syntax(text: str) -> BadRequestError:
    """E8 and D18: `filter`, or the value of a filter, has the wrong shape."""
    return BadRequestError(ErrorObject("Invalid filters syntax", f"{text} is not a valid syntax for filtering.", "120"))


def unauthorized() -> UnauthorizedError:
    """E11: the same response for every cause."""
    detail = "Authorization token expired or incorrect."
    return UnauthorizedError(ErrorObject("Authorization failed", detail, "401"))


def not_found() -> NotFoundError:
    """An unrouted path, or an unrouted method on a path."""
    return NotFoundError(ErrorObject("Not Found", "Not Found", "404"))


def record_not_found(identifier: object) -> NotFoundError:
    """E1: no such record in the caller's scope."""
    detail = f"The record identified by {identifier} could not be found."
    return NotFoundError(ErrorObject("Record not found", detail, "404"))


def not_acceptable(accept: str) -> NotAcceptableError:
    """E10: the client does not accept JSON:API."""
    detail = (
        "All requests must use the 'application/vnd.api+json' Accept without media type parameters. "
        f"This request specified '{accept}'."
    )
    return NotAcceptableError(ErrorObject("Not acceptable", detail, "406"))


def export_needs_http_1_1() -> BadRequestError:
    """An HTTP/1.0 client behind a proxy cannot detect a truncated export."""
    detail = "An export requires HTTP/1.1: an HTTP/1.0 client behind a proxy cannot tell whether it is complete."
    return BadRequestError(ErrorObject("Bad Request", detail, "400"))


def headers_too_large() -> HeadersTooLargeError:
    """The request line or the headers are longer than the service reads."""
    detail = "The request line and the headers in total are limited to 65536 bytes each."
    return HeadersTooLargeError(ErrorObject("Request header fields too large", detail, "431"))


def too_many_requests(seconds: int) -> RateLimitedError:
    """The caller exceeded its rate limit; it may send the next request after `seconds`."""
    detail = f"The rate limit is exceeded. Try again in {seconds} s."
    return RateLimitedError(ErrorObject("Too many requests", detail, "429"), retry_after=seconds)


def internal_error() -> InternalError:
    """E12: anything unexpected."""
    return InternalError(ErrorObject("Internal Server Error", "Internal Server Error", "500"))


def unavailable() -> DatabaseUnavailableError:
    """The database does not respond; a retry may succeed."""
    error = ErrorObject("Service unavailable", "The database is not available.", "503")
    return DatabaseUnavailableError(error, retry_after=1)


def database_failed(detail: str, sqlstate: str, retry_after: int) -> DatabaseFailedError:
    """The database could not run a statement; the request is not the cause."""
    error = ErrorObject("Service unavailable", f"{detail} (SQLSTATE {sqlstate})", "503")
    return DatabaseFailedError(error, sqlstate=sqlstate, retry_after=retry_after)


def busy(detail: str) -> OverloadedError:
    """The service is at its limit of concurrent work; a retry may succeed."""
    return OverloadedError(ErrorObject("Service unavailable", detail, "503"), retry_after=1)


def statistics_timed_out() -> QueryTimeoutError:
    """A statistics statement exceeded its time limit."""
    detail = "The query took too long. Choose a shorter range with from-time and to-time."
    return QueryTimeoutError(ErrorObject("Query timed out", detail, "504"))


def timed_out() -> QueryTimeoutError:
    """A statement exceeded its time limit."""
    detail = "The query took too long. Narrow it, for instance by filter[time_start_gteq] and filter[time_start_lt]."
    return QueryTimeoutError(ErrorObject("Query timed out", detail, "504"))


def out_of_files(error: BaseException | None) -> bool:
    """Whether the process's or the system's limit of open files caused the error."""
    while error is not None:
        if isinstance(error, OSError) and error.errno in (EMFILE, ENFILE):
            return True
        error = error.__cause__ or error.__context__
    return False


def _invalid_parameter(name: str, detail: str) -> BadRequestError:
    return BadRequestError(ErrorObject("Invalid parameter", detail, "118", _source(name)))


def _unsupported_sort(detail: str) -> BadRequestError:
    more = {**_source("sort"), **_type("unsupported-sort")}
    return BadRequestError(ErrorObject("Unsupported sort", detail, "114", more))


def _source(parameter: str) -> dict[str, Any]:
    return {"source": {"parameter": parameter}}


def _type(name: str) -> dict[str, Any]:
    return {"links": {"type": [f"{PAGING}/{name}"]}}
