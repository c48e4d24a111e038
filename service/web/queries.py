"""The query of a request, parsed once however many ask for it."""

from aiohttp import web

from service.jsonapi import query
from service.jsonapi.query import Query
from service.web.keys import QUERY


def of(request: web.Request) -> Query:
    """The parameters that a client sent. Raises Refused."""
    if QUERY not in request:
        request[QUERY] = query.parse(request.rel_url.raw_query_string)
    return request[QUERY]
