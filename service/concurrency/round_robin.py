"""Fair scheduling on the event loop: one callback per iteration, of one customer after the other.

Otherwise, a request whose parsing takes long, or many requests that arrive at once, would block all other connections.
"""

import asyncio
from collections import OrderedDict, deque
from collections.abc import Callable, Hashable
from contextvars import copy_context

Callback = Callable[[], None]


class RoundRobin:
    """Runs a callback immediately if none has run in this iteration of the event loop, else in a later one."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._context = copy_context()
        self._queues: OrderedDict[Hashable, deque[Callback]] = OrderedDict()  # The next customer first.
        self._pending = False  # True if `_next` is scheduled.

    def run(self, customer: Hashable, callback: Callback) -> None:
        """Runs the callback, immediately or in the customer's turn."""
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
