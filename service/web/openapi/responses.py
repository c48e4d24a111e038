"""Responses and their headers."""

from collections.abc import Callable, Mapping
from typing import Any

from service import errors
from service.errors import PAGING, ApiError
from service.jsonapi.accept import MEDIA_TYPE
from service.recordings.stores import AUDIO
from service.settings import Recordings
from service.tables.formats import FORMATS
from service.web.exports import VARY
from service.web.middlewares.conditional import REVALIDATE
from service.web.openapi import examples
from service.web.openapi.examples import Example
from service.web.responses import NO_CACHE, NO_STORE, SECURITY

Response = dict[str, Any]
Responses = dict[str, Response]


def _header(description: str, *, required: bool = True, **schema: Any) -> dict[str, Any]:
    return {"description": description, "required": required, "schema": {"type": "string", **schema}}


ETAG = r'^W/"[0-9a-f]{32}"$'
PROFILED = f'{MEDIA_TYPE}; profile="{PAGING}"'

HEADERS: dict[str, Any] = {
    **{name: _header("Part of every response.", const=value) for name, value in SECURITY.items()},
    "x-request-id": _header(
        "The request's X-Request-Id without other characters, or a new id.", pattern="^[A-Za-z0-9_@-]{0,255}$"
    ),
    "x-runtime": _header("Processing time in seconds.", pattern=r"^\d+\.\d{6}$"),
    "vary": _header("Request headers that the response depends on.", const="Accept"),
    "etag": _header("Entity tag of the body.", pattern=ETAG),
    "revalidate": _header("Private caches must revalidate.", const=REVALIDATE),
    "no-cache": _header("Caches must revalidate.", const=NO_CACHE["cache-control"]),
    "no-store": _header("Must not be cached.", const=NO_STORE),
    "server-timing": _header(
        "If enabled: the statements of the request and their durations in milliseconds.",
        required=False,
        pattern=r"^(none;dur=0|[a-z0-9_.-]+;dur=\d+\.\d{3}(, [a-z0-9_.-]+;dur=\d+\.\d{3})*)$",
    ),
    **{
        f"ratelimit-{name}": _header(f"If there is a rate limit: {text}.", required=False, pattern=r"^\d+$")
        for name, text in (
            ("limit", "number of requests of a customer in a period"),
            ("remaining", "number of remaining requests"),
            ("reset", "seconds until the limit is completely available again"),
        )
    },
    "list-vary": _header(
        "Request headers that the response depends on; for exports also Accept-Encoding.", enum=["Accept", VARY]
    ),
    "list-etag": _header("Entity tag of a page.", required=False, pattern=ETAG),
    "list-cache-control": _header(
        "Caches must revalidate pages and exports; exports have no entity tag.",
        enum=[REVALIDATE, NO_CACHE["cache-control"]],
    ),
    "x-total-count": _header("Number of records of an export with `count=true`.", required=False, pattern=r"^\d+$"),
    "content-encoding": _header("Compression of an export, or encoding of a stored recording.", required=False),
    "content-disposition": _header("File name of the body.", required=False, pattern='^attachment; filename="'),
    "retry-after": _header("Seconds to wait before the next attempt.", pattern=r"^\d+$"),
    "set-cookie": _header("The renewed session, if the token came in a cookie.", required=False),
    "x-accel-redirect": _header("Location for nginx, which removes this header.", required=False),
    **{
        name: _header("Of the file, unless nginx sends it.", required=False)
        for name in ("accept-ranges", "content-range", "last-modified", "file-etag")
    },
    "content-security-policy": _header("Sources that the page may load."),
}
# Names of headers that have several components, because their values differ.
SHARED_NAMES = {
    "revalidate": "cache-control",
    "no-cache": "cache-control",
    "no-store": "cache-control",
    "file-etag": "etag",
    "list-vary": "vary",
    "list-etag": "etag",
    "list-cache-control": "cache-control",
}
ALWAYS = (*SECURITY, "x-request-id", "x-runtime", "server-timing")
OF_CALLER = ("set-cookie", "ratelimit-limit", "ratelimit-remaining", "ratelimit-reset")
TAGGED = ("etag", "revalidate")
DOCUMENT = (*ALWAYS, "vary", *OF_CALLER)
LISTED = ("list-vary", "list-etag", "list-cache-control", "content-disposition", "x-total-count", "content-encoding")
OF_FILES = ("accept-ranges", "content-range", "last-modified", "file-etag")
# Additional headers of recordings by mode.
OF_RECORDINGS: Mapping[str, tuple[str, ...]] = {
    "x-accel": (*OF_FILES, "x-accel-redirect"),
    "directory": OF_FILES,
    "s3": (*OF_FILES, "content-disposition", "content-encoding"),
}


def header_references(*names: str) -> dict[str, Any]:
    return {SHARED_NAMES.get(name, name): _reference("headers", name) for name in names}


def _reference(kind: str, name: str) -> dict[str, str]:
    return {"$ref": f"#/components/{kind}/{name}"}


def refusal(text: str, shown: Mapping[str, Example], *more: str, session: bool = True) -> Response:
    """An error document."""
    names = [name for name in (*DOCUMENT, "no-cache", *more) if session or name not in OF_CALLER]
    content = {"schema": _reference("schemas", "errors"), "examples": dict(shown)}
    return {"description": text, "headers": header_references(*names), "content": {MEDIA_TYPE: content}}


def plain(text: str, media_type: str, schema: Mapping[str, Any], shown: Mapping[str, Example], *more: str) -> Response:
    """A response that is not JSON:API."""
    content = {"schema": schema, "examples": dict(shown)}
    return {
        "description": text,
        "headers": header_references(*ALWAYS, *OF_CALLER, *more),
        "content": {media_type: content},
    }


def _same(text: str, reason: ApiError, *more: str, session: bool = True) -> Response:
    return refusal(text, examples.refused(reason, reason.errors[0].title), *more, session=session)


COMMON: Responses = {
    "304": {"description": "Not modified.", "headers": header_references(*DOCUMENT, *TAGGED)},
    "401": _same("The token is missing or invalid.", errors.unauthorized(), session=False),
    "404": _same("Unknown path.", errors.not_found(), session=False),
    "406": _same("`Accept` allows neither JSON:API nor, for a list, a table.", errors.not_acceptable("text/html")),
    "429": _same("The rate limit is exceeded.", errors.too_many_requests(20), "retry-after"),
    "500": _same("Unexpected error.", errors.internal_error()),
    "503": refusal(
        "The database is not available, or the service is overloaded.",
        {
            name: examples.refused(reason, reason.errors[0].detail)["refused"]
            for name, reason in (
                ("unavailable", errors.unavailable()),
                ("busy", errors.busy("Too many requests are waiting.")),
            )
        },
        "retry-after",
    ),
    "504": _same("The query took too long.", errors.timed_out()),
}
FAILURES = ("500", "503", "504")


def shared(*statuses: str) -> Responses:
    """References to common responses."""
    return {status: _reference("responses", status) for status in statuses}


def document() -> Responses:
    """The common responses of operations with JSON:API documents."""
    return shared("304", "401", "406", "429", *FAILURES)


def document_response(text: str, schema: str, shown: Mapping[str, Example]) -> Response:
    """A JSON:API document."""
    content = {"schema": _reference("schemas", schema), "examples": dict(shown)}
    return {"description": text, "headers": header_references(*DOCUMENT, *TAGGED), "content": {MEDIA_TYPE: content}}


def list_response(type_: str, shown: Callable[[str], Mapping[str, Example]]) -> Response:
    """A numbered page, a cursor page or a table; `shown` returns the examples of each."""
    pages = [_reference("schemas", f"{type_}-{kind}") for kind in ("page", "cursor-page")]
    content = {
        MEDIA_TYPE: {"schema": {"oneOf": pages}, "examples": dict(shown("page"))},
        PROFILED: {"schema": pages[1], "examples": dict(shown("cursors"))},
        **{
            table.media_type: {"schema": {"type": "string"}, "examples": dict(shown(name))}
            for name, table in FORMATS.items()
        },
    }
    return {
        "description": "A page, or a table.",
        "headers": header_references(*ALWAYS, *OF_CALLER, *LISTED),
        "content": content,
    }


def recording(settings: Recordings) -> Responses:
    """A sound file, sent by the service or, with an empty body for X-Accel-Redirect, by nginx."""
    headers = header_references(*ALWAYS, *OF_CALLER, "no-cache", *OF_RECORDINGS[settings.mode])
    sound: dict[str, Any] = {"application/octet-stream" if settings.mode == "s3" else AUDIO[settings.format]: {}}
    sent = ("content-disposition",) if settings.mode == "s3" else ()
    return {
        "500": _same("Unexpected error.", errors.internal_error(), *sent),
        "200": {"description": "The recording.", "headers": headers, "content": sound},
        "206": {"description": "The requested range.", "headers": headers, "content": sound},
        "304": {"description": "Not modified.", "headers": headers},
        "416": {"description": "The range is not satisfiable.", "headers": headers},
    }


def file(text: str, media_type: str) -> Responses:
    """A public file, which may be missing."""
    headers = header_references(*ALWAYS, *TAGGED, "content-security-policy")
    return {
        "200": {"description": text, "headers": headers, "content": {media_type: {}}},
        "304": {"description": "Not modified.", "headers": headers},
        **shared("404", "500"),
    }


def without_content(responses: Responses) -> Responses:
    """The same responses for HEAD."""
    return {
        status: {part: value for part, value in response.items() if part != "content"}
        for status, response in responses.items()
    }
