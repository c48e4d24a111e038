"""Metrics and a log line for each request, without path and query, which may contain phone numbers."""

import asyncio
import time
from collections.abc import Sequence

import structlog
from aiohttp import hdrs, web
from aiohttp.typedefs import Handler

from service.observability import metrics, timings
from service.observability.timings import Timing
from service.web import proxies
from service.web.keys import BYTES_SENT, CALLER, ENDPOINT, RESPONSE_STARTED, STARTED, STATE, TRUNCATED

CLIENT_CLOSED_REQUEST = 499  # nginx's status for a client that disconnected before the response.

log = structlog.get_logger()


@web.middleware
async def observe(request: web.Request, handler: Handler) -> web.StreamResponse:
    in_flight, task = request.app[STATE].in_flight, request.task
    in_flight[task] = request
    try:
        response = await handler(request)
    except asyncio.CancelledError:
        _note(request, CLIENT_CLOSED_REQUEST, request.get(BYTES_SENT, 0))
        raise
    finally:
        del in_flight[task]
    disconnected = request.get(TRUNCATED, request.transport is None)
    size = 0 if disconnected else response.content_length or response.body_length
    _note(request, CLIENT_CLOSED_REQUEST if disconnected else response.status, request.get(BYTES_SENT, size))
    return response


def _note(request: web.Request, status: int, size: int) -> None:
    now = time.monotonic()
    # Without the time for streaming, which depends on the client.
    seconds = request.get(RESPONSE_STARTED, now) - request[STARTED]
    route, caller = request.get(ENDPOINT), request.get(CALLER)
    method = request.method if request.method in hdrs.METH_ALL else "other"
    _measure(method, route.template if route else "none", status, size, seconds)
    line = {
        "method": method,
        "path": route.template if route else None,
        "status": status,
        "bytes": size,
        "whole": TRUNCATED not in request,
        "duration_ms": round(1000 * (now - request[STARTED]), 3),
        "api_access": caller.api_access_id if caller else None,
        "customer": caller.customer_id if caller else None,
        "client": proxies.client(request),
    }
    log.info("request", **line)
    slow = request.app[STATE].settings.log.slow_request
    if slow and seconds >= slow:
        log.warning("slow request", **line, statements_ms=_named(timings.current()))


def _measure(method: str, route: str, status: int, size: int, seconds: float) -> None:
    metrics.series(metrics.REQUESTS, route, method, status).inc()
    metrics.series(metrics.REQUEST_SECONDS, route).observe(seconds)
    metrics.series(metrics.RESPONSE_BYTES, route).inc(size)


def _named(statements: Sequence[Timing]) -> dict[str, float]:
    """Milliseconds by `<pool>.<statement>`."""
    named: dict[str, float] = {}
    for timing in statements:
        name = f"{timing.pool}.{timing.statement}"
        named[name] = round(named.get(name, 0) + 1000 * timing.seconds, 3)
    return named
