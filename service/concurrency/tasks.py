"""Background tasks. Failures are logged, counted and reported, and the task is restarted."""

import asyncio
from collections.abc import Callable, Coroutine, Iterable
from contextvars import Context
from typing import Any

import structlog

from service.observability import metrics

log = structlog.get_logger()

Work = Callable[[], Coroutine[Any, Any, None]]

MIN_PAUSE, MAX_PAUSE = 1.0, 60.0  # Seconds before a failed task is restarted; the pause doubles each time.


class BackgroundTasks:
    """Long-running tasks of one process, by name.

    A task that raises is restarted after growing pauses. It counts as a problem until it has returned, or has run for
    as long as its last pause.
    """

    def __init__(self, min_pause: float = MIN_PAUSE, max_pause: float = MAX_PAUSE) -> None:
        self._min_pause = min_pause
        self._max_pause = max_pause
        self._tasks: set[asyncio.Task[None]] = set()
        self._failing: dict[str, str] = {}

    @property
    def problems(self) -> dict[str, str]:
        """The last failure of each failing task, by name."""
        return dict(self._failing)

    def start(self, name: str, work: Work) -> asyncio.Task[None]:
        """Starts a task in an empty context, not in that of the current request."""
        task = asyncio.create_task(self._supervise(name, work), name=name, context=Context())
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    async def stop(self) -> None:
        """Cancels all tasks and waits for their end."""
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
    """True if the task was cancelled; aiopg also raises CancelledError for failures."""
    task = asyncio.current_task()
    return isinstance(error, asyncio.CancelledError) and task is not None and task.cancelling() > 0


def start_once(name: str, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
    """Starts a short task that is not awaited; a failure is logged and counted."""

    async def run() -> None:
        try:
            await work
        except Exception as error:
            metrics.series(metrics.BACKGROUND_FAILURES, name).inc()
            log.error("background task failed", task=name, exc_info=error)

    return asyncio.create_task(run(), name=name, context=Context())


async def run_periodically(seconds: float, work: Callable[[], None]) -> None:
    """Calls `work` now and every `seconds`, until cancelled."""
    while True:
        work()
        await asyncio.sleep(seconds)


async def cancel_all(tasks: Iterable[asyncio.Task[Any]]) -> None:
    """Cancels repeatedly until all tasks have ended: on Python 3.11, `wait_for` in aiopg may swallow a cancellation."""
    pending = set(tasks)
    while pending:
        for task in pending:
            task.cancel()
        _, pending = await asyncio.wait(pending, timeout=0.1)
