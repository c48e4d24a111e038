"""Fair scheduling on the event loop, and identification of clients for it."""

import asyncio
from functools import partial

from service.concurrency.round_robin import RoundRobin
from service.web.clients import MAX_KNOWN, Clients, credentials_of


async def test_customers_take_turns_and_one_callback_runs_in_a_round() -> None:
    turns, ran, rounds = RoundRobin(asyncio.get_running_loop()), [], []
    for text in ("a1", "a2", "a3", "b1", "c1", "b2"):
        turns.run(text[0], partial(ran.append, text))
    while len(ran) < 6:
        rounds.append(len(ran))
        await asyncio.sleep(0)
    assert ran == ["a1", "a2", "b1", "c1", "a3", "b2"]
    assert rounds == [1, 2, 3, 4, 5]


async def test_a_callback_runs_at_once_if_none_has_run_in_this_round() -> None:
    turns, ran = RoundRobin(asyncio.get_running_loop()), []
    for number in range(3):
        turns.run("a", partial(ran.append, number))
        assert ran == list(range(number + 1))
        await asyncio.sleep(0)
        await asyncio.sleep(0)


async def test_a_callback_that_fails_does_not_keep_the_next_from_running() -> None:
    loop, failures, ran = asyncio.get_running_loop(), [], []
    loop.set_exception_handler(lambda _, context: failures.append(context["exception"]))
    turns = RoundRobin(loop)
    for callback in (partial(ran.append, 1), partial(int, "x"), partial(ran.append, 2)):
        turns.run("a", callback)
    while len(ran) < 2:  # noqa: ASYNC110 # Rounds of the event loop are what is tested.
        await asyncio.sleep(0)
    assert [type(failure) for failure in failures] == [ValueError]


HEAD = b"GET / HTTP/1.1\r\nHost: x\r\n%s: %s\r\nAccept: %s\r\n\r\n"


def test_credentials_are_told_apart_by_the_headers_that_have_them() -> None:
    first = credentials_of(HEAD % (b"Authorization", b"abc", b"x"))
    assert first == credentials_of(HEAD % (b"Authorization", b"abc", b"y"))
    others = [(b"Authorization", b"abd"), (b"Cookie", b"abc"), (b"X-Other", b"abc")]
    assert len({first, *(credentials_of(HEAD % (name, text, b"x")) for name, text in others)}) == 4
    assert credentials_of(HEAD % (b"authorization", b"abc", b"x")) != credentials_of(HEAD % (b"Host", b"abc", b"x"))


async def test_a_customer_is_one_client_by_all_its_tokens_once_they_are_known() -> None:
    clients = Clients(asyncio.get_running_loop())
    assert clients.key_of(1, "192.0.2.1") == "192.0.2.1"
    clients.identify(1, 7)
    clients.identify(2, 7)
    assert {clients.key_of(1, "192.0.2.1"), clients.key_of(2, "192.0.2.2")} == {7}
    for number in range(MAX_KNOWN):
        clients.identify(10 + number, 8)
    assert clients.key_of(1, "192.0.2.1") == "192.0.2.1"
