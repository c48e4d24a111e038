"""Creates responses. `add_common_headers` adds the headers of all responses."""

import time
import uuid
from typing import cast
from wsgiref.handlers import format_date_time

from aiohttp import web

from service import errors
from service.errors import ApiError
from service.jsonapi import document
from service.jsonapi.accept import MEDIA_TYPE
from service.observability import timings
from service.web.keys import RATE_LIMIT, RENEWED_COOKIE, REQUEST_ID, RESPONSE_STARTED, STARTED, STATE
from service.web.token_bucket import RateLimit

STATUSES: dict[type[ApiError], int] = {
    errors.BadRequestError: 400,
    errors.UnauthorizedError: 401,
    errors.NotFoundError: 404,
    errors.NotAcceptableError: 406,
    errors.RateLimitedError: 429,
    errors.HeadersTooLargeError: 431,
    errors.InternalError: 500,
    errors.OverloadedError: 503,
    errors.DatabaseUnavailableError: 503,
    errors.DatabaseFailedError: 503,
    errors.QueryTimeoutError: 504,
}
SECURITY = {
    "x-frame-options": "SAMEORIGIN",
    "x-xss-protection": "0",
    "x-content-type-options": "nosniff",
    "x-permitted-cross-domain-policies": "none",
    "referrer-policy": "strict-origin-when-cross-origin",
}
NO_CACHE = {"cache-control": "no-cache"}
NO_STORE = "no-store"  # In cache-control.
PLAIN_JSON = "application/json; charset=utf-8"
JSON_API = {"content-type": MEDIA_TYPE, "vary": "Accept"}


def ok(body: bytes, profile: str | None = None) -> web.Response:
    """A document. `profile` is the URL of the applied profile, if requested."""
    applied = {"content-type": f'{MEDIA_TYPE}; profile="{profile}"'} if profile else {}
    return web.Response(body=body, headers={**JSON_API, **applied})


def status_of(error: ApiError) -> int:
    """The HTTP status of an error."""
    return STATUSES[type(error)]


def error_document(error: ApiError, status: int | None = None) -> web.Response:
    """An error document; its status is by default that of the error's class."""
    status = status or status_of(error)
    headers = {**JSON_API, **NO_CACHE}
    if error.retry_after is not None:
        headers["retry-after"] = str(error.retry_after)
    return web.Response(status=status, body=document.errors(error.errors, status), headers=headers)


def refusal(refused: ApiError) -> web.Response:
    """An error document outside of the application; it closes the connection."""
    response = error_document(refused)
    response.headers.extend(
        {**SECURITY, "x-request-id": str(uuid.uuid4()), "x-runtime": "0.000000", "connection": "close"}
    )
    response.force_close()
    return response


def raw_refusal(refused: ApiError) -> bytes:
    """The same as bytes, for input that is not passed to aiohttp."""
    response = refusal(refused)
    body = cast(bytes, response.body)
    ending = {"content-length": str(len(body)), "date": format_date_time(time.time())}
    lines = [f"{name}: {value}" for name, value in {**response.headers, **ending}.items()]
    return "\r\n".join([f"HTTP/1.1 {response.status} {response.reason}", *lines, "", ""]).encode() + body


def plain_json(body: bytes, status: int = 200, cache_control: str | None = None) -> web.Response:
    """JSON that is not a JSON:API document."""
    headers = {"content-type": PLAIN_JSON, **({"cache-control": cache_control} if cache_control else {})}
    return web.Response(status=status, body=body, headers=headers)


def empty(status: int, set_cookie: str) -> web.Response:
    """A response without a body that sets a cookie."""
    return web.Response(status=status, headers={"cache-control": NO_STORE, "set-cookie": set_cookie})


def empty_404(content_type: str) -> web.Response:
    """The response for a recording that does not exist or is not permitted."""
    return web.Response(status=404, headers={"content-type": content_type, **NO_CACHE})


async def add_common_headers(request: web.Request, response: web.StreamResponse) -> None:
    """Adds the common headers to every response, in the reference's order, just before it is sent."""
    state, headers = request.app[STATE], response.headers
    headers.popall("Server", None)
    own = list(headers.items())
    headers.clear()
    headers.extend(SECURITY)
    headers.extend(own)
    if RENEWED_COOKIE in request:
        headers.add("set-cookie", request[RENEWED_COOKIE])
    if RATE_LIMIT in request:
        headers.extend(_rate_limit(request[RATE_LIMIT]))
    headers["x-request-id"] = request[REQUEST_ID]
    request[RESPONSE_STARTED] = time.monotonic()
    headers["x-runtime"] = f"{request[RESPONSE_STARTED] - request[STARTED]:.6f}"
    if state.settings.listen.server_timing:
        headers["server-timing"] = _server_timing()
    if state.stopping.is_set():  # The client's next request must go to another process.
        response.force_close()
        headers["connection"] = "close"


def _rate_limit(rate_limit: RateLimit) -> dict[str, str]:
    return {
        "ratelimit-limit": str(rate_limit.limit),
        "ratelimit-remaining": str(rate_limit.remaining),
        "ratelimit-reset": str(rate_limit.reset),
    }


def _server_timing() -> str:
    """The statements in order with their durations in milliseconds, for example `cdr.list;dur=1.5`.

    Spaces in names of pools are replaced, because metric names must not contain them.
    """
    found = ((f"{t.pool}.{t.statement}".replace(" ", "-"), 1000 * t.seconds) for t in timings.current())
    return ", ".join(f"{name};dur={milliseconds:.3f}" for name, milliseconds in found) or "none;dur=0"
