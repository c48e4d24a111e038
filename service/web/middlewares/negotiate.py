"""Content negotiation: JSON:API or, for lists, a table. Recordings and other types ignore Accept."""

from aiohttp import web
from aiohttp.typedefs import Handler

from service.errors import ApiError, not_acceptable
from service.jsonapi import accept
from service.jsonapi.accept import Accept
from service.tables import export_request
from service.tables.formats import Format
from service.web import parameters
from service.web.keys import ACCEPT, ENDPOINT, FORMAT
from service.web.routes import ANY_ACCEPT, LIST


@web.middleware
async def negotiate(request: web.Request, handler: Handler) -> web.StreamResponse:
    action = request[ENDPOINT].action
    request[ACCEPT] = header = accept.read(", ".join(request.headers.getall("Accept", ())))
    acceptable = action in ANY_ACCEPT or header.json_api
    table = _table(request, header, acceptable) if action == LIST else None
    if table:
        request[FORMAT] = table
    elif not acceptable:
        raise not_acceptable(header.header)
    return await handler(request)


def _table(request: web.Request, header: Accept, acceptable: bool) -> Format | None:
    """The format if a list is requested as a table. Errors in the query do not matter if Accept is not acceptable."""
    try:
        return export_request.format_of(parameters.of(request), header)
    except ApiError:
        if acceptable:
            raise
        return None
