"""Settings to a listening server, until a signal ends it."""

import asyncio
import signal
from collections.abc import Callable

import structlog
from aiohttp import web

from service.app import create
from service.settings import Settings

LONGEST_LINE = 65536  # Bytes of a request's first line: all filters at once fit, and some thousand values of one.

log = structlog.get_logger()


class CannotListen(Exception):
    """The address cannot be listened on; the message says why."""


def run(settings: Settings, ready: Callable[[str], None] = lambda url: None) -> None:
    """Serves until SIGINT or SIGTERM; `ready` gets the URL once requests are taken. Raises CannotListen."""
    asyncio.run(_serve(settings, ready))


async def _serve(settings: Settings, ready: Callable[[str], None]) -> None:
    stop = _signalled()
    runner = web.AppRunner(create(settings), access_log=None, handler_cancellation=True, max_line_size=LONGEST_LINE)
    await runner.setup()
    try:
        host, port = await _listen(runner, settings)
        url = f"http://{f'[{host}]' if ':' in host else host}:{port}"
        log.info("listening", url=url)
        ready(url)
        await stop.wait()
        log.info("stopping")
    finally:
        await runner.cleanup()


async def _listen(runner: web.AppRunner, settings: Settings) -> tuple[str, int]:
    listen = settings.listen
    try:
        await web.TCPSite(runner, listen.host, listen.port).start()
    except OSError as error:
        raise CannotListen(f"listen.host, listen.port: {listen.host}:{listen.port}: {error.strerror}") from error
    host, port = runner.addresses[0][:2]
    return host, port


def _signalled() -> asyncio.Event:
    """Is set by the first signal to stop, however early it comes."""
    loop, stop = asyncio.get_running_loop(), asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stop.set)
    return stop
