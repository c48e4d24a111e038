"""Several processes on one address: gunicorn starts them, replaces those that die, reloads and stops them."""

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

MARGIN = 5  # Seconds beyond the time that requests have to finish, before a worker is killed.
STUCK = 30  # Seconds beyond that without a sign of life.

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
    """Serves with `count` processes until a signal; `make` gives the runner of a worker. Exits with 0, or 1."""
    master = os.getpid()
    metrics.enable_multiprocess(folder := tempfile.mkdtemp(prefix="cdr-api-metrics-"))
    try:
        _Master(_Application(count, settings, make, sockets, started, reload_settings)).run()
    except SystemExit as end:  # In a worker too, which was forked below.
        if os.getpid() == master:
            shutil.rmtree(folder)
            raise SystemExit(min(abs(int(end.code or 0)), 1)) from end
        raise


class _Application(BaseApplication):  # type: ignore[misc] # gunicorn has no types.
    """What gunicorn asks for: its own configuration, and what a worker serves."""

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
            "bind": [],  # The runner listens itself.
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
        """Is called in each worker."""

        async def runner() -> web.AppRunner:
            return await self.make(self.settings)

        return runner

    def reload(self) -> None:
        """On SIGHUP the workers that follow get new settings, if these can be used; addresses and count stay."""
        try:
            self.settings = self.reload_settings() if self.reload_settings else self.settings
        except SettingsError as error:
            log.error("invalid settings, keeping the old ones", problems=error.problems)

    def close(self) -> None:
        for listening in self.sockets:
            if listening is not None:
                listening.close()


class _Master(Arbiter):  # type: ignore[misc] # gunicorn has no types.
    """Lets go of the addresses before it waits for the workers, so that no connection waits for a dead process."""

    def stop(self, graceful: bool = True) -> None:
        self.app.close()
        super().stop(graceful)


class _Log(Logger):  # type: ignore[misc] # gunicorn has no types.
    """Writes warnings and worse to the log of the program."""

    def setup(self, cfg: object) -> None:
        self.cfg = cfg
        self.error_log.setLevel(logging.WARNING)
        self.error_log.propagate = True
