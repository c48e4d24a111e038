"""Sends away a customer who asks more often than allowed; what is left is in the headers of every answer."""

import time

from aiohttp import web
from aiohttp.typedefs import Handler

from service import metrics
from service.errors import too_many_requests
from service.web.keys import ALLOWANCE, BUCKETS, CALLER


@web.middleware
async def rate_limit(request: web.Request, handler: Handler) -> web.StreamResponse:
    buckets = request.app.get(BUCKETS)
    if buckets is None:
        return await handler(request)
    request[ALLOWANCE] = allowance = buckets.take(request[CALLER].customer_id, time.monotonic())
    if allowance.spent:
        metrics.REQUESTS_REFUSED.labels("rate").inc()
        raise too_many_requests(allowance.retry_after)
    return await handler(request)
