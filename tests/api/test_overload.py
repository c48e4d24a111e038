"""Responses under overload and above the rate limit."""

import asyncio

import pytest

from tests.conftest import Answer, Api, Data, Serve


@pytest.fixture(autouse=True)
def rows(data: Data) -> None:
    for customer in (7, 8):
        data.customer(customer)
        data.call(customer, vendor_id=customer, customer_id=customer)


async def test_what_cannot_even_wait_is_sent_away_at_once(serve: Serve, data: Data) -> None:
    api = await serve(data.dsn, OVERLOAD__CONCURRENCY="1", OVERLOAD__QUEUE="1", OVERLOAD__WAIT="60")
    with data.locked():
        tasks = {asyncio.create_task(api.get("cdrs", 7)) for _ in range(3)}
        (sent_away,), served = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        answer = sent_away.result()
        assert (answer.error, answer.headers["retry-after"]) == ((503, "503"), "1")
        assert answer.json["errors"][0]["detail"] == "Too many requests are waiting."
    assert [answer.status for answer in await asyncio.gather(*served)] == [200, 200]


@pytest.mark.parametrize("path", ["cdrs", "cdrs/7", "cdrs/7/rec", "cdrs/7/account", "cdrs?format=csv", "accounts"])
async def test_whatever_costs_something_needs_a_slot(serve: Serve, data: Data, path: str) -> None:
    api = await serve(data.dsn, OVERLOAD__CONCURRENCY="1", OVERLOAD__QUEUE="0")
    with data.locked("billing.accounts"):
        slow = asyncio.create_task(api.get("accounts", 7))
        await data.blocked(1)
        assert (await api.get(path, 7)).status == 503
    assert (await slow).status == 200
    assert (await api.get(path, 7)).status != 503


async def test_who_waits_too_long_is_sent_away(serve: Serve, data: Data) -> None:
    api = await serve(data.dsn, OVERLOAD__CONCURRENCY="1", OVERLOAD__WAIT="0.05")
    with data.locked():
        first = asyncio.create_task(api.get("cdrs", 7))
        await data.blocked(1)
        assert (await api.get("accounts", 8)).status == 503
    assert (await first).status == 200


async def test_the_slow_requests_of_one_customer_leave_the_others_their_share(serve: Serve, data: Data) -> None:
    api = await serve(data.dsn, OVERLOAD__CONCURRENCY="4", OVERLOAD__CUSTOMER_CONCURRENCY="3", OVERLOAD__WAIT="60")
    with data.locked():
        slow = [asyncio.create_task(api.get("cdrs", 7)) for _ in range(10)]
        await data.blocked(3)
        assert [(await api.get("accounts", 8)).status for _ in range(5)] == [200] * 5
    assert [answer.status for answer in await asyncio.gather(*slow)] == [200] * 10


@pytest.mark.parametrize("path", ["cdrs?sort=x", "nowhere"])
async def test_a_place_is_given_back_after_an_error(serve: Serve, data: Data, path: str) -> None:
    api = await serve(data.dsn, OVERLOAD__CONCURRENCY="1", OVERLOAD__QUEUE="0", OVERLOAD__CUSTOMER_CONCURRENCY="1")
    for _ in range(3):
        assert (await api.get(path, 7)).status in (400, 404)
    assert (await api.get("cdrs", 7)).status == 200


async def test_a_client_that_goes_away_gives_its_place_back(serve: Serve, data: Data) -> None:
    api = await serve(data.dsn, OVERLOAD__CONCURRENCY="1", OVERLOAD__WAIT="60")
    with data.locked():
        gone = [asyncio.create_task(api.get("cdrs", 7)) for _ in range(3)]
        await data.blocked(1)
        for task in gone:
            task.cancel()
        await asyncio.gather(*gone, return_exceptions=True)
        assert (await api.get("accounts", 7)).status == 200


def limits(answer: Answer) -> list[str | None]:
    return [answer.headers.get(f"ratelimit-{name}") for name in ("limit", "remaining", "reset")]


@pytest.fixture
async def limited(serve: Serve, data: Data) -> Api:
    """Two requests a day."""
    return await serve(data.dsn, RATE_LIMIT__REQUESTS="2", RATE_LIMIT__PERIOD="86400")


async def test_past_the_rate_limit_there_is_429_until_the_time_that_is_named(limited: Api) -> None:
    answers = [await limited.get("cdrs", 7) for _ in range(3)]
    assert [answer.status for answer in answers] == [200, 200, 429]
    assert [limits(answer)[:2] for answer in answers] == [["2", "1"], ["2", "0"], ["2", "0"]]
    assert answers[2].error == (429, "429")
    assert 0 < int(answers[2].headers["retry-after"]) <= 43200 < int(answers[2].headers["ratelimit-reset"]) <= 86400
    assert (await limited.get("cdrs", 8)).status == 200


async def test_errors_count_too_but_strangers_do_not(limited: Api) -> None:
    assert limits(await limited.get("cdrs"))[0] is None
    assert limits(await limited.get("cdrs?sort=x", 7))[:2] == ["2", "1"]


async def test_nothing_is_limited_by_default(api: Api) -> None:
    assert limits(await api.get("cdrs", 7)) == [None, None, None]
