"""Writes one line for each request; nothing of what is asked or answered is in it, for that holds phone numbers."""

import time

import structlog
from aiohttp import web
from aiohttp.typedefs import Handler

from service.web import proxies
from service.web.keys import CALLER, ROUTE, STARTED

log = structlog.get_logger()


@web.middleware
async def observe(request: web.Request, handler: Handler) -> web.StreamResponse:
    response = await handler(request)
    route, caller = request.get(ROUTE), request.get(CALLER)
    log.info(
        "request",
        method=request.method,
        path=route.template if route else None,
        status=response.status,
        bytes=response.content_length or 0,
        duration_ms=round(1000 * (time.monotonic() - request[STARTED]), 3),
        api_access=caller.api_access_id if caller else None,
        customer=caller.customer_id if caller else None,
        client=proxies.client(request),
    )
    return response
