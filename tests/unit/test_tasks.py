"""Background tasks: failures are logged, counted and reported until the restarted task runs."""

import asyncio

import pytest

from service.concurrency.tasks import BackgroundTasks, run_periodically, start_once
from service.observability import metrics
from tests.load import until


def failures(name: str) -> float:
    return metrics.REGISTRY.get_sample_value("cdr_api_background_failures_total", {"task": name}) or 0


@pytest.mark.parametrize("error", [RuntimeError("broken"), asyncio.CancelledError()], ids=["error", "stray cancel"])
async def test_work_that_fails_is_logged_counted_and_started_again(
    capsys: pytest.CaptureFixture[str], error: BaseException
) -> None:
    tasks, before, starts, mended = BackgroundTasks(0.01, 0.02), failures("work"), 0, asyncio.Event()

    async def work() -> None:
        nonlocal starts
        starts += 1
        if not mended.is_set():
            raise error
        await asyncio.Event().wait()

    tasks.start("work", work)
    await until(lambda: starts > 3)
    assert tasks.problems == {"work": f"failed with {type(error).__name__}"}
    assert failures("work") - before >= 3
    mended.set()
    await until(lambda: not tasks.problems)
    running = starts
    await tasks.stop()
    assert starts == running
    assert "background task failed" in capsys.readouterr().out


async def test_pauses_grow_to_their_limit(capsys: pytest.CaptureFixture[str]) -> None:
    tasks, starts = BackgroundTasks(0.001, 0.004), 0

    async def work() -> None:
        nonlocal starts
        starts += 1
        raise RuntimeError

    tasks.start("work", work)
    await until(lambda: starts > 5)
    await tasks.stop()
    lines = [line for line in capsys.readouterr().out.splitlines() if "background task failed" in line]
    assert [line.partition("restart_in=")[2].split()[0] for line in lines[:4]] == ["0.001", "0.002", "0.004", "0.004"]


async def test_work_that_returns_is_not_started_again() -> None:
    tasks, starts = BackgroundTasks(0, 0), 0

    async def work() -> None:
        nonlocal starts
        starts += 1

    await tasks.start("work", work)
    assert (starts, tasks.problems) == (1, {})


async def test_periodic_work_is_done_again() -> None:
    tasks, done = BackgroundTasks(0, 0), 0

    def work() -> None:
        nonlocal done
        done += 1

    tasks.start("work", lambda: run_periodically(0, work))
    await until(lambda: done > 2)
    await tasks.stop()


async def test_short_work_that_fails_is_logged_and_counted(capsys: pytest.CaptureFixture[str]) -> None:
    before = failures("short")

    async def work() -> None:
        raise RuntimeError

    await start_once("short", work())
    assert failures("short") == before + 1
    assert "background task failed" in capsys.readouterr().out
