"""Finds what the path asks for; a path or verb that is not served is refused before anything else is asked (D14)."""

from aiohttp import web
from aiohttp.typedefs import Handler

from service.errors import not_found
from service.web import routes
from service.web.keys import ROUTE, STATE


@web.middleware
async def route(request: web.Request, handler: Handler) -> web.StreamResponse:
    found = routes.find(request.app[STATE].services.resources, request.method, request.rel_url.raw_path)
    if found is None:
        raise not_found()
    request[ROUTE] = found
    return await handler(request)
