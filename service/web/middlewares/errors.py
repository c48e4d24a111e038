"""Turns whatever goes wrong into an error document; what was not foreseen is logged, and never shown."""

import structlog
from aiohttp import web
from aiohttp.typedefs import Handler

from service.errors import Problem, Refused, internal_error
from service.web import responses
from service.web.keys import REPORT

log = structlog.get_logger()


@web.middleware
async def errors(request: web.Request, handler: Handler) -> web.StreamResponse:
    try:
        return await handler(request)
    except Refused as refused:
        return responses.refusal(refused)
    except web.HTTPException as refused:  # What aiohttp itself refuses, such as a target that is no path.
        problem = Problem(refused.reason, refused.reason, str(refused.status), refused.status)
        return responses.refusal(Refused(problem))
    except Exception as error:
        log.exception("request failed")
        request.app[REPORT](error)
        return responses.refusal(internal_error())
