"""Refuses clients that do not take JSON:API, and finds out who wants a list as a table instead.

Recordings are asked for by players, which name other types.
"""

from aiohttp import web
from aiohttp.typedefs import Handler

from service.errors import not_acceptable
from service.jsonapi import exports, query
from service.jsonapi.accept import takes_json_api
from service.web.keys import FORMAT, ROUTE
from service.web.routes import LIST, RECORDING


@web.middleware
async def negotiate(request: web.Request, handler: Handler) -> web.StreamResponse:
    accept = ", ".join(request.headers.getall("Accept", ()))
    if request[ROUTE].action == LIST:
        table = exports.format_of(query.parse(request.rel_url.raw_query_string), accept)
        if table:
            request[FORMAT] = table
    asks_for_json_api = request[ROUTE].action != RECORDING and FORMAT not in request
    if accept.strip() and asks_for_json_api and not takes_json_api(accept):
        raise not_acceptable(accept)
    return await handler(request)
