"""The cache: lifetime, size, and the cost of concurrent requests."""

import asyncio
from collections.abc import Callable
from functools import partial

import pytest

from service.concurrency.cache import TTLCache
from service.observability import timings
from tests.conftest import cache_requests

SECONDS = 5.0


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


Counts = Callable[[], tuple[int, int]]


@pytest.fixture
def counts() -> Counts:
    """Hits and misses since the test began."""
    begun = cache_requests("test")
    return lambda: (cache_requests("test")[0] - begun[0], cache_requests("test")[1] - begun[1])


class Table:
    """What is looked up; a look-up waits as long as the gate is closed."""

    def __init__(self) -> None:
        self.value: str | None = "first"
        self.reads = 0
        self.failure: Exception | None = None
        self.gate = asyncio.Event()
        self.gate.set()

    async def read(self, key: int) -> str | None:
        self.reads += 1
        value, failure = self.value, self.failure
        await self.gate.wait()
        if failure:
            raise failure
        return value


def cache_of(clock: Clock, seconds: float = SECONDS, most: int = 10) -> TTLCache[int, str | None]:
    return TTLCache("test", seconds, most, clock)


async def others() -> None:
    """Lets everything run that can."""
    for _ in range(20):
        await asyncio.sleep(0)


@pytest.mark.parametrize("value", ["first", None])
async def test_what_was_found_or_not_is_kept_for_its_seconds_and_no_longer(
    clock: Clock, counts: Counts, value: str | None
) -> None:
    table = Table()
    table.value = value
    cache = cache_of(clock)
    assert await cache.get(1, partial(table.read, 1)) == value
    table.value = "second"
    clock.now += SECONDS - 0.001
    assert await cache.get(1, partial(table.read, 1)) == value
    clock.now += 0.001
    assert await cache.get(1, partial(table.read, 1)) == "second"
    assert (*counts(), table.reads) == (1, 2, 2)


async def test_zero_seconds_read_every_time(clock: Clock, counts: Counts) -> None:
    table = Table()
    cache = cache_of(clock, seconds=0)
    table.gate.clear()
    asked = [asyncio.ensure_future(cache.get(1, partial(table.read, 1))) for _ in range(3)]
    await others()
    table.gate.set()
    assert await asyncio.gather(*asked) == ["first"] * 3
    assert counts() == (0, 3)


async def test_who_asks_at_the_same_time_shares_one_look_up(clock: Clock, counts: Counts) -> None:
    table = Table()
    cache = cache_of(clock)
    assert await asyncio.gather(*(cache.get(1, partial(table.read, 1)) for _ in range(9))) == ["first"] * 9
    assert (*counts(), table.reads) == (8, 1, 1)


async def test_one_who_no_longer_waits_does_not_end_the_look_up_of_the_others(clock: Clock) -> None:
    table = Table()
    table.gate.clear()
    cache = cache_of(clock)
    first, second = (asyncio.ensure_future(cache.get(1, partial(table.read, 1))) for _ in range(2))
    await others()
    first.cancel()
    with pytest.raises(asyncio.CancelledError):
        await first
    table.gate.set()
    assert await second == "first"
    assert table.reads == 1


async def test_the_seconds_count_from_the_beginning_of_a_slow_look_up(clock: Clock) -> None:
    table = Table()
    table.gate.clear()
    cache = cache_of(clock)
    slow = asyncio.ensure_future(cache.get(1, partial(table.read, 1)))
    await others()
    clock.now += SECONDS
    table.value = "second"
    late = asyncio.ensure_future(cache.get(1, partial(table.read, 1)))
    await others()
    table.gate.set()
    assert (await slow, await late, await cache.get(1, partial(table.read, 1))) == ("first", "second", "second")


async def test_a_failure_reaches_all_who_wait_and_is_not_kept(clock: Clock) -> None:
    table = Table()
    table.failure = LookupError("gone")
    cache = cache_of(clock)
    failed = await asyncio.gather(*(cache.get(1, partial(table.read, 1)) for _ in range(3)), return_exceptions=True)
    assert [type(failure) for failure in failed] == [LookupError] * 3
    table.failure = None
    assert await cache.get(1, partial(table.read, 1)) == "first"


async def test_a_look_up_that_nobody_waits_for_is_ended(clock: Clock) -> None:
    table = Table()
    table.gate.clear()
    cache, ended = cache_of(clock), asyncio.Event()

    async def read() -> str | None:
        try:
            return await table.read(1)
        finally:
            ended.set()

    asked = [asyncio.ensure_future(cache.get(1, read)) for _ in range(2)]
    await others()
    asked[0].cancel()
    await others()
    assert not ended.is_set()
    asked[1].cancel()
    await others()
    assert ended.is_set()
    table.gate.set()
    assert await cache.get(1, partial(table.read, 1)) == "first"


async def test_a_look_up_is_charged_to_nobody(clock: Clock) -> None:
    """Its statements would otherwise be those of the request that happened to be first."""
    cache = cache_of(clock)
    timings.collect()

    async def read() -> str | None:
        timings.add("cdr", "count", 1.0)
        return "first"

    await asyncio.gather(cache.get(1, read), cache.get(1, read))
    assert timings.current() == ()


async def test_a_failure_that_nobody_waits_for_is_no_noise(clock: Clock) -> None:
    table = Table()
    table.gate.clear()
    table.failure = LookupError("gone")
    noise: list[dict[str, object]] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: noise.append(context))
    cache = cache_of(clock)
    asked = asyncio.ensure_future(cache.get(1, partial(table.read, 1)))
    await others()
    asked.cancel()
    await asyncio.gather(asked, return_exceptions=True)
    table.failure = None
    table.gate.set()
    await others()
    assert (await cache.get(1, partial(table.read, 1)), noise) == ("first", [])


async def test_no_more_is_kept_than_allowed(clock: Clock, counts: Counts) -> None:
    table = Table()
    cache = cache_of(clock, most=2)
    for key in (1, 2, 3, 2, 1):
        await cache.get(key, partial(table.read, key))
    assert counts() == (1, 4)
