"""Places to work in, few at once and fairly shared: whoever has the least work under way comes next."""

import asyncio
from collections import Counter, OrderedDict, deque
from collections.abc import Callable, Hashable
from dataclasses import dataclass

from service import metrics

Waiting = deque[asyncio.Future[None]]


class Full(Exception):
    """There is no place, nor one to wait in; `reason` is queue, customer_queue or wait."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


@dataclass(frozen=True, slots=True)
class Bounds:
    """How many may be at work and may wait, of all and of one, and for how many seconds."""

    concurrency: int
    customer_concurrency: int
    queue: int
    customer_queue: int
    wait: float


class Turns:
    """Lends places to customers, first to who holds the fewest, and of these to who has waited longest for a turn."""

    def __init__(self, bounds: Bounds) -> None:
        self._bounds = bounds
        self._working: Counter[Hashable] = Counter()
        self._waiting: OrderedDict[Hashable, Waiting] = OrderedDict()  # In the order of turns.

    @property
    def waiting(self) -> int:
        """How many wait."""
        return sum(map(len, self._waiting.values()))

    async def take(self, customer: Hashable) -> Callable[[], None]:
        """A place, until what is returned is called; calling it again does no harm. Raises Full if none may wait."""
        if self._has_place(customer):
            self._working[customer] += 1
        else:
            await self._wait(customer)
        held = [customer]
        return lambda: self._leave(held.pop()) if held else None

    def _has_place(self, customer: Hashable) -> bool:
        """Whoever waits for a place that is free is limited by its own share, so that nobody is overtaken."""
        bounds = self._bounds
        return self._working.total() < bounds.concurrency and self._working[customer] < bounds.customer_concurrency

    async def _wait(self, customer: Hashable) -> None:
        if self.waiting >= self._bounds.queue:
            raise Full("queue")
        if len(self._waiting.get(customer, ())) >= self._bounds.customer_queue:
            raise Full("customer_queue")
        turn = asyncio.get_running_loop().create_future()
        self._waiting.setdefault(customer, deque()).append(turn)
        try:
            with metrics.REQUESTS_WAITING.track_inprogress():
                async with asyncio.timeout(self._bounds.wait):
                    await turn
        except BaseException as error:
            self._give_up(customer, turn)
            if isinstance(error, TimeoutError):
                raise Full("wait") from error
            raise

    def _give_up(self, customer: Hashable, turn: asyncio.Future[None]) -> None:
        """The turn may have come in the very moment in which it was no longer wanted."""
        if turn.done() and not turn.cancelled():
            self._leave(customer)
        elif turn in self._waiting.get(customer, ()):
            self._drop(customer, turn)

    def _leave(self, customer: Hashable) -> None:
        self._working[customer] -= 1
        if not self._working[customer]:
            del self._working[customer]
        while self._waiting and (following := self._following()) is not None:
            turn = self._waiting[following][0]
            self._drop(following, turn)
            if not turn.done():  # It is, where somebody has gone away and does not know it yet.
                self._working[following] += 1
                turn.set_result(None)
                return

    def _following(self) -> Hashable | None:
        return min(filter(self._has_place, self._waiting), key=self._working.__getitem__, default=None)

    def _drop(self, customer: Hashable, turn: asyncio.Future[None]) -> None:
        """Takes a turn out of its customer's row, which then waits behind the others."""
        row = self._waiting[customer]
        row.remove(turn)
        if row:
            self._waiting.move_to_end(customer)
        else:
            del self._waiting[customer]
