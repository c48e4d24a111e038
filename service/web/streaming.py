"""Answers that are sent piece by piece: each piece as far as the client takes it, and a broken one visibly broken.

How long a client may take nothing is bounded by its connection, for every answer alike (`listen.write_timeout`); only a
file that the kernel copies to the socket passes it by. How long it may take in all is bounded here.
"""

import asyncio
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from typing import cast

import structlog
from aiohttp import web

from service.concurrency.limiter import FairLimiter, LimitExceededError
from service.errors import busy
from service.observability import metrics
from service.recordings.delivery import FileSlice, TruncatedError
from service.web.connection import Connection
from service.web.keys import BROKEN_OFF, BYTES_SENT, CALLER, RESPONSE_STARTED, STATE

SEGMENT = 65536  # Bytes of a file in which a client has to make progress once in each `listen.write_timeout`.
GRACE = 60.0  # Seconds before a client's rate matters.
GONE = "The client disconnected, or did not read within listen.write_timeout."

log = structlog.get_logger()


async def write(request: web.Request, response: web.StreamResponse, piece: bytes) -> None:
    """Sends a piece, and waits until there is room for another. Raises ConnectionError where the client has gone."""
    await response.write(piece)
    _require_connection(request)
    _count(request, len(piece))


async def write_end(request: web.Request, response: web.StreamResponse, piece: bytes) -> None:
    """Sends the last piece, and waits until the kernel has all. Raises ConnectionError where the client has gone."""
    await response.write(piece)
    await response.write_eof()
    _require_connection(request)
    _count(request, len(piece))


async def write_file(request: web.Request, part: FileSlice) -> None:
    """Lets the kernel copy a file to the socket. Raises TruncatedError where it has become shorter, OSError where it
    cannot be read, and ConnectionError where the client has gone or takes nothing."""
    loop, end = asyncio.get_running_loop(), part.start + part.count
    for start in range(part.start, end, SEGMENT):
        count = min(SEGMENT, end - start)
        transport = _require_connection(request)
        try:
            async with asyncio.timeout(request.app[STATE].settings.listen.write_timeout):
                sent = await loop.sendfile(transport, part.file, start, count)
        except TimeoutError as error:
            raise ConnectionResetError(GONE) from error
        _count(request, sent)
        if sent < count:
            raise TruncatedError("The file was truncated while it was sent.")


@asynccontextmanager
async def stream_slot(request: web.Request, limiter: FairLimiter, what: str) -> AsyncIterator[None]:
    """Room for one stream of the caller while the block lasts. Raises OverloadedError."""
    try:
        slot = await limiter.acquire(request[CALLER].customer_id)
    except LimitExceededError as error:
        metrics.REQUESTS_REFUSED.labels("streams").inc()
        raise busy(f"Too many {what} are being sent.") from error
    try:
        yield
    finally:
        slot.release()


@contextmanager
def whole_or_reset(request: web.Request, *expected: type[BaseException]) -> Iterator[None]:
    """Resets the connection where the block does not send everything, and logs why; only cancellation goes on.

    To a client of HTTP/1.0 an orderly end of the connection looks like the end of the answer. Errors that are not
    `expected` are logged with their origin.
    """
    try:
        yield
    except (Exception, asyncio.CancelledError) as error:
        request[BROKEN_OFF] = client_failed = isinstance(error, ConnectionError | asyncio.CancelledError)
        reason = (
            str(error) or GONE if client_failed else str(error) if isinstance(error, expected) else type(error).__name__
        )
        log.warning("answer broken off", reason=reason, exc_info=not (client_failed or isinstance(error, expected)))
        _reset(request)
        if isinstance(error, asyncio.CancelledError):
            raise


def _reset(request: web.Request) -> None:
    if request.transport is not None:
        request[BYTES_SENT] = request.get(BYTES_SENT, 0) - request.transport.get_write_buffer_size()
        cast(Connection, request.protocol).abort()


def _require_connection(request: web.Request) -> asyncio.Transport:
    if request.transport is None or request.transport.is_closing():
        raise ConnectionResetError(GONE)
    return request.transport


def _count(request: web.Request, size: int) -> None:
    """Counts bytes. Raises ConnectionResetError if the client reads too slowly or has read for too long."""
    limits = request.app[STATE].settings.streams
    request[BYTES_SENT] = request.get(BYTES_SENT, 0) + size
    seconds = time.monotonic() - request[RESPONSE_STARTED]
    if seconds > limits.max_duration:
        raise ConnectionResetError("The response exceeded streams.max_duration.")
    if seconds > GRACE and request[BYTES_SENT] < limits.min_rate * seconds:
        raise ConnectionResetError("The client reads more slowly than streams.min_rate.")
