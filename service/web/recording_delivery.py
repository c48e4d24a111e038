"""Sends recordings. A truncated recording resets the connection, so that the client detects it."""

import structlog
from aiohttp import web

from service import errors
from service.recordings import file_names
from service.recordings.delivery import FileSlice, RequestConditions, StorageError, StoredResponse, TruncatedError
from service.web import responses, streaming
from service.web.keys import ACCEPT, STATE

OF_CONTENT = ("content-type", "content-disposition")  # Omitted in a 304.

log = structlog.get_logger()


async def send(request: web.Request, local_tag: str) -> web.StreamResponse:
    """The recording with this tag, or an empty 404. Raises ApiError."""
    name = file_names.file_name(local_tag, request.app[STATE].settings.recordings.format)
    if name is None:
        return missing(request)
    try:
        async with (
            streaming.stream_slot(request, request.app[STATE].recordings, "recordings"),
            request.app[STATE].services.recordings.open(name, _asked(request)) as delivery,
        ):
            return await _sent(request, delivery) if delivery else missing(request)
    except StorageError as error:
        if errors.out_of_files(error):
            raise
        log.exception("recording cannot be read")
        response = responses.error_document(errors.internal_error())
        response.headers.update(error.headers)
        return response


def missing(request: web.Request) -> web.Response:
    """An empty 404 with a type that the client accepts."""
    return responses.empty_404(request[ACCEPT].first_simple_type)


def _asked(request: web.Request) -> RequestConditions:
    headers = request.headers
    return RequestConditions(
        head=request.method == "HEAD",
        range=headers.get("Range", ""),
        if_range=headers.get("If-Range", ""),
        if_none_match=", ".join(headers.getall("If-None-Match", ())),
        if_modified_since=headers.get("If-Modified-Since", ""),
    )


async def _sent(request: web.Request, delivery: StoredResponse) -> web.StreamResponse:
    if delivery.content is None:
        unknown = OF_CONTENT if delivery.status == 304 else ()
        kept = {name: value for name, value in delivery.headers.items() if name not in unknown}
        return web.Response(status=delivery.status, headers=kept)
    response = web.StreamResponse(status=delivery.status, headers=delivery.headers)
    with streaming.whole_or_reset(request, TruncatedError, OSError):
        await response.prepare(request)
        if isinstance(delivery.content, FileSlice):
            await streaming.write_file(request, delivery.content)
        else:
            async for chunk in delivery.content:
                await streaming.write(request, response, chunk)
            await streaming.write_end(request, response, b"")
    return response
