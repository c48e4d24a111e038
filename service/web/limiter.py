"""A limit of concurrent work that is fair among customers: whoever has the least work under way comes next."""

import asyncio
from collections import Counter, OrderedDict, deque
from collections.abc import Hashable
from dataclasses import dataclass

from service.observability import metrics

Queue = deque[asyncio.Future[None]]


class LimitExceededError(Exception):
    """There is no free slot, and no room to wait for one; `reason` is queue, customer_queue or wait."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


@dataclass(frozen=True, slots=True)
class LimiterSettings:
    """How many requests may be at work and may wait, of all customers and of one, and for how many seconds."""

    concurrency: int
    customer_concurrency: int
    queue: int
    customer_queue: int
    wait: float


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
    """Lends slots to customers: first to those that hold the fewest, then in the order of their last turn."""

    def __init__(self, limits: LimiterSettings) -> None:
        self._limits = limits
        self._active: Counter[Hashable] = Counter()
        self._queues: OrderedDict[Hashable, Queue] = OrderedDict()  # In the order of turns.

    @property
    def waiting(self) -> int:
        """The number of requests that wait."""
        return sum(map(len, self._queues.values()))

    async def acquire(self, customer: Hashable) -> Slot:
        """A slot, to be released. Raises LimitExceededError."""
        if self._has_slot(customer):
            self._active[customer] += 1
        else:
            await self._wait(customer)
        return Slot(self, customer)

    def _has_slot(self, customer: Hashable) -> bool:
        """If a slot is free, every queued request belongs to a customer at its own limit, so nobody is overtaken."""
        limits = self._limits
        return self._active.total() < limits.concurrency and self._active[customer] < limits.customer_concurrency

    async def _wait(self, customer: Hashable) -> None:
        if self.waiting >= self._limits.queue:
            raise LimitExceededError("queue")
        if len(self._queues.get(customer, ())) >= self._limits.customer_queue:
            raise LimitExceededError("customer_queue")
        turn = asyncio.get_running_loop().create_future()
        self._queues.setdefault(customer, deque()).append(turn)
        try:
            with metrics.REQUESTS_WAITING.track_inprogress():
                async with asyncio.timeout(self._limits.wait):
                    await turn
        except BaseException as error:
            self._give_up(customer, turn)
            if isinstance(error, TimeoutError):
                raise LimitExceededError("wait") from error
            raise

    def _give_up(self, customer: Hashable, turn: asyncio.Future[None]) -> None:
        """The turn may have come in the very moment in which it was no longer wanted."""
        if turn.done() and not turn.cancelled():
            self._release(customer)
        elif turn in self._queues.get(customer, ()):
            self._remove(customer, turn)

    def _release(self, customer: Hashable) -> None:
        self._active[customer] -= 1
        if not self._active[customer]:
            del self._active[customer]
        while self._queues and (following := self._next_customer()) is not None:
            turn = self._queues[following][0]
            self._remove(following, turn)
            if not turn.done():  # It is done if its request was cancelled but has not run since.
                self._active[following] += 1
                turn.set_result(None)
                return

    def _next_customer(self) -> Hashable | None:
        return min(filter(self._has_slot, self._queues), key=self._active.__getitem__, default=None)

    def _remove(self, customer: Hashable, turn: asyncio.Future[None]) -> None:
        """Takes a turn out of its customer's queue, which then waits behind the others."""
        queue = self._queues[customer]
        queue.remove(turn)
        if queue:
            self._queues.move_to_end(customer)
        else:
            del self._queues[customer]
