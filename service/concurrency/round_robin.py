"""Lets customers take turns at the event loop: in each of its rounds, one callback of one of them runs.

A request whose parsing takes long, or a hundred requests that arrive at once, would otherwise keep the event loop from
all other connections until the last of them has been parsed.
"""

import asyncio
from collections import OrderedDict, deque
from collections.abc import Callable, Hashable
from contextvars import copy_context

Callback = Callable[[], None]


class RoundRobin:
    """Runs a callback at once if none has run in this round of the event loop, else in a later round."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._context = copy_context()
        self._queues: OrderedDict[Hashable, deque[Callback]] = OrderedDict()  # In the order of turns.
        self._pending = False  # Whether `_next` will be called.

    def run(self, customer: Hashable, callback: Callback) -> None:
        """Runs the callback when it is the customer's turn."""
        if self._pending:
            self._queues.setdefault(customer, deque()).append(callback)
        else:
            self._schedule()
            callback()

    def _schedule(self) -> None:
        self._pending = True
        self._loop.call_soon(self._next, context=self._context)

    def _next(self) -> None:
        if not self._queues:
            self._pending = False
            return
        customer, queue = self._queues.popitem(last=False)
        callback = queue.popleft()
        if queue:
            self._queues[customer] = queue
        self._schedule()
        callback()
