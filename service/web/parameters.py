"""The query parameters of a request, parsed once."""

from aiohttp import web

from service.jsonapi import query_string
from service.jsonapi.query_string import Parameters
from service.web.keys import PARAMETERS


def of(request: web.Request) -> Parameters:
    """The query parameters. Raises BadRequestError."""
    if PARAMETERS not in request:
        request[PARAMETERS] = query_string.parse(request.rel_url.raw_query_string)
    return request[PARAMETERS]
