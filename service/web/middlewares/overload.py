"""Limits how many requests work at once, fairly among customers; refuses those that would wait too long.

A handler whose response takes as long as its client likes gives its slot back before that.
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
    if CALLER not in request:  # Logins wait for a thread instead.
        return await handler(request)
    try:
        request[SLOT] = slot = await request.app[STATE].limiter.acquire(request[CALLER].customer_id)
    except LimitExceededError as error:
        metrics.REQUESTS_REFUSED.labels(error.reason).inc()
        raise busy("Too many requests are waiting.") from error
    try:
        if request.transport is None:  # The client has gone away while it waited.
            raise asyncio.CancelledError
        return await handler(request)
    finally:
        slot.release()
