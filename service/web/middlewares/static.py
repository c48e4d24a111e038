"""Serves the public files, before routing and authentication."""

from aiohttp import web
from aiohttp.typedefs import Handler

from service.web import static as files
from service.web.keys import STATE
from service.web.middlewares.conditional import tagged
from service.web.routes import METHODS


@web.middleware
async def static(request: web.Request, handler: Handler) -> web.StreamResponse:
    file = files.find(request.app[STATE].static_files, request.rel_url.raw_path) if request.method in METHODS else None
    return tagged(request, file.response(), file.tag) if file else await handler(request)
