"""Streams all records of a list as a table. A failure resets the connection, so that the client detects it."""

from collections.abc import AsyncIterator, Sequence
from datetime import UTC, datetime

from aiohttp import web

from service import errors
from service.db.export import Export, TooManyRowsError
from service.errors import ApiError
from service.jsonapi import render
from service.jsonapi.render import Renderer
from service.tables import export_request, formats
from service.tables.formats import Format
from service.web import encodings, parameters, proxies, streaming
from service.web.keys import CALLER, ROUTE, SLOT, STATE
from service.web.responses import NO_CACHE

VARY = "Accept, Accept-Encoding"


async def stream(request: web.Request, table: Format) -> web.StreamResponse:
    """Streams an export. Raises ApiError before the first byte; later failures reset the connection."""
    if proxies.http_1_0_client(request):
        raise errors.export_needs_http_1_1()
    state, resource = request.app[STATE], request[ROUTE].resource
    limits, asked = state.settings.export, parameters.of(request)
    table = export_request.with_dialect(table, resource, asked.get("dialect"))
    wanted = export_request.parse(resource, asked, request[CALLER], datetime.now(UTC), limits.max_days, limits.max_rows)
    renderer = render.renderer_for(resource, wanted.view)
    async with (
        streaming.stream_slot(request, state.exports, "exports"),
        state.services.exports.open(wanted.query, linked=renderer.linked, counted=wanted.counted) as export,
    ):
        pieces = _pieces(export, renderer, table, formats.headings(resource, wanted.view))
        first = await anext(pieces, b"")
        response = _response(f"{wanted.name}.{table.suffix}", table, export.total)
        request[SLOT].release()  # From here on, the duration depends on the client.
        await _send(request, response, first, pieces)
        return response


async def _pieces(export: Export, renderer: Renderer, table: Format, headings: Sequence[str]) -> AsyncIterator[bytes]:
    """The head with the first records, then the other batches."""
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


async def _send(request: web.Request, response: web.StreamResponse, first: bytes, pieces: AsyncIterator[bytes]) -> None:
    encode, end = encodings.plain()
    if encodings.takes_gzip(", ".join(request.headers.getall("Accept-Encoding", ()))):
        encode, end = encodings.gzip()
        response.headers["content-encoding"] = "gzip"
    with streaming.whole_or_reset(request, ApiError, TooManyRowsError):
        await response.prepare(request)
        if request.method == "HEAD":
            return
        await streaming.write(request, response, encode(first))
        async for piece in pieces:
            await streaming.write(request, response, encode(piece))
        await streaming.write_end(request, response, end())
