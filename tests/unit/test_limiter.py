"""The order in which the limiter grants slots, without a clock."""

import asyncio
from collections import Counter
from contextlib import suppress

import pytest

from service.concurrency.limiter import FairLimiter, LimiterSettings, LimitExceededError

LONG = 3600


class Crowd:
    """Customers who work until they are told to stop."""

    def __init__(self, turns: FairLimiter) -> None:
        self.turns = turns
        self.working: list[tuple[str, asyncio.Event]] = []
        self.refused: list[str] = []

    async def come(self, *customers: str) -> list[asyncio.Task[None]]:
        tasks = [asyncio.create_task(self._work(customer)) for customer in customers]
        await settled()
        return tasks

    async def finish(self, customer: str) -> None:
        name, enough = next(pair for pair in self.working if pair[0] == customer)
        self.working.remove((name, enough))
        enough.set()
        await settled()

    @property
    def names(self) -> str:
        return "".join(name for name, _ in self.working)

    async def _work(self, customer: str) -> None:
        try:
            slot = await self.turns.acquire(customer)
        except LimitExceededError as full:
            self.refused.append(full.reason)
            return
        try:
            enough = asyncio.Event()
            self.working.append((customer, enough))
            await enough.wait()
        finally:
            slot.release()


async def settled() -> None:
    """Lets every task go on until it waits for something."""
    for _ in range(10):
        await asyncio.sleep(0)


async def crowd(concurrency: int, each: int, queue: int = 100, queue_each: int = 100, wait: float = LONG) -> Crowd:
    return Crowd(FairLimiter(LimiterSettings(concurrency, each, queue, queue_each, wait)))


async def test_no_more_work_at_once_than_there_are_places() -> None:
    people = await crowd(3, 3)
    await people.come(*"aaaaa")
    assert (people.names, people.turns.waiting) == ("aaa", 2)
    await people.finish("a")
    assert (people.names, people.turns.waiting) == ("aaa", 1)


async def test_one_customer_never_takes_all_places() -> None:
    people = await crowd(3, 2)
    await people.come(*"aaaaab")
    assert people.names == "aab"


async def test_the_customer_with_the_least_work_is_next_however_long_the_other_queue_is() -> None:
    people = await crowd(2, 2)
    await people.come(*"aaaaaaaab")
    await people.finish("a")
    assert people.names == "ab"


async def test_customers_who_all_wait_take_turns() -> None:
    people = await crowd(1, 1)
    await people.come(*"xaaabbbccc")
    served = []
    for _ in range(9):
        await people.finish(people.names)
        served.append(people.names)
    assert [Counter(served[start : start + 3]) for start in (0, 3, 6)] == [Counter("abc")] * 3


@pytest.mark.parametrize(
    ("customers", "reasons"),
    [("aaaa", []), ("aaaaa", ["customer_queue"]), ("aaaabbb", ["queue"]), ("aaaabb", [])],
)
async def test_past_the_bounds_everybody_is_sent_away_at_once(customers: str, reasons: list[str]) -> None:
    people = await crowd(1, 1, queue=5, queue_each=3)
    await people.come(*customers)
    assert people.refused == reasons


async def test_a_request_that_waits_too_long_is_refused_and_takes_no_slot() -> None:
    people = await crowd(1, 1, wait=0.001)
    await people.come("a")
    (waiting,) = await people.come("b")
    await waiting
    assert (people.refused, people.turns.waiting) == (["wait"], 0)
    await people.finish("a")
    await people.come("c")
    assert people.names == "c"


@pytest.mark.parametrize("moment", ["before its turn", "just before its turn", "at its turn"])
async def test_who_goes_away_leaves_the_place_to_the_next(moment: str) -> None:
    people = await crowd(1, 1)
    await people.come("a")
    (leaving,) = await people.come("b")
    await people.come("c")
    if moment != "before its turn":
        people.working.pop()[1].set()
    if moment == "at its turn":
        await asyncio.sleep(0)  # The place is given to b, who does not know it yet.
    leaving.cancel()
    with suppress(asyncio.CancelledError):
        await leaving
    if moment == "before its turn":
        await people.finish("a")
    await settled()
    assert (people.names, people.turns.waiting) == ("c", 0)


async def test_slots_stay_free_for_customers_that_come_later() -> None:
    people = await crowd(10, 5)
    await people.come(*"aaaaaaaa")
    assert people.names == "aaaaa"
    await people.come(*"bbbbbbbb")
    assert people.names == "aaaaabbb"
    await people.come(*"cc")
    assert people.names == "aaaaabbbcc"


async def test_a_share_grows_again_when_others_are_done() -> None:
    people = await crowd(10, 5)
    await people.come(*"bbaaaaaaaa")
    assert people.names == "bbaaa"
    await people.finish("b")
    await people.finish("b")
    assert people.names == "aaaaa"


async def test_a_full_queue_refuses_the_newest_of_the_customer_that_fills_it() -> None:
    people = await crowd(1, 1, queue=4)
    await people.come(*"aaaaa")
    await people.come("b")
    assert (people.refused, people.turns.waiting) == (["queue"], 4)
    await people.finish("a")
    assert people.names == "b"


async def test_a_full_queue_refuses_one_whose_own_queue_is_the_longest() -> None:
    people = await crowd(1, 1, queue=4)
    await people.come(*"xaabb")
    await people.come("a")
    assert people.refused == ["queue"]


async def test_customers_whose_requests_fail_share_half_of_the_slots() -> None:
    people = await crowd(4, 2)
    for customer in "abcd":
        people.turns.report(customer, failed=True)
    await people.come(*"abcd")
    assert (people.names, people.turns.waiting) == ("ab", 2)
    await people.come(*"ef")
    assert people.names == "abef"
    people.turns.report("c", failed=False)
    await people.finish("e")
    assert people.names == "abfc"


async def test_a_customer_whose_requests_fail_still_gets_a_slot() -> None:
    people = await crowd(1, 1)
    people.turns.report("a", failed=True)
    await people.come(*"aa")
    assert (people.names, people.turns.waiting) == ("a", 1)
    await people.finish("a")
    assert people.names == "a"
