"""A concurrency limit that is fair among customers: the customer with the fewest slots is served next."""

import asyncio
from collections import Counter, OrderedDict, deque
from collections.abc import AsyncIterator, Hashable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from math import inf

from service.observability import metrics

Queue = deque[asyncio.Future[None]]


class LimitExceededError(Exception):
    """No slot is free, and the queue is full or the wait was too long. `reason`: queue, customer_queue or wait."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


@dataclass(frozen=True, slots=True)
class LimiterSettings:
    """Numbers of slots and of queued requests, in total and for each customer; `wait` is in seconds.

    `customer_concurrency` applies while no other customer is active; see `FairLimiter`.
    """

    concurrency: int
    customer_concurrency: int
    queue: int = 1000
    customer_queue: int = 1000
    wait: float = inf


class Slot:
    """Permission for one unit of work, until it is released."""

    def __init__(self, limiter: "FairLimiter", customer: Hashable) -> None:
        self._limiter: FairLimiter | None = limiter
        self._customer = customer

    def release(self) -> None:
        """Passes the slot to the next in the queue; a second call has no effect."""
        if self._limiter is not None:
            limiter, self._limiter = self._limiter, None
            limiter._release(self._customer)


class FairLimiter:
    """Assigns slots to the customer with the fewest slots; among equals, to the one served least recently.

    Slots are kept free for new customers: with n active customers, none gets more than 1/(n+1) of all slots. Customers
    whose last request failed get at most half of all slots together, so that those of a server that hangs do not
    occupy all. A full queue refuses the newest request of the customer with the longest queue.
    """

    def __init__(self, limits: LimiterSettings) -> None:
        self._limits = limits
        self._half = max(1, limits.concurrency // 2)
        self._active: Counter[Hashable] = Counter()
        self._queues: OrderedDict[Hashable, Queue] = OrderedDict()  # The customer served least recently first.
        self._failing: set[Hashable] = set()
        self.waiting = 0

    def report(self, customer: Hashable, *, failed: bool) -> None:
        """Notes whether the last request of the customer failed. Call it before releasing the slot."""
        if failed:
            self._failing.add(customer)
        else:
            self._failing.discard(customer)

    @asynccontextmanager
    async def slot(self, customer: Hashable, wait: float | None = None) -> AsyncIterator[Slot]:
        """A slot while the block lasts, or until it is released. Raises LimitExceededError."""
        slot = await self.acquire(customer, wait)
        try:
            yield slot
        finally:
            slot.release()

    async def acquire(self, customer: Hashable, wait: float | None = None) -> Slot:
        """A slot, which the caller releases. `wait` is in seconds, default: settings. Raises LimitExceededError."""
        if self._has_slot(customer):
            self._active[customer] += 1
        else:
            await self._wait(customer, self._limits.wait if wait is None else wait)
        return Slot(self, customer)

    def _has_slot(self, customer: Hashable) -> bool:
        """True if the customer can have a slot now. A queued request would have it already, so none is overtaken."""
        limits = self._limits
        if customer in self._failing and sum(map(self._active.__getitem__, self._failing)) >= self._half:
            return False
        return self._active.total() < limits.concurrency and self._active[customer] < self._share(customer)

    def _share(self, customer: Hashable) -> int:
        """The number of slots that the customer may have now."""
        customers = len(self._active.keys() | self._queues.keys() | {customer})
        share = self._limits.customer_concurrency
        return share if customers == 1 else max(1, min(share, self._limits.concurrency // (customers + 1)))

    async def _wait(self, customer: Hashable, seconds: float) -> None:
        self._make_room(customer)
        turn = asyncio.get_running_loop().create_future()
        self._queues.setdefault(customer, deque()).append(turn)
        self.waiting += 1
        try:
            with metrics.REQUESTS_WAITING.track_inprogress():
                async with asyncio.timeout(None if seconds == inf else seconds):
                    await turn
        except BaseException as error:
            self._give_up(customer, turn)
            if isinstance(error, TimeoutError):
                raise LimitExceededError("wait") from error
            raise

    def _make_room(self, customer: Hashable) -> None:
        """Raises LimitExceededError, here or in the newest request of the customer with the longest queue."""
        own = len(self._queues.get(customer, ()))
        if own >= self._limits.customer_queue:
            raise LimitExceededError("customer_queue")
        if self.waiting < self._limits.queue:
            return
        longest = max(self._queues, key=lambda other: len(self._queues[other]), default=customer)
        if len(self._queues.get(longest, ())) <= own + 1:
            raise LimitExceededError("queue")
        turn = self._queues[longest][-1]
        self._remove(longest, turn)
        if not turn.done():
            turn.set_exception(LimitExceededError("queue"))

    def _give_up(self, customer: Hashable, turn: asyncio.Future[None]) -> None:
        """Leaves the queue, or releases the slot if it was assigned at the moment of cancellation."""
        if turn.done() and not turn.cancelled() and turn.exception() is None:
            self._release(customer)
        elif turn in self._queues.get(customer, ()):
            self._remove(customer, turn)

    def _release(self, customer: Hashable) -> None:
        self._active[customer] -= 1
        if not self._active[customer]:
            del self._active[customer]
        if customer in self._queues:
            self._queues.move_to_end(customer)
        while (following := self._next_customer()) is not None:
            turn = self._queues[following][0]
            self._remove(following, turn)
            if not turn.done():  # It is done if its request was cancelled but has not run since.
                self._active[following] += 1
                turn.set_result(None)

    def _next_customer(self) -> Hashable | None:
        return min(filter(self._has_slot, self._queues), key=self._active.__getitem__, default=None)

    def _remove(self, customer: Hashable, turn: asyncio.Future[None]) -> None:
        queue = self._queues[customer]
        queue.remove(turn)
        self.waiting -= 1
        if not queue:
            del self._queues[customer]
