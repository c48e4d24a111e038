"""Turns whatever goes wrong into an error document; what was not foreseen is logged, and never shown."""

import structlog
from aiohttp import web
from aiohttp.typedefs import Handler

from service.errors import ApiError, ErrorObject, internal_error
from service.web import responses
from service.web.keys import ERROR_REPORTER

log = structlog.get_logger()


@web.middleware
async def errors(request: web.Request, handler: Handler) -> web.StreamResponse:
    try:
        return await handler(request)
    except ApiError as refused:
        return responses.error_document(refused)
    except web.HTTPException as refused:  # What aiohttp itself refuses, such as a target that is no path.
        problem = ErrorObject(refused.reason, refused.reason, str(refused.status), refused.status)
        return responses.error_document(ApiError(problem))
    except Exception as error:
        log.exception("request failed")
        request.app[ERROR_REPORTER](error)
        return responses.error_document(internal_error())
