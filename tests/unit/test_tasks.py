"""Work beside the requests."""

import asyncio

import pytest

from service.concurrency.tasks import run_periodically


async def test_what_fails_is_said_and_done_again(capsys: pytest.CaptureFixture[str]) -> None:
    done, enough = [], asyncio.Event()

    def work() -> None:
        done.append(len(done))
        if len(done) == 1:
            raise RuntimeError("broken")
        enough.set()

    task = asyncio.create_task(run_periodically(0, work))
    async with asyncio.timeout(20):
        await enough.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert done[:2] == [0, 1]
    assert "a round failed" in capsys.readouterr().out
