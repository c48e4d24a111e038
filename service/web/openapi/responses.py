"""The responses of operations, with their headers."""

from collections.abc import Mapping
from typing import Any

from service import errors
from service.errors import Refused
from service.jsonapi.accept import MEDIA_TYPE
from service.recordings.stores import AUDIO
from service.web.middlewares.conditional import REVALIDATE
from service.web.openapi import examples
from service.web.openapi.examples import Example
from service.web.responses import SECURITY, UNSEEN

Response = dict[str, Any]
Responses = dict[str, Response]


def _header(description: str, *, required: bool = True, **schema: str) -> dict[str, Any]:
    return {"description": description, "required": required, "schema": {"type": "string", **schema}}


HEADERS: dict[str, Any] = {
    **{name: _header("Sent with every answer.", const=value) for name, value in SECURITY.items()},
    "x-request-id": _header("The request's own name, cleaned, or a new one.", pattern="^[A-Za-z0-9_@-]{0,255}$"),
    "x-runtime": _header("Seconds that the service took.", pattern=r"^\d+\.\d{6}$"),
    "vary": _header("What the answer depends on.", const="Accept"),
    "etag": _header("Names what the body holds.", pattern=r'^W/"[0-9a-f]{32}"$'),
    "revalidate": _header("Only the client keeps it, and asks whether it still holds.", const=REVALIDATE),
    "no-cache": _header("Not kept without asking.", const=UNSEEN["cache-control"]),
    "retry-after": _header("Seconds to wait before another try.", pattern=r"^\d+$"),
    "set-cookie": _header("The session, renewed, where the token came by cookie.", required=False),
    "x-accel-redirect": _header("Where nginx finds the file; clients do not see it.", required=False),
    **{
        name: _header("Of the file, where the service sends it itself.", required=False)
        for name in ("accept-ranges", "content-range", "content-disposition", "last-modified", "file-etag")
    },
    "content-security-policy": _header("What the page may load."),
}
# Headers whose component has another name, because they come with one of two values.
SHARED_NAMES = {"revalidate": "cache-control", "no-cache": "cache-control", "file-etag": "etag"}
ALWAYS = (*SECURITY, "x-request-id", "x-runtime")
TAGGED = ("etag", "revalidate")
DOCUMENT = (*ALWAYS, "vary", "set-cookie")


def _named(*names: str) -> dict[str, Any]:
    return {SHARED_NAMES.get(name, name): _reference("headers", name) for name in names}


def _reference(kind: str, name: str) -> dict[str, str]:
    return {"$ref": f"#/components/{kind}/{name}"}


def refusal(text: str, shown: Mapping[str, Example], *more: str, session: bool = True) -> Response:
    """An error document."""
    names = [name for name in (*DOCUMENT, "no-cache", *more) if session or name != "set-cookie"]
    content = {"schema": _reference("schemas", "errors"), "examples": dict(shown)}
    return {"description": text, "headers": _named(*names), "content": {MEDIA_TYPE: content}}


def _same(text: str, reason: Refused, *more: str, session: bool = True) -> Response:
    return refusal(text, examples.refused(reason, reason.problems[0].title), *more, session=session)


COMMON: Responses = {
    "304": {"description": "The client has this already.", "headers": _named(*DOCUMENT, *TAGGED)},
    "401": _same("There is no token, or none that is valid.", errors.unauthorized(), session=False),
    "404": _same("There is no such path.", errors.not_found(), session=False),
    "406": _same("`Accept` does not take JSON:API.", errors.not_acceptable("text/html")),
    "429": {"description": "A gateway before the service may limit how often a client asks."},
    "500": _same("Something unexpected went wrong.", errors.internal_error()),
    "503": _same("The database does not answer for now.", errors.unavailable(), "retry-after"),
    "504": _same("The query took too long.", errors.timed_out()),
}
FAILURES = ("500", "503", "504")


def shared(*statuses: str) -> Responses:
    """References to responses that do not depend on the operation."""
    return {status: _reference("responses", status) for status in statuses}


def document() -> Responses:
    """What every operation may answer that answers documents."""
    return shared("304", "401", "406", "429", *FAILURES)


def answer(text: str, schema: str, shown: Mapping[str, Example]) -> Response:
    """A document. Whatever other media types lists are answered in belongs here."""
    content = {"schema": _reference("schemas", schema), "examples": dict(shown)}
    return {"description": text, "headers": _named(*DOCUMENT, *TAGGED), "content": {MEDIA_TYPE: content}}


def recording(format_: str) -> Responses:
    """A sound file, which the service sends itself or lets nginx send in the place of an empty body."""
    names = ("accept-ranges", "content-range", "content-disposition", "last-modified", "file-etag")
    headers = _named(*ALWAYS, "set-cookie", "no-cache", "x-accel-redirect", *names)
    sound: dict[str, Any] = {AUDIO[format_]: {}, "application/octet-stream": {}}
    return {
        "200": {"description": "The sound.", "headers": headers, "content": sound},
        "206": {"description": "The part that `Range` asks for.", "headers": headers, "content": sound},
        "304": {"description": "The client has this already.", "headers": headers},
        "416": {"description": "`Range` asks for what the file does not have.", "headers": headers},
    }


def file(text: str, media_type: str) -> Responses:
    """A public file, which may be missing."""
    headers = _named(*ALWAYS, *TAGGED, "content-security-policy")
    return {
        "200": {"description": text, "headers": headers, "content": {media_type: {}}},
        "304": {"description": "The client has this already.", "headers": headers},
        **shared("404", "429", "500"),
    }


def without_content(responses: Responses) -> Responses:
    """The same answers to HEAD."""
    return {
        status: {part: value for part, value in response.items() if part != "content"}
        for status, response in responses.items()
    }
