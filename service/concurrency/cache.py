"""A cache of look-ups with a time to live; concurrent requests for a key share one look-up."""

import asyncio
import hashlib
from collections.abc import Callable, Coroutine, Hashable
from contextvars import Context
from dataclasses import dataclass
from functools import partial
from time import monotonic
from typing import Generic, TypeVar

from service.observability import metrics

Key = TypeVar("Key", bound=Hashable)
Value = TypeVar("Value")


@dataclass(slots=True)
class _Entry(Generic[Value]):
    """A look-up, the time until which its result is fresh, and the number of waiting requests."""

    task: asyncio.Task[Value]
    fresh_until: float
    waiting: int = 0


class TTLCache(Generic[Key, Value]):
    """Keeps results of at most `max_entries` keys for `seconds` from the start of the look-up; 0 disables the cache.

    Requests for a key that is being loaded wait for it. The look-up is cancelled when all waiting requests are.
    Failures are not cached. `name` labels the cache in metrics.
    """

    def __init__(self, name: str, seconds: float, max_entries: int, clock: Callable[[], float] = monotonic) -> None:
        self._name = name
        self._seconds = seconds
        self._max_entries = max_entries
        self.clock = clock
        self._entries: dict[Key, _Entry[Value]] = {}  # The oldest first.

    async def get(self, key: Key, load: Callable[[], Coroutine[None, None, Value]]) -> Value:
        """The cached result, or what `load` returns or raises."""
        entry = self._entries.get(key)
        hit = entry is not None and entry.fresh_until > self.clock()
        metrics.count_cache_request(self._name, hit=hit)
        if not self._seconds:
            return await load()
        if entry is None or not hit:
            entry = self._start(key, load())
        return entry.task.result() if entry.task.done() else await self._wait(key, entry)

    async def _wait(self, key: Key, entry: _Entry[Value]) -> Value:
        """Waits for a look-up; cancelling one waiting request does not cancel it for the others."""
        entry.waiting += 1
        try:
            return await asyncio.shield(entry.task)
        finally:
            entry.waiting -= 1
            if not entry.waiting and not entry.task.done():
                self._forget(key, entry.task)
                entry.task.cancel()

    def _start(self, key: Key, load: Coroutine[None, None, Value]) -> _Entry[Value]:
        """Starts a look-up in an empty context, so that its statements are not charged to the first request."""
        task = asyncio.create_task(load, context=Context())
        self._entries.pop(key, None)
        if len(self._entries) >= self._max_entries:
            del self._entries[next(iter(self._entries))]
        entry = self._entries[key] = _Entry(task, self.clock() + self._seconds)
        task.add_done_callback(partial(self._forget_failed, key))
        return entry

    def _forget_failed(self, key: Key, task: "asyncio.Task[Value]") -> None:
        if task.cancelled() or task.exception():
            self._forget(key, task)

    def _forget(self, key: Key, task: "asyncio.Task[Value]") -> None:
        entry = self._entries.get(key)
        if entry is not None and entry.task is task:
            del self._entries[key]


def digest(*parts: object) -> bytes:
    """A key of constant size for values that are equal if their `repr` is."""
    return hashlib.sha256(repr(parts).encode("utf-8", "surrogatepass")).digest()
