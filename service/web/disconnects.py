"""Requests under way, and clients that have gone away in the meantime.

Their requests are ended, but not at once: nearly all are answered before that, and to end a statement costs its
connection, with all that its backend has prepared.
"""

import asyncio

from service.concurrency.tasks import run_periodically
from service.observability import metrics
from service.web.keys import InFlight

INTERVAL = 1.0  # Seconds between two looks.


async def watch(under_way: InFlight) -> None:
    """Cancels, again and again, what nobody has waited for since the last look."""
    left: set[asyncio.Task[None]] = set()

    def look() -> None:
        gone = {task for task, request in under_way.items() if request.transport is None}
        for task in left & gone:
            task.cancel()
        left.clear()
        left.update(gone)
        metrics.REQUESTS_IN_FLIGHT.set(len(under_way))

    await run_periodically(INTERVAL, look)
