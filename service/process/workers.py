"""Several worker processes on one address, supervised by gunicorn."""

import logging
import math
import os
import shutil
import socket
import tempfile
from collections.abc import Awaitable, Callable, Sequence

import structlog
from aiohttp import web
from gunicorn.app.base import BaseApplication
from gunicorn.arbiter import Arbiter
from gunicorn.glogging import Logger

from service.observability import metrics
from service.settings import Settings, SettingsError

MARGIN = 5  # Seconds after listen.shutdown_timeout until a stopping worker is killed.
STUCK = 30  # Seconds beyond that without a heartbeat until a worker is killed.

log = structlog.get_logger()

Make = Callable[[Settings], Awaitable[web.AppRunner]]
Sockets = Sequence[socket.socket | None]


def run(
    count: int,
    settings: Settings,
    make: Make,
    sockets: Sockets,
    started: Callable[[], None],
    reload_settings: Callable[[], Settings] | None,
) -> None:
    """Serves with `count` processes until a signal. `make` creates the runner of a worker. Exits with 0 or 1."""
    master = os.getpid()
    metrics.enable_multiprocess(folder := tempfile.mkdtemp(prefix="cdr-api-metrics-"))
    try:
        _Master(_Application(count, settings, make, sockets, started, reload_settings)).run()
    except SystemExit as end:  # Also raised in forked workers.
        if os.getpid() == master:
            shutil.rmtree(folder)
            raise SystemExit(min(abs(int(end.code or 0)), 1)) from end
        raise


class _Application(BaseApplication):  # type: ignore[misc] # gunicorn has no types.
    """gunicorn's application: its configuration, and the runner of a worker."""

    def __init__(
        self,
        count: int,
        settings: Settings,
        make: Make,
        sockets: Sockets,
        started: Callable[[], None],
        reload_settings: Callable[[], Settings] | None,
    ) -> None:
        self.count = count
        self.settings = settings
        self.make = make
        self.sockets = sockets
        self.started = started
        self.reload_settings = reload_settings
        super().__init__()

    def load_config(self) -> None:
        graceful = math.ceil(self.settings.listen.shutdown_timeout) + MARGIN
        for name, value in {
            "bind": [],  # The sockets are already bound.
            "workers": self.count,
            "worker_class": "aiohttp.GunicornWebWorker",
            "graceful_timeout": graceful,
            "timeout": graceful + STUCK,
            "logger_class": _Log,
            "control_socket_disable": True,
            "when_ready": lambda _: self.started(),
            "child_exit": lambda _, worker: metrics.worker_exited(worker.pid),
        }.items():
            self.cfg.set(name, value)

    def load(self) -> Callable[[], Awaitable[web.AppRunner]]:
        """Called in each worker."""

        async def runner() -> web.AppRunner:
            return await self.make(self.settings)

        return runner

    def reload(self) -> None:
        """On SIGHUP: new workers get the new settings if they are valid. Addresses and worker count do not change."""
        try:
            self.settings = self.reload_settings() if self.reload_settings else self.settings
        except SettingsError as error:
            log.error("invalid settings, keeping the old ones", problems=error.problems)

    def close(self) -> None:
        for listening in self.sockets:
            if listening is not None:
                listening.close()


class _Master(Arbiter):  # type: ignore[misc] # gunicorn has no types.
    """Closes the listening sockets before it waits for the workers, so that no connection stays in their queues."""

    def stop(self, graceful: bool = True) -> None:
        self.app.close()
        super().stop(graceful)


class _Log(Logger):  # type: ignore[misc] # gunicorn has no types.
    """Forwards warnings and errors to the log of the service."""

    def setup(self, cfg: object) -> None:
        self.cfg = cfg
        self.error_log.setLevel(logging.WARNING)
        self.error_log.propagate = True
