"""Identifies the caller by the token in Authorization or a cookie, and renews the cookie."""

from aiohttp import web
from aiohttp.typedefs import Handler
from structlog.contextvars import bind_contextvars

from service.errors import ApiError
from service.web import cookies, session
from service.web.connection import Connection
from service.web.keys import CALLER, ENDPOINT, RENEWED_COOKIE, STATE
from service.web.routes import PUBLIC, RECORDING


@web.middleware
async def authenticate(request: web.Request, handler: Handler) -> web.StreamResponse:
    if request[ENDPOINT].action in PUBLIC:
        return await handler(request)
    services = request.app[STATE].services
    words = request.headers.get("Authorization", "").split()
    token = words[-1] if words else cookies.first(request.headers.getall("Cookie", ()), session.COOKIE)
    subject = services.tokens.read(token)
    request[CALLER] = caller = await services.access.caller(subject)
    if isinstance(request.protocol, Connection):
        request.protocol.identify(caller.customer_id)
    bind_contextvars(api_access=caller.api_access_id, customer=caller.customer_id)
    if words:
        return await handler(request)
    request[RENEWED_COOKIE] = session.cookie(services.tokens, subject)
    try:
        return await handler(request)
    except ApiError:
        if request[ENDPOINT].action == RECORDING:
            del request[RENEWED_COOKIE]
        raise
