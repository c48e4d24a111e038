"""Starts the server processes and runs them until a signal."""

import asyncio
import errno
import os
import signal
import socket
from collections.abc import Callable
from functools import partial

import structlog

from service import telemetry
from service.observability import metrics
from service.process import open_files, workers
from service.process.graceful import BACKLOG, GracefulRunner
from service.settings import Settings
from service.web.app import open_application

UNSENT = 32768  # Bytes of unsent data in the kernel; with more, progress of slow clients is visible too rarely.

log = structlog.get_logger()


class ListenError(Exception):
    """Listening on an address failed; the message has the address and the reason."""


class AddressInUseError(ListenError):
    """Another process listens on the address."""


def run(
    settings: Settings,
    on_ready: Callable[[str], None] = lambda url: None,
    reload_settings: Callable[[], Settings] | None = None,
) -> None:
    """Serves until SIGINT or SIGTERM. Calls `on_ready` with the URL when requests are accepted. Raises ListenError.

    `reload_settings` reads the settings again, for workers started by SIGHUP.
    """
    open_files.raise_limit()
    listening, admin = _bound("listen", settings.listen.host, settings.listen.port), _operators(settings)
    count = settings.listen.workers or len(os.sched_getaffinity(0))
    started = partial(_started, listening, admin, count, on_ready)
    if count == 1:
        asyncio.run(_serve(settings, listening, admin, started))
    else:
        workers.run(count, settings, partial(_runner, listening, admin), (listening, admin), started, reload_settings)


async def _runner(listening: socket.socket, admin: socket.socket | None, settings: Settings) -> GracefulRunner:
    metrics.init_label_values()
    app = await open_application(open_files.limit_connections(settings), admin)
    telemetry.install(app, settings.telemetry)
    return GracefulRunner(app, listening)


async def _serve(
    settings: Settings, listening: socket.socket, admin: socket.socket | None, started: Callable[[], None]
) -> None:
    stop = _signalled()
    runner = await _runner(listening, admin, settings)
    await runner.setup()
    try:
        started()
        await stop.wait()
    finally:
        await runner.cleanup()


def _started(
    listening: socket.socket, admin: socket.socket | None, count: int, on_ready: Callable[[str], None]
) -> None:
    url = _url(listening)
    log.info("listening", url=url, admin=_url(admin) if admin else None, workers=count)
    on_ready(url)


def _operators(settings: Settings) -> socket.socket | None:
    """The socket of the admin port, or None: the API is served even if another process uses the port."""
    if settings.admin.port is None:
        return None
    try:
        return _bound("admin", settings.admin.host, settings.admin.port)
    except ListenError as error:
        log.error("admin port not available", error=str(error))
        return None


def _bound(section: str, host: str, port: int) -> socket.socket:
    try:
        family, *_, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)[0]
        bound = socket.create_server(address[:2], family=family, backlog=BACKLOG)
    except OSError as error:
        reason = os.strerror(error.errno) if error.errno and error.errno > 0 else error.strerror
        problem = f"{section}.host, {section}.port: {host}:{port}: {reason}"
        if error.errno == errno.EADDRINUSE:
            raise AddressInUseError(f"{problem}; set CDR_API_{section.upper()}__PORT to another port") from error
        raise ListenError(problem) from error
    bound.setblocking(False)
    bound.setsockopt(socket.IPPROTO_TCP, socket.TCP_NOTSENT_LOWAT, UNSENT)  # Connections inherit it.
    return bound


def _url(bound: socket.socket) -> str:
    host, port = bound.getsockname()[:2]
    return f"http://{f'[{host}]' if ':' in host else host}:{port}"


def _signalled() -> asyncio.Event:
    """An event that SIGINT or SIGTERM sets."""
    loop, stop = asyncio.get_running_loop(), asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stop.set)
    return stop
