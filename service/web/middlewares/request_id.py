"""Starts the timing of a request and assigns its id: the cleaned X-Request-Id header, or a UUID (contract 11.4)."""

import re
import time
import uuid

from aiohttp import web
from aiohttp.typedefs import Handler
from structlog.contextvars import bind_contextvars

from service.observability import timings
from service.web.keys import REQUEST_ID, STARTED

UNWANTED = re.compile(r"[^A-Za-z0-9_@-]")
MAX_LENGTH = 255


@web.middleware
async def request_id(request: web.Request, handler: Handler) -> web.StreamResponse:
    request[STARTED] = time.monotonic()
    given = request.headers.get("X-Request-Id", "")
    request[REQUEST_ID] = UNWANTED.sub("", given)[:MAX_LENGTH] if given.strip() else str(uuid.uuid4())
    bind_contextvars(request_id=request[REQUEST_ID])  # Each request is a task with its own context.
    timings.collect()
    return await handler(request)
