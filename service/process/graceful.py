"""Graceful shutdown: requests that were sent are answered before their connections are closed."""

import asyncio
import os
import socket
from collections.abc import Callable, Iterator

import structlog
from aiohttp import web

from service.web.connection import Runner
from service.web.keys import STATE

ABANDONED = 0.1  # Seconds for handlers to end after they were cancelled.
PAUSE = 0.01
BACKLOG = 1024  # Connections waiting to be accepted; the service, not the kernel, refuses connections.

log = structlog.get_logger()


class GracefulRunner(Runner):
    """Serves one listening socket. `cleanup` gives requests `listen.shutdown_timeout` seconds to finish."""

    def __init__(self, app: web.Application, listening: socket.socket) -> None:
        super().__init__(app, app[STATE].settings, shutdown_timeout=ABANDONED)
        self._listening = listening

    async def setup(self) -> None:
        """Starts to listen. Accepts one connection at a time, so that each goes to an idle worker."""
        await super().setup()
        await web.SockSite(self, self._listening, backlog=1).start()
        self._listening.listen(BACKLOG)  # SockSite has set the kernel's queue to its backlog of 1.
        log.info("serving", process=os.getpid())

    async def cleanup(self) -> None:
        if self.server is not None:
            await self._drain(self.server)
        await super().cleanup()

    async def _drain(self, server: web.Server) -> None:
        clock = asyncio.get_running_loop().time
        listen = self.app[STATE].settings.listen
        end = clock() + listen.shutdown_timeout
        self.app[STATE].stopping.set()
        await self._stop_listening(server)
        log.info("stopping")
        await _until(lambda: not server.connections, min(listen.keepalive_grace, listen.shutdown_timeout))
        server.pre_shutdown()
        transports = [connection.transport for connection in server.connections if connection.transport]
        try:
            async with asyncio.timeout_at(end):
                await server.shutdown(listen.shutdown_timeout)
        except TimeoutError:
            return
        await _until(lambda: not any(map(_unsent, transports)), end - clock())

    async def _stop_listening(self, server: web.Server) -> None:
        """Accepts the connections in the kernel's queue, which would be reset otherwise."""
        loop = asyncio.get_running_loop()
        loop.remove_reader(self._listening)
        await asyncio.sleep(0)  # Otherwise, asyncio would drop a connection that it has just accepted.
        taken = list(_queued(self._listening)) if self.sites else []
        for site in self.sites:
            await site.stop()
        for connection in taken:
            await loop.connect_accepted_socket(server, connection)


def _queued(listening: socket.socket) -> Iterator[socket.socket]:
    while True:
        try:
            connection, _ = listening.accept()
        except OSError:  # The queue is empty.
            return
        connection.setblocking(False)
        yield connection


async def _until(condition: Callable[[], bool], seconds: float) -> None:
    clock = asyncio.get_running_loop().time
    end = clock() + seconds
    while not condition() and clock() < end:  # noqa: ASYNC110 # There is no event for closed connections.
        await asyncio.sleep(PAUSE)


def _unsent(transport: asyncio.Transport) -> bool:
    return transport.get_write_buffer_size() > 0
