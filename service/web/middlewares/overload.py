"""Limits concurrent requests, fairly among customers; refuses requests that would wait too long.

Handlers of streamed responses release their slot before streaming.
"""

import asyncio

from aiohttp import web
from aiohttp.typedefs import Handler

from service.concurrency.limiter import LimitExceededError
from service.errors import busy
from service.observability import metrics
from service.web.keys import CALLER, SLOT, STATE


@web.middleware
async def overload(request: web.Request, handler: Handler) -> web.StreamResponse:
    if CALLER not in request:  # Logins have another limiter.
        return await handler(request)
    try:
        request[SLOT] = slot = await request.app[STATE].limiter.acquire(request[CALLER].customer_id)
    except LimitExceededError as error:
        metrics.REQUESTS_REFUSED.labels(error.reason).inc()
        raise busy("Too many requests are waiting.") from error
    try:
        if request.transport is None:  # The client disconnected while the request waited.
            raise asyncio.CancelledError
        return await handler(request)
    finally:
        slot.release()
