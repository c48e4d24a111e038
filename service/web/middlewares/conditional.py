"""Adds entity tags to documents, and responds with 304 if the client has the same document (contract 11.2, D4)."""

import re

from aiohttp import web
from aiohttp.typedefs import Handler

from service.web import entity_tags
from service.web.responses import NO_STORE

KEPT = ("vary", "content-security-policy")  # Headers that a 304 repeats.
REVALIDATE = "max-age=0, private, must-revalidate"
ENTITY_TAG = re.compile(r'(?:W/)?"([^"]*)"')


@web.middleware
async def conditional(request: web.Request, handler: Handler) -> web.StreamResponse:
    response = await handler(request)
    if response.status != 200 or not isinstance(response, web.Response) or not isinstance(response.body, bytes):
        return response
    if response.headers.get("cache-control") == NO_STORE:
        return response
    return tagged(request, response, entity_tags.of(response.body))


def tagged(request: web.Request, response: web.Response, tag: str) -> web.Response:
    """The response with its tag, or 304 if the client has the same."""
    if _has(request, tag):
        kept = {name: response.headers[name] for name in KEPT if name in response.headers}
        response = web.Response(status=304, headers=kept)
    response.headers["etag"] = f'W/"{tag}"'
    response.headers["cache-control"] = REVALIDATE
    return response


def _has(request: web.Request, tag: str) -> bool:
    given = ", ".join(request.headers.getall("If-None-Match", ()))
    return given.strip() == "*" or tag in ENTITY_TAG.findall(given)
