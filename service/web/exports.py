"""A list as a table: all its records, streamed as fast as the client reads, complete or visibly broken off."""

import asyncio
import socket
import struct
from collections.abc import AsyncIterator, Sequence
from datetime import UTC, datetime

import structlog
from aiohttp import web

from service.db.export import Export, TooManyRowsError
from service.errors import ApiError
from service.jsonapi import render
from service.jsonapi.render import Renderer
from service.tables import export_request, formats
from service.tables.formats import Format
from service.web import encodings, parameters
from service.web.keys import CALLER, ROUTE, STATE
from service.web.responses import NO_CACHE

FORESEEN = (ApiError, TooManyRowsError, ConnectionError, TimeoutError, asyncio.CancelledError)
VARY = "Accept, Accept-Encoding"

log = structlog.get_logger()


async def stream(request: web.Request, table: Format) -> web.StreamResponse:
    """Everything that can be refused is refused before the first byte. Raises ApiError."""
    state, resource = request.app[STATE], request[ROUTE].resource
    limits, asked = state.settings.export, parameters.of(request)
    table = export_request.with_dialect(table, resource, asked.get("dialect"))
    wanted = export_request.parse(resource, asked, request[CALLER], datetime.now(UTC), limits.max_days, limits.max_rows)
    renderer = render.renderer_for(resource, wanted.view)
    async with state.services.exports.open(wanted.query, linked=renderer.linked, counted=wanted.counted) as export:
        pieces = _pieces(export, renderer, table, formats.headings(resource, wanted.view))
        first = await anext(pieces, b"")
        response = _response(f"{wanted.name}.{table.suffix}", table, export.total)
        await _send(request, response, first, pieces, limits.client_timeout)
        return response


async def _pieces(export: Export, renderer: Renderer, table: Format, headings: Sequence[str]) -> AsyncIterator[bytes]:
    """The head together with the first records, then batch after batch."""
    waiting = table.head(headings)
    async for rows in export.batches():
        yield waiting + table.piece(renderer.flat(rows, export.related))
        waiting = b""
    if waiting:
        yield waiting


def _response(name: str, table: Format, total: int | None) -> web.StreamResponse:
    counted = {} if total is None else {"x-total-count": str(total)}
    headers = {"content-type": table.content_type, "vary": VARY, **NO_CACHE}
    return web.StreamResponse(headers={**headers, "content-disposition": f'attachment; filename="{name}"', **counted})


async def _send(
    request: web.Request, response: web.StreamResponse, piece: bytes, pieces: AsyncIterator[bytes], patience: float
) -> None:
    encode, end = encodings.plain()
    if encodings.takes_gzip(request.headers.get("Accept-Encoding", "")):
        encode, end = encodings.gzip()
        response.headers["content-encoding"] = "gzip"
    try:
        await response.prepare(request)
        if request.method == "HEAD":
            return
        await _write(response, encode(piece), patience)
        async for piece in pieces:
            await _write(response, encode(piece), patience)
        await _write(response, end(), patience)
        await response.write_eof()
    except (Exception, asyncio.CancelledError) as error:
        foreseen = isinstance(error, FORESEEN)
        reason = (foreseen and str(error)) or type(error).__name__
        log.warning("export broken off", reason=reason, exc_info=not foreseen)
        _break_off(request)
        if isinstance(error, asyncio.CancelledError):
            raise


async def _write(response: web.StreamResponse, piece: bytes, patience: float) -> None:
    """`patience` is the seconds that the client may take to make room."""
    async with asyncio.timeout(patience):
        await response.write(piece)


def _break_off(request: web.Request) -> None:
    """Resets the connection, because an orderly end looks like the end of the table to a client of HTTP/1.0."""
    if request.transport is None:
        return
    if connection := request.transport.get_extra_info("socket"):
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    request.transport.abort()
