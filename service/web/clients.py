"""Requests under way, and clients that have gone away in the meantime.

Their requests are ended, but not at once: nearly all are answered before that, and to end a statement costs its
connection, with all that its backend has prepared.
"""

import asyncio

from aiohttp import web

from service import metrics

ROUND = 1.0  # Seconds between two looks.

UnderWay = dict["asyncio.Task[None]", web.Request]  # By the tasks of their connections.


async def watch(under_way: UnderWay) -> None:
    """Cancels what nobody waits for, again and again."""
    while True:
        metrics.REQUESTS_IN_FLIGHT.set(len(under_way))
        for task, request in list(under_way.items()):
            if request.transport is None:
                task.cancel()
        await asyncio.sleep(ROUND)
