"""Converts exceptions to error documents. Unexpected exceptions are logged and not shown to clients."""

import structlog
from aiohttp import web
from aiohttp.typedefs import Handler

from service.errors import ApiError, ErrorObject, busy, internal_error, out_of_files
from service.web import responses
from service.web.keys import STATE

log = structlog.get_logger()


@web.middleware
async def errors(request: web.Request, handler: Handler) -> web.StreamResponse:
    try:
        return await handler(request)
    except ApiError as error:
        return responses.error_document(error)
    except web.HTTPException as error:  # Raised by aiohttp, for example for an invalid request target.
        described = ApiError(ErrorObject(error.reason, error.reason, str(error.status)))
        return responses.error_document(described, error.status)
    except Exception as error:
        if out_of_files(error):
            log.warning("too many open files")
            return responses.error_document(busy("Too many files are open."))
        log.exception("request failed")
        request.app[STATE].report_error(error)
        return responses.error_document(internal_error())
