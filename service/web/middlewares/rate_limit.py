"""Limits the request rate of each customer."""

import time

from aiohttp import web
from aiohttp.typedefs import Handler

from service.errors import too_many_requests
from service.observability import metrics
from service.web.keys import CALLER, RATE_LIMIT, STATE


@web.middleware
async def rate_limit(request: web.Request, handler: Handler) -> web.StreamResponse:
    limiter = request.app[STATE].rate_limiter
    if limiter is None or CALLER not in request:
        return await handler(request)
    request[RATE_LIMIT] = rate_limit = limiter.take(request[CALLER].customer_id, time.monotonic())
    if rate_limit.exceeded:
        metrics.REQUESTS_REFUSED.labels("rate").inc()
        raise too_many_requests(rate_limit.retry_after)
    return await handler(request)
