"""Limits how many requests work at once, fairly among customers; refuses those that would wait too long."""

import asyncio

from aiohttp import web
from aiohttp.typedefs import Handler

from service.errors import busy
from service.observability import metrics
from service.web.keys import CALLER, FORMAT, ROUTE, SLOT, STATE
from service.web.limiter import LimitExceededError
from service.web.routes import RECORDING


@web.middleware
async def overload(request: web.Request, handler: Handler) -> web.StreamResponse:
    # Both last as long as their clients take: a recording needs no database then, and exports have pools of their own.
    if request[ROUTE].action == RECORDING or FORMAT in request:
        return await handler(request)
    try:
        request[SLOT] = slot = await request.app[STATE].limiter.acquire(request[CALLER].customer_id)
    except LimitExceededError as full:
        metrics.REQUESTS_REFUSED.labels(full.reason).inc()
        raise busy("Too many requests are waiting.") from full
    try:
        if request.transport is None:  # The client has gone away while it waited.
            raise asyncio.CancelledError
        return await handler(request)
    finally:
        slot.release()
