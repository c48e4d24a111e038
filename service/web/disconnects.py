"""Cancels requests of disconnected clients.

Not immediately: nearly all requests finish soon, and cancelling a statement costs its connection and the backend's
caches.
"""

import asyncio

from service.concurrency.tasks import run_periodically
from service.observability import metrics
from service.web.keys import InFlight

INTERVAL = 1.0  # Seconds between checks.


async def watch(under_way: InFlight) -> None:
    """Cancels requests whose clients were already disconnected at the previous check."""
    left: set[asyncio.Task[None]] = set()

    def look() -> None:
        gone = {task for task, request in under_way.items() if request.transport is None}
        for task in left & gone:
            task.cancel()
        left.clear()
        left.update(gone)
        metrics.REQUESTS_IN_FLIGHT.set(len(under_way))

    await run_periodically(INTERVAL, look)
