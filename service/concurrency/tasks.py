"""Work beside the requests: started in one way, so that what fails is logged, counted, restarted and reported."""

import asyncio
from collections.abc import Callable, Coroutine, Iterable
from contextvars import Context
from typing import Any

import structlog

from service.observability import metrics

log = structlog.get_logger()

Work = Callable[[], Coroutine[Any, Any, None]]

MIN_PAUSE, MAX_PAUSE = 1.0, 60.0  # Seconds before failed work is started again; each pause is twice the one before.


class BackgroundTasks:
    """Long-running work of one process, by name.

    Work that raises is logged, counted, and started again after growing pauses. It is a problem until it has returned,
    or has run for as long as its last pause.
    """

    def __init__(self, min_pause: float = MIN_PAUSE, max_pause: float = MAX_PAUSE) -> None:
        self._min_pause = min_pause
        self._max_pause = max_pause
        self._tasks: set[asyncio.Task[None]] = set()
        self._failing: dict[str, str] = {}

    @property
    def problems(self) -> dict[str, str]:
        """What failed last, by the name of the work that fails."""
        return dict(self._failing)

    def start(self, name: str, work: Work) -> asyncio.Task[None]:
        """Starts work, outside the context of the request that happens to need it first."""
        task = asyncio.create_task(self._supervise(name, work), name=name, context=Context())
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    async def stop(self) -> None:
        """Cancels all work and waits for its end."""
        await cancel_all(self._tasks)

    async def _supervise(self, name: str, work: Work) -> None:
        pause = self._min_pause
        while True:
            began = asyncio.get_running_loop().time()
            recovery = asyncio.get_running_loop().call_later(pause, self._failing.pop, name, None)
            try:
                await work()
            except (Exception, asyncio.CancelledError) as error:
                if _is_cancelled(error):
                    raise
                if asyncio.get_running_loop().time() - began > pause:
                    pause = self._min_pause
                self._failed(name, error, pause)
            else:
                self._failing.pop(name, None)
                return
            finally:
                recovery.cancel()
            await asyncio.sleep(pause)
            pause = min(2 * pause, self._max_pause)

    def _failed(self, name: str, error: BaseException, pause: float) -> None:
        self._failing[name] = f"failed with {type(error).__name__}"
        metrics.series(metrics.BACKGROUND_FAILURES, name).inc()
        log.error("background task failed", task=name, restart_in=pause, exc_info=error)


def _is_cancelled(error: BaseException) -> bool:
    """Whether the task was cancelled; a driver may raise CancelledError of its own, which is a failure."""
    task = asyncio.current_task()
    return isinstance(error, asyncio.CancelledError) and task is not None and task.cancelling() > 0


def start_once(name: str, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
    """Starts short work that nobody waits for; a failure is logged and counted."""

    async def run() -> None:
        try:
            await work
        except Exception as error:
            metrics.series(metrics.BACKGROUND_FAILURES, name).inc()
            log.error("background task failed", task=name, exc_info=error)

    return asyncio.create_task(run(), name=name, context=Context())


async def run_periodically(seconds: float, work: Callable[[], None]) -> None:
    """Does the work now and after each pause, until cancelled."""
    while True:
        work()
        await asyncio.sleep(seconds)


async def cancel_all(tasks: Iterable[asyncio.Task[Any]]) -> None:
    """Cancels again until all have ended: `asyncio.wait_for`, which aiopg uses, may swallow one on Python 3.11."""
    pending = set(tasks)
    while pending:
        for task in pending:
            task.cancel()
        _, pending = await asyncio.wait(pending, timeout=0.1)
