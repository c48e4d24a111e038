"""Places to work in, few at once and fairly shared: whoever has the least work under way comes next."""

import asyncio
from collections import Counter, OrderedDict, deque
from collections.abc import Callable, Hashable
from dataclasses import dataclass

from service.observability import metrics

Waiting = deque[asyncio.Future[None]]


class LimitExceededError(Exception):
    """There is no place, nor one to wait in; `reason` is queue, customer_queue or wait."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


@dataclass(frozen=True, slots=True)
class LimiterSettings:
    """How many may be at work and may wait, of all and of one, and for how many seconds."""

    concurrency: int
    customer_concurrency: int
    queue: int
    customer_queue: int
    wait: float


class FairLimiter:
    """Lends places to customers, first to who holds the fewest, and of these to who has waited longest for a turn."""

    def __init__(self, limits: LimiterSettings) -> None:
        self._limits = limits
        self._active: Counter[Hashable] = Counter()
        self._queues: OrderedDict[Hashable, Waiting] = OrderedDict()  # In the order of turns.

    @property
    def waiting(self) -> int:
        """How many wait."""
        return sum(map(len, self._queues.values()))

    async def acquire(self, customer: Hashable) -> Callable[[], None]:
        """A function that releases the slot; further calls have no effect. Raises LimitExceededError."""
        if self._has_slot(customer):
            self._active[customer] += 1
        else:
            await self._wait(customer)
        held = [customer]
        return lambda: self._release(held.pop()) if held else None

    def _has_slot(self, customer: Hashable) -> bool:
        """Whoever waits for a place that is free is limited by its own share, so that nobody is overtaken."""
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
            self._drop(customer, turn)

    def _release(self, customer: Hashable) -> None:
        self._active[customer] -= 1
        if not self._active[customer]:
            del self._active[customer]
        while self._queues and (following := self._next_customer()) is not None:
            turn = self._queues[following][0]
            self._drop(following, turn)
            if not turn.done():  # It is, where somebody has gone away and does not know it yet.
                self._active[following] += 1
                turn.set_result(None)
                return

    def _next_customer(self) -> Hashable | None:
        return min(filter(self._has_slot, self._queues), key=self._active.__getitem__, default=None)

    def _drop(self, customer: Hashable, turn: asyncio.Future[None]) -> None:
        """Takes a turn out of its customer's row, which then waits behind the others."""
        row = self._queues[customer]
        row.remove(turn)
        if row:
            self._queues.move_to_end(customer)
        else:
            del self._queues[customer]
