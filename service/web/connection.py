"""A client connection: limits what is received before it is parsed, and closes connections without progress.

It extends aiohttp's RequestHandler and relies on these internals: `data_received` with complete heads queues a message
for each; `finish_response` is called once for each request; `handle_error` creates the response for parser errors; a
runner's `_make_server` creates the server.
"""

import asyncio
import socket
import struct
import sys
from contextvars import copy_context
from functools import partial
from typing import Any, cast

import structlog
from aiohttp import StreamReader, web
from aiohttp.http import HttpProcessingError, RawRequestMessage

from service.errors import ApiError, bad_request, busy, headers_too_large, internal_error
from service.observability import metrics
from service.settings import Settings
from service.web import proxies, responses
from service.web.clients import Clients, credentials_of
from service.web.connections import ConnectionRegistry, group_of
from service.web.request_head import (
    MAX_HEADERS,
    MAX_HEADERS_SIZE,
    MAX_LINE_SIZE,
    HeadBuffer,
    HeadTooLargeError,
    NotHttpError,
)
from service.web.static import SharedResponse

MAX_BACKLOG = 65536  # Bytes that are read ahead while a request is in progress.
PIECE = 65536  # Bytes of a body that are sent at once.
MIN_HELD = 16384  # Bytes; connections that use less memory are not counted.
COPIES = 3  # Of a head in memory: its bytes, its text and the URL in it.
LINGER = 2.0  # Seconds for a refused client to read the response.
UNKNOWN = sys.maxsize  # The length of a body without Content-Length.

log = structlog.get_logger()


class Connection(web.RequestHandler):
    """Reads one request at a time. Closes the connection if a request head or a response makes no progress."""

    def __init__(
        self, manager: web.Server, settings: Settings, registry: ConnectionRegistry, clients: Clients, **options: Any
    ) -> None:
        super().__init__(manager, **options)
        self._settings = settings
        self._registry = registry
        self._clients = clients
        self._credentials = 0
        self._group: str | None = None
        self._link: asyncio.Transport  # aiohttp resets its reference while there are still bytes to send.
        self._context = copy_context()  # Without a request's bound log values.
        self._head = HeadBuffer()
        self._body = 0  # Outstanding bytes of the current request's body.
        self._kept = 0  # Bytes of the last head, which aiohttp keeps until the next one.
        self._busy = False  # From a complete head until its response has been passed to the kernel.
        self._holds = False
        self._refused = False  # Further input is discarded.
        self._unsent = 0
        self._head_timer: asyncio.TimerHandle | None = None
        self._write_timer: asyncio.TimerHandle | None = None
        self._linger_timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._link = cast(asyncio.Transport, transport)
        self._link.set_write_buffer_limits(high=0)  # Pauses writing whenever the kernel's buffer is full.
        super().connection_made(transport)
        self._group = self._address()
        if not self._registry.admit(self, self._group):
            self._count("too_many")
            self._refuse(busy("Too many connections are open."))
            self.force_close()

    def connection_lost(self, exc: BaseException | None) -> None:
        self._registry.remove(self)
        for timer in (self._head_timer, self._write_timer, self._linger_timer):
            if timer:
                timer.cancel()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        if self._refused:
            return
        if not data:  # aiohttp resumes its parser.
            super().data_received(data)
            return
        body, data = data[: self._body], data[self._body :]
        self._feed_body(body)
        if data:
            self._head.append(data)
            self._advance()
            self._hold()

    def begin(self, message: RawRequestMessage, payload: StreamReader) -> None:
        """Called before each request is handled; passes on the bytes of its body received so far."""
        if not payload.is_eof():
            self._body = int(message.headers.get("Content-Length", UNKNOWN))
            self._feed_body(self._head.take(self._body))

    async def finish_response(
        self, request: web.BaseRequest, resp: web.StreamResponse, start_time: float | None
    ) -> tuple[web.StreamResponse, bool]:
        if self._body == UNKNOWN:  # Only the parser knows where the next request begins.
            resp.force_close()
        try:
            await self._send_long_body(request, resp)
        except ConnectionError:
            return resp, True
        resp, reset = await super().finish_response(request, resp, start_time)
        if isinstance(resp, web.Response):
            resp.body = None  # aiohttp keeps the last response until the next one.
        self._busy = False
        self._registry.idle(self)
        self._hold()
        if self._head and resp.keep_alive:
            self._loop.call_soon(self._advance, context=self._context)
        return resp, reset

    def handle_error(
        self,
        request: web.BaseRequest,
        status: int = 500,
        exc: BaseException | None = None,
        message: str | None = None,
    ) -> web.StreamResponse:
        """The response to parser errors and to failures outside of the application."""
        if isinstance(exc, HttpProcessingError):
            self._count("not_http")
            return responses.refusal(bad_request("The request is not valid HTTP."))
        log.error("request failed", exc_info=exc)
        if request.writer.output_size:
            raise ConnectionError("The response has already started.")
        return responses.refusal(internal_error())

    def pause_writing(self) -> None:
        super().pause_writing()
        self._watch_progress()

    def resume_writing(self) -> None:
        super().resume_writing()
        if self._write_timer:
            self._write_timer.cancel()

    def identify(self, customer: int) -> None:
        """Stores the customer of the current request's credentials."""
        self._clients.identify(self._credentials, customer)

    def evict(self) -> None:
        """Closes the connection in favour of another one."""
        self._count("evicted")
        self.force_close()

    def abort(self) -> None:
        """Resets the connection, so that the client detects a truncated response, even with HTTP/1.0."""
        if connection := self._link.get_extra_info("socket"):
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self._link.abort()

    def _address(self) -> str | None:
        """The address for the limit of connections; None for proxies, which serve many clients."""
        peer = self._link.get_extra_info("peername")
        if not peer or proxies.is_trusted(self._settings.gateway.trusted_proxies, peer[0]):
            return None
        return group_of(peer[0])

    async def _send_long_body(self, request: web.BaseRequest, response: web.StreamResponse) -> None:
        """Sends a long body in pieces, because a transport copies what it cannot send at once."""
        body = response.body if isinstance(response, web.Response) else None
        if isinstance(body, bytes) and len(body) > PIECE and request.method != "HEAD":
            await response.prepare(request)
            for start in range(0, len(body), PIECE):
                if not isinstance(response, SharedResponse):
                    self._hold(len(body))
                await response.write(memoryview(body)[start : start + PIECE])
            cast(web.Response, response).body = None

    def _feed_body(self, part: bytes) -> None:
        if part:
            self._body -= len(part) if self._body != UNKNOWN else 0
            super().data_received(part)

    def _advance(self) -> None:
        """Passes the next complete head to the parser, if no request is in progress."""
        if self._busy:
            if len(self._head) > MAX_BACKLOG:
                self._link.pause_reading()
            return
        try:
            head = self._head.take_head()
        except HeadTooLargeError:
            self._count("head_too_large")
            self._refuse(headers_too_large())
        except NotHttpError:
            self._count("not_http")
            self._refuse(bad_request("The request is not valid HTTP."))
        else:
            self._time_head(incomplete=bool(self._head) and head is None)
            if head:
                self._begin(head)

    def _begin(self, head: bytes) -> None:
        self._busy = True
        self._kept = len(head)
        self._registry.busy(self)
        if len(self._head) <= MAX_BACKLOG:
            self._link.resume_reading()
        self._credentials = credentials_of(head)
        client = self._clients.key_of(self._credentials, self._group)
        self._clients.turns.run(client, partial(self._parse, head))

    def _parse(self, head: bytes) -> None:
        if not self._link.is_closing():  # The connection may have been closed in the meantime.
            super().data_received(head)

    def _hold(self, body: int = 0) -> None:
        """Reports the memory of this connection, if it is at least MIN_HELD."""
        size = len(self._head) + COPIES * self._kept + body
        size = size if size > MIN_HELD else 0
        if size or self._holds:
            self._registry.hold(self, size)
            self._holds = bool(size)

    def _time_head(self, *, incomplete: bool) -> None:
        """Starts the timeout with the first bytes of a head, and stops it at the end of the head."""
        if incomplete and not self._head_timer:
            timeout = self._settings.listen.head_timeout
            self._head_timer = self._loop.call_later(timeout, self._give_up_head, context=self._context)
        elif not incomplete and self._head_timer:
            self._head_timer.cancel()
            self._head_timer = None

    def _give_up_head(self) -> None:
        self._count("head_timeout")
        self.force_close()

    def _watch_progress(self) -> None:
        self._unsent = self._link.get_write_buffer_size()
        self._write_timer = self._loop.call_later(self._settings.listen.write_timeout, self._check_progress)

    def _check_progress(self) -> None:
        """Resets the connection if the write buffer has not shrunk; nothing is added while writing is paused."""
        if self._link.get_write_buffer_size() < self._unsent:
            self._watch_progress()
        else:
            self._count("write_timeout")
            self.abort()

    def _refuse(self, refused: ApiError) -> None:
        """Sends an error for input that is not a request, and closes the connection after LINGER seconds."""
        self._refused = True
        self._link.write(responses.raw_refusal(refused))
        self._link.write_eof()
        self._linger_timer = self._loop.call_later(LINGER, self.force_close)

    def _count(self, reason: str) -> None:
        """Counts and logs why the service closes a connection. Truncated responses are logged by `streaming`."""
        metrics.CONNECTIONS_CLOSED.labels(reason).inc()
        peer = self._link.get_extra_info("peername")
        log.info("connection closed", reason=reason, client=peer[0] if peer else None)


class Server(web.Server):
    """Creates a Connection for each client, and notifies it of each request."""

    def __init__(self, server: web.Server, settings: Settings, **options: Any) -> None:
        """`server` is the application's server from aiohttp."""
        self._make_application_request = server.request_factory
        self._settings = settings
        self._registry = ConnectionRegistry(
            settings.listen.max_connections, settings.listen.max_connections_per_address
        )
        self._clients = Clients(asyncio.get_running_loop())
        self._options = options
        super().__init__(server.request_handler, request_factory=self._begin)

    def __call__(self) -> Connection:
        return Connection(self, self._settings, self._registry, self._clients, loop=self._loop, **self._options)

    def _begin(
        self, message: RawRequestMessage, payload: StreamReader, protocol: web.RequestHandler, *others: Any
    ) -> web.BaseRequest:
        cast(Connection, protocol).begin(message, payload)
        return self._make_application_request(message, payload, protocol, *others)


class Runner(web.AppRunner):
    """Serves an application with `Connection`s."""

    def __init__(self, app: web.Application, settings: Settings, **options: Any) -> None:
        super().__init__(app, **options)
        self._settings = settings

    async def _make_server(self) -> Server:
        return Server(
            await super()._make_server(),
            self._settings,
            access_log=None,
            keepalive_timeout=self._settings.listen.keepalive_timeout,
            max_line_size=MAX_LINE_SIZE,
            max_field_size=MAX_HEADERS_SIZE,
            max_headers=MAX_HEADERS,
        )
