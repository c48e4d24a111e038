"""Finds the route. Unknown paths and methods are rejected before authentication (D14)."""

from aiohttp import web
from aiohttp.typedefs import Handler

from service.errors import not_found
from service.web import routes
from service.web.keys import ENDPOINT, ROUTE, STATE


@web.middleware
async def route(request: web.Request, handler: Handler) -> web.StreamResponse:
    state, asked = request.app[STATE], (request.method, request.rel_url.raw_path)
    if found := routes.find(state.services.resources, *asked):
        request[ENDPOINT] = request[ROUTE] = found
    elif endpoint := routes.find_endpoint(state.endpoints, *asked):
        request[ENDPOINT] = endpoint
    else:
        raise not_found()
    return await handler(request)
