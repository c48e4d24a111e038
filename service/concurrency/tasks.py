"""Work that is done again and again beside the requests."""

import asyncio
from collections.abc import Callable

import structlog

log = structlog.get_logger()


async def run_periodically(seconds: float, work: Callable[[], None]) -> None:
    """Does the work now and after each pause, until cancelled; what fails is logged, and done again all the same."""
    while True:
        try:
            work()
        except Exception:
            log.exception("a round failed")
        await asyncio.sleep(seconds)
