"""Streamed responses: backpressure, limits on slow clients, and detectable truncation.

The connection limits how long a client may read nothing (`listen.write_timeout`), except for files, which the kernel
copies to the socket. This module limits the total duration and the rate.
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
from service.web.keys import BYTES_SENT, CALLER, RESPONSE_STARTED, STATE, TRUNCATED

SEGMENT = 65536  # Bytes of a file that the client must read within `listen.write_timeout`.
GRACE = 60.0  # Seconds before `streams.min_rate` applies.
GONE = "The client disconnected, or did not read within listen.write_timeout."

log = structlog.get_logger()


async def write(request: web.Request, response: web.StreamResponse, piece: bytes) -> None:
    """Sends a piece, and waits until the buffer has room. Raises ConnectionError if the client disconnects."""
    await response.write(piece)
    _require_connection(request)
    _count(request, len(piece))


async def write_end(request: web.Request, response: web.StreamResponse, piece: bytes) -> None:
    """Sends the last piece, and waits until the buffer is empty. Raises ConnectionError if the client disconnects."""
    await response.write(piece)
    await response.write_eof()
    _require_connection(request)
    _count(request, len(piece))


async def write_file(request: web.Request, part: FileSlice) -> None:
    """Lets the kernel copy a file to the socket.

    Raises TruncatedError if the file was truncated, OSError if it cannot be read, and ConnectionError if the client
    disconnects or does not read.
    """
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
    """A slot for one stream of the caller. Raises OverloadedError."""
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
    """Resets the connection if the block raises, and logs the reason. Suppresses exceptions except cancellation.

    To an HTTP/1.0 client, a regular close of the connection would look like the end of the response. Errors that are
    not `expected` are logged with a traceback.
    """
    try:
        yield
    except (Exception, asyncio.CancelledError) as error:
        request[TRUNCATED] = client_failed = isinstance(error, ConnectionError | asyncio.CancelledError)
        reason = (
            str(error) or GONE if client_failed else str(error) if isinstance(error, expected) else type(error).__name__
        )
        log.warning("response truncated", reason=reason, exc_info=not (client_failed or isinstance(error, expected)))
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
