"""Limits concurrent requests, fairly among customers; refuses requests that would wait too long.

Handlers of streamed responses release their slot before streaming.
"""

import asyncio

from aiohttp import web
from aiohttp.typedefs import Handler

from service.concurrency.limiter import LimitExceededError
from service.errors import DatabaseFailedError, DatabaseUnavailableError, QueryTimeoutError, busy
from service.observability import metrics
from service.web.keys import CALLER, SLOT, STATE

FAILURES = (DatabaseFailedError, DatabaseUnavailableError, QueryTimeoutError)


@web.middleware
async def overload(request: web.Request, handler: Handler) -> web.StreamResponse:
    if CALLER not in request:  # Logins have another limiter.
        return await handler(request)
    limiter, customer = request.app[STATE].limiter, request[CALLER].customer_id
    try:
        request[SLOT] = slot = await limiter.acquire(customer)
    except LimitExceededError as error:
        metrics.REQUESTS_REFUSED.labels(error.reason).inc()
        raise busy("Too many requests are waiting.") from error
    try:
        if request.transport is None:  # The client disconnected while the request waited.
            raise asyncio.CancelledError
        response = await handler(request)
        limiter.report(customer, failed=False)
        return response
    except FAILURES:
        limiter.report(customer, failed=True)
        raise
    finally:
        slot.release()
