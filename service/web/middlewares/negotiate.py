"""Refuses clients that do not take JSON:API; recordings are asked for by players, which name other types."""

from aiohttp import web
from aiohttp.typedefs import Handler

from service.errors import not_acceptable
from service.jsonapi.accept import takes_json_api
from service.web.keys import ROUTE
from service.web.routes import RECORDING


@web.middleware
async def negotiate(request: web.Request, handler: Handler) -> web.StreamResponse:
    accept = ", ".join(request.headers.getall("Accept", ()))
    if accept.strip() and request[ROUTE].action != RECORDING and not takes_json_api(accept):
        raise not_acceptable(accept)
    return await handler(request)
