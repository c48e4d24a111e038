"""Look-ups kept for some seconds: a key in, what was found for it out, whoever asked first."""

import asyncio
from collections.abc import Callable, Coroutine, Hashable
from functools import partial
from time import monotonic
from typing import Generic, TypeVar

from service.observability import metrics

Key = TypeVar("Key", bound=Hashable)
Value = TypeVar("Value")


class TTLCache(Generic[Key, Value]):
    """Answers from at most `most` keys' look-ups, none begun more than `seconds` ago; 0 looks up for each request.

    Who asks while a look-up is under way waits for that one. What fails is not kept. `cache` names it in metrics.
    """

    def __init__(self, cache: str, seconds: float, most: int) -> None:
        self.hits = self.misses = 0
        self._cache = cache
        self._seconds = seconds
        self._most = most
        self._entries: dict[Key, tuple[float, asyncio.Task[Value]]] = {}  # The oldest first.

    async def get(self, key: Key, load: Callable[[], Coroutine[None, None, Value]]) -> Value:
        """What is known of the key, or what the look-up finds; raises what it raises. Only the key is kept of it."""
        until, task = self._entries.get(key, (0.0, None))
        known = task is not None and until > monotonic()
        self._count(known)
        if not self._seconds:
            return await load()
        if task is None or not known:
            task = self._start(key, load())
        # One who no longer waits does not end it for the others.
        return task.result() if task.done() else await asyncio.shield(task)

    def _count(self, known: bool) -> None:
        self.hits += known
        self.misses += not known
        metrics.count_cache_request(self._cache, hit=known)

    def _start(self, key: Key, load: Coroutine[None, None, Value]) -> asyncio.Task[Value]:
        """Counted from its beginning, since what it reads may change while it is under way."""
        task = asyncio.create_task(load)
        self._entries.pop(key, None)
        if len(self._entries) >= self._most:
            del self._entries[next(iter(self._entries))]
        self._entries[key] = (monotonic() + self._seconds, task)
        task.add_done_callback(partial(self._forget_failed, key))
        return task

    def _forget_failed(self, key: Key, task: "asyncio.Task[Value]") -> None:
        failed = task.cancelled() or task.exception()
        if failed and self._entries.get(key, (0.0, None))[1] is task:
            del self._entries[key]
