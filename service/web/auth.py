"""The handlers of /auth: log in, show the session, log out (contract 20)."""

import orjson
from aiohttp import web

from service.concurrency.limiter import LimitExceededError
from service.errors import ErrorObject, RateLimitedError, busy
from service.jsonapi import document
from service.observability import metrics
from service.web import credentials, proxies, responses, session
from service.web.credentials import Credentials
from service.web.keys import CALLER, STATE
from service.web.login_throttle import network
from service.web.responses import NO_STORE

FAILED = ErrorObject("Authentication failed", "Incorrect login or password.", "401")


async def log_in(request: web.Request) -> web.Response:
    """201 with a token or a cookie, or 401 without a reason. Raises ApiError (400, 429, 503)."""
    given, client = await credentials.read(request), proxies.client_address(request)
    throttle, tokens = request.app[STATE].login_throttle, request.app[STATE].services.tokens
    try:
        throttle.begin(given.login, client)
    except RateLimitedError:
        _count("throttled")
        raise
    try:
        subject = await _authenticate(request, given, client)
    except BaseException:  # Not a failed login.
        throttle.succeeded(given.login, client)
        raise
    if subject is None:
        _count("failed")
        return responses.plain_json(document.errors([FAILED], 401), status=401, cache_control=NO_STORE)
    _count("succeeded")
    throttle.succeeded(given.login, client)
    if given.cookie:
        return responses.empty(201, session.cookie(tokens, subject))
    return responses.plain_json(orjson.dumps({"jwt": tokens.issue(subject)}), status=201, cache_control=NO_STORE)


async def show_session(request: web.Request) -> web.Response:
    """The permissions of a valid token."""
    return responses.plain_json(orjson.dumps({"allow-rec": request[CALLER].may_listen}), cache_control=NO_STORE)


async def log_out(_: web.Request) -> web.Response:
    """Expires the cookie."""
    return responses.empty(204, session.EXPIRED)


async def _authenticate(request: web.Request, given: Credentials, client: str | None) -> int | None:
    """The id of the access row, or None. A started check keeps its slot until it ends, even if the client leaves."""
    state = request.app[STATE]
    try:
        slot = await state.login_limiter.acquire(network(client))
    except LimitExceededError as full:
        metrics.REQUESTS_REFUSED.labels(full.reason).inc()
        raise busy("Too many logins are waiting.") from full
    return await state.services.logins.authenticate(given.login, given.password, client, slot.release)


def _count(outcome: str) -> None:
    metrics.series(metrics.LOGINS, outcome).inc()
