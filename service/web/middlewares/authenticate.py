"""Identifies the caller by the token in a header or a cookie, and renews the cookie if the token came from there."""

import time
from wsgiref.handlers import format_date_time

from aiohttp import web
from aiohttp.typedefs import Handler
from structlog.contextvars import bind_contextvars

from service.auth.tokens import Subject, TokenService
from service.errors import ApiError
from service.web import cookies
from service.web.keys import CALLER, RENEWED_COOKIE, ROUTE, STATE
from service.web.routes import RECORDING

COOKIE = "_yeti_customer_v1_session"


@web.middleware
async def authenticate(request: web.Request, handler: Handler) -> web.StreamResponse:
    services = request.app[STATE].services
    words = request.headers.get("Authorization", "").split()
    token = words[-1] if words else cookies.first(request.headers.getall("Cookie", ()), COOKIE)
    subject = services.tokens.read(token)
    request[CALLER] = caller = await services.access.caller(subject)
    bind_contextvars(api_access=caller.api_access_id, customer=caller.customer_id)
    if words:
        return await handler(request)
    request[RENEWED_COOKIE] = _renewal(services.tokens, subject)
    try:
        return await handler(request)
    except ApiError:
        if request[ROUTE].action == RECORDING:
            del request[RENEWED_COOKIE]
        raise


def _renewal(tokens: TokenService, subject: Subject) -> str:
    parts = [f"{COOKIE}={tokens.issue(subject)}", "path=/"]
    if tokens.lifetime is not None:
        parts.append(f"expires={format_date_time(time.time() + tokens.lifetime)}")
    return "; ".join([*parts, "httponly", "samesite=lax"])
