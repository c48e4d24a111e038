"""The query of a request, parsed once however many ask for it."""

from aiohttp import web

from service.jsonapi import query_string
from service.jsonapi.query_string import Query
from service.web.keys import QUERY


def of(request: web.Request) -> Query:
    """The parameters that a client sent. Raises ApiError."""
    if QUERY not in request:
        request[QUERY] = query_string.parse(request.rel_url.raw_query_string)
    return request[QUERY]
