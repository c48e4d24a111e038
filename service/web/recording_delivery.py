"""Sends a recording as its store delivers it; one that breaks off breaks the connection, and never looks complete."""

import asyncio
from collections.abc import AsyncIterator

import structlog
from aiohttp import web

from service import errors
from service.jsonapi import accept
from service.recordings import file_names
from service.recordings.delivery import FileSlice, RequestConditions, StorageError, StoredResponse, TruncatedError
from service.web import responses
from service.web.keys import STATE

OF_CONTENT = ("content-type", "content-disposition")  # Says nothing where there is none.
SEGMENT = 2**20  # Bytes of a file that are sent under one time limit.

log = structlog.get_logger()


async def answer(request: web.Request, local_tag: str) -> web.StreamResponse:
    """The recording with this tag, or an empty 404. Raises ApiError."""
    name = file_names.file_name(local_tag, request.app[STATE].settings.recordings.format)
    if name is None:
        return missing(request)
    try:
        async with request.app[STATE].services.recordings.open(name, _asked(request)) as delivery:
            return await _sent(request, delivery) if delivery else missing(request)
    except StorageError as error:
        log.exception("recording cannot be read")
        response = responses.error_document(errors.internal_error())
        response.headers.update(error.headers)
        return response


def missing(request: web.Request) -> web.Response:
    """An empty 404 of a type that the client takes."""
    return responses.empty_404(accept.first_simple_type(request.headers.get("Accept", "")))


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
    patience = request.app[STATE].settings.recordings.stall_timeout
    try:
        await response.prepare(request)
        if isinstance(delivery.content, FileSlice):
            await _send_part(request, response, delivery.content, patience)
        else:
            await _send_chunks(response, delivery.content, patience)
    except (TruncatedError, OSError) as error:  # A TimeoutError is an OSError, and so is a client that has gone.
        _break_off(request, error)
    except asyncio.CancelledError as error:  # So is this, where the server has noticed it first.
        _break_off(request, error)
        raise
    return response


def _break_off(request: web.Request, error: BaseException) -> None:
    log.warning("recording broke off", error=repr(error))
    if request.transport is not None:
        request.transport.abort()


async def _send_chunks(response: web.StreamResponse, chunks: AsyncIterator[bytes], patience: float) -> None:
    async for chunk in chunks:
        async with asyncio.timeout(patience):
            await response.write(chunk)


async def _send_part(request: web.Request, response: web.StreamResponse, part: FileSlice, patience: float) -> None:
    """Lets the kernel copy the file to the socket. Raises TruncatedError where the file has become shorter."""
    loop, end = asyncio.get_running_loop(), part.start + part.count
    for start in range(part.start, end, SEGMENT):
        count = min(SEGMENT, end - start)
        if request.transport is None or request.transport.is_closing():
            raise ConnectionResetError("The client has gone.")
        async with asyncio.timeout(patience):
            sent = await loop.sendfile(request.transport, part.file, start, count)
        if sent < count:
            raise TruncatedError("The file has become shorter.")
