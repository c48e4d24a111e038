"""A limit of concurrent work that is fair among customers: whoever has the least work under way comes next."""

import asyncio
from collections import Counter, OrderedDict, deque
from collections.abc import AsyncIterator, Hashable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from math import inf

from service.observability import metrics

Queue = deque[asyncio.Future[None]]


class LimitExceededError(Exception):
    """There is no free slot, and no room to wait for one; `reason` is queue, customer_queue or wait."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


@dataclass(frozen=True, slots=True)
class LimiterSettings:
    """How many pieces of work may be under way and may wait, of all customers and of one, and for how many seconds.

    `customer_concurrency` holds while no other customer has work; see `FairLimiter`.
    """

    concurrency: int
    customer_concurrency: int
    queue: int = 1000
    customer_queue: int = 1000
    wait: float = inf


class Slot:
    """Room for one piece of work, until it is released."""

    def __init__(self, limiter: "FairLimiter", customer: Hashable) -> None:
        self._limiter: FairLimiter | None = limiter
        self._customer = customer

    def release(self) -> None:
        """Gives the slot to the next in line; a second call has no effect."""
        if self._limiter is not None:
            limiter, self._limiter = self._limiter, None
            limiter._release(self._customer)


class FairLimiter:
    """Lends slots to customers: first to those that hold the fewest, then in the order of their last turn.

    Slots are kept free for customers that come later: with n customers at work, none takes more than the n+1st part of
    all slots. A full queue refuses the newest request of the customer with the longest queue.
    """

    def __init__(self, limits: LimiterSettings) -> None:
        self._limits = limits
        self._active: Counter[Hashable] = Counter()
        self._queues: OrderedDict[Hashable, Queue] = OrderedDict()  # In the order of turns.
        self.waiting = 0

    @asynccontextmanager
    async def slot(self, customer: Hashable, wait: float | None = None) -> AsyncIterator[Slot]:
        """A slot while the block lasts, or until it is released. Raises LimitExceededError."""
        slot = await self.acquire(customer, wait)
        try:
            yield slot
        finally:
            slot.release()

    async def acquire(self, customer: Hashable, wait: float | None = None) -> Slot:
        """A slot, to be released. `wait` is in seconds, by default that of the settings. Raises LimitExceededError."""
        if self._has_slot(customer):
            self._active[customer] += 1
        else:
            await self._wait(customer, self._limits.wait if wait is None else wait)
        return Slot(self, customer)

    def _has_slot(self, customer: Hashable) -> bool:
        """Slots are given as soon as they are free, so a request that gets one at once overtakes nobody."""
        limits = self._limits
        return self._active.total() < limits.concurrency and self._active[customer] < self._share(customer)

    def _share(self, customer: Hashable) -> int:
        """How many slots the customer may take now."""
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
        """The turn may have come in the very moment in which it was no longer wanted."""
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
