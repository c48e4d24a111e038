"""Statistics of calls: the contract's table, sums compared with Python's, scope, and caching."""

import asyncio
from collections.abc import Iterable, Iterator, Sequence
from datetime import UTC, datetime, timedelta
from decimal import ROUND_HALF_UP, Decimal
from typing import Any
from urllib.parse import urlencode
from uuid import UUID
from zoneinfo import ZoneInfo

import pytest
from aiohttp.test_utils import TestClient, TestServer
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from service.auth.tokens import DynamicClaims
from service.db import schema
from service.db.statistics import StatisticsRepository
from service.files import SQL
from service.query import Query, TimeRange
from service.statistics import buckets
from service.web.app import open_application
from tests import load
from tests.conftest import Answer, Api, Data, Databases, Serve, configured

PLAIN = "application/json; charset=utf-8"
MINE, OTHER, FOREIGN, FILTERED = (str(UUID(int=number)) for number in (1, 2, 3, 4))
SIDES = {
    "origination": ("customer_id", "customer_acc_id", "customer_price", "customer_duration"),
    "termination": ("vendor_id", "vendor_acc_id", "vendor_price", "vendor_duration"),
}
NAMES = [f"{side}-statistics{suffix}" for side in SIDES for suffix in ("", "-quality")]
EACH_SIDE = pytest.mark.parametrize("side", SIDES)
EACH = pytest.mark.parametrize("name", NAMES)
TODAY = datetime.now(UTC).replace(hour=0, minute=0, second=0, microsecond=0)
LAST_WEEK = TODAY - timedelta(days=7)
FILTERED_CALLS = [
    {"src_country_id": 44, "dst_country_id": 49, "src_prefix_routing": "44Ab", "dst_prefix_routing": "12\\"},
    {"src_country_id": 1, "dst_country_id": 49, "src_prefix_routing": "1b", "dst_prefix_routing": "1_2"},
    {"dst_prefix_routing": "1%2"},
]
EMPTY_TOTALS = {
    "t": 0,
    "total_calls": 0,
    "successful_calls": 0,
    "failed_calls": 0,
    "total_duration": 0,
    "acd": None,
    "asr": None,
    "total_price": 0,
}


def accounts(data: Data) -> None:
    """Customer 7 with two accounts, and customer 8 with one; both are vendors as well."""
    data.customer(7)
    data.customer(8)
    data.account(1, 7, MINE)
    data.account(2, 7, OTHER)
    data.account(3, 8, FOREIGN)


def call(data: Data, id: int, moment: datetime, side: str = "origination", **values: Any) -> None:
    owner, account, *_ = SIDES[side]
    data.call(id, **{owner: 7, account: 1, "time_start": moment, **values})


@pytest.fixture
def known(data: Data) -> Data:
    accounts(data)
    return data


@pytest.fixture(scope="module")
def shown(shared_api: Api, shared_data: Data) -> Api:
    """The service with the accounts, and three calls of customer 9, for tests that only read."""
    accounts(shared_data)
    shared_data.customer(9)
    shared_data.account(4, 9, FILTERED)
    for number, (row, duration, cost) in enumerate(
        zip(FILTERED_CALLS, (0, 60, 61), ("0.1", "0.50", "2"), strict=True), 1
    ):
        sides = {name: value for side in SIDES.values() for name, value in zip(side, (9, 4, cost), strict=False)}
        shared_data.call(number, time_start=LAST_WEEK + timedelta(hours=number), **sides, **row, duration=duration)
    return shared_api


async def ask(api: Api, name: str, caller: Any = 7, headers: dict[str, str] | None = None, **parameters: Any) -> Answer:
    given = {"account-id": MINE, "from-time": LAST_WEEK.isoformat(), "sampling": "hour"}
    if name.endswith("quality"):
        given["sampling"] = "15minutes"
    given |= {name.replace("_", "-"): value for name, value in parameters.items()}
    query = urlencode({name: value for name, value in given.items() if value is not None}, doseq=True)
    return await api.get(f"{name}?{query}", caller, headers=headers or {})


@EACH_SIDE
async def test_calls_are_added_up_by_bucket(api: Api, known: Data, side: str) -> None:
    price, at = SIDES[side][2], LAST_WEEK + timedelta(hours=9)
    call(known, 1, at, side, duration=90, **{price: "0.125"})
    call(known, 2, at + timedelta(minutes=59, seconds=59), side, duration=61, **{price: "0.1"})
    call(known, 3, at + timedelta(minutes=5), side, duration=0, **{price: 0})
    call(known, 4, at + timedelta(minutes=6), side)  # Without a duration, a call neither succeeded nor failed.
    call(known, 5, at + timedelta(hours=1), side, duration=1, **{price: "1.005"})
    answer = await ask(api, f"{side}-statistics")
    assert (answer.status, answer.headers["content-type"]) == (200, PLAIN)
    second = buckets.seconds(at)
    assert answer.json == {
        "data": {
            "t": [second, second + 3600],
            "total_calls": [4, 1],
            "successful_calls": [2, 1],
            "failed_calls": [1, 0],
            "total_duration": [2.52, 0.02],
            "acd": [75.5, 1],
            "asr": [50, 100],
            "total_price": [0.23, 1.01],
        },
        "rows": 2,
        "totals": {
            "t": 0,
            "total_calls": 5,
            "successful_calls": 3,
            "failed_calls": 1,
            "total_duration": 2.53,
            "acd": 50.67,
            "asr": 60,
            "total_price": 1.23,
        },
    }
    assert list(answer.json["data"]) == list(answer.json["totals"])


async def test_numbers_have_no_noise_of_floating_point(api: Api, known: Data) -> None:
    known.execute(
        "INSERT INTO cdr.cdr (id, time_start, customer_id, customer_acc_id, is_last_cdr, duration, customer_price)"
        " SELECT n, %s, 7, 1, true, CASE WHEN n < 862 THEN 1 ELSE 0 END, 0.1 FROM generate_series(1, 1000) AS n",
        (LAST_WEEK,),
    )
    body = (await ask(api, "origination-statistics")).body
    assert b'"asr":[86.1]' in body
    assert b'"total_price":[100]' in body


async def test_prices_beyond_all_floats_stay_exact(api: Api, known: Data) -> None:
    call(known, 1, LAST_WEEK, customer_price=Decimal("12345678901234567890123456789012345678.905"))
    call(known, 2, LAST_WEEK + timedelta(days=1), customer_price=Decimal("0.1"))
    body = (await ask(api, "origination-statistics", sampling="month")).body
    assert b'"total_price":12345678901234567890123456789012345679.01}' in body
    call(known, 3, LAST_WEEK, customer_price=Decimal("NaN"))
    assert (await ask(api, "origination-statistics", sampling="day")).json["totals"]["total_price"] is None


async def test_only_the_last_attempt_is_originated_and_every_one_terminated(api: Api, known: Data) -> None:
    for number, side in enumerate(SIDES):
        call(known, 2 * number, LAST_WEEK, side, is_last_cdr=False)
        call(known, 2 * number + 1, LAST_WEEK, side)
    assert (await ask(api, "origination-statistics")).json["totals"]["total_calls"] == 1
    assert (await ask(api, "termination-statistics")).json["totals"]["total_calls"] == 2


@EACH_SIDE
async def test_billed_minutes_may_be_shown_instead(serve: Serve, known: Data, side: str) -> None:
    api = await serve(known.dsn, STATISTICS__CUSTOMER_DURATION="true", STATISTICS__VENDOR_DURATION="true")
    call(known, 1, LAST_WEEK, side, duration=61, **{SIDES[side][3]: 120})
    totals = (await ask(api, f"{side}-statistics")).json["totals"]
    assert (totals["total_duration"], totals["acd"]) == (2, 61)


@EACH_SIDE
async def test_without_calls_there_is_nothing_but_zeros(shown: Api, side: str) -> None:
    answer = await ask(shown, f"{side}-statistics")
    columns = {name: [] for name in EMPTY_TOTALS}
    assert answer.json == {"data": columns, "rows": 0, "totals": EMPTY_TOTALS}


@EACH_SIDE
async def test_the_quality_of_every_bucket_until_now_is_told(api: Api, known: Data, side: str) -> None:
    first = datetime.now(UTC).replace(minute=0, second=0, microsecond=0) - timedelta(hours=2)
    for number, minutes in enumerate((0, 1, 2, 16)):
        call(known, number, first + timedelta(minutes=minutes), side, duration=number)
    until = (first + timedelta(minutes=20)).isoformat()
    answer = await ask(api, f"{side}-statistics-quality", from_time=first.isoformat(), to_time=until)
    columns = answer.json["data"]
    assert list(columns) == list(answer.json["totals"]) == ["t", "total_calls", "acd", "asr", "cps"]
    count = (buckets.seconds(datetime.now(UTC)) - buckets.seconds(first)) // 900 + 1
    assert answer.json["rows"] in (count, count - 1)  # A bucket may have begun since.
    assert columns["t"] == [buckets.seconds(first) + 900 * n for n in range(answer.json["rows"])]
    assert columns["total_calls"][:3] == [3, 1, 0]
    assert columns["acd"][:3] == [1.5, 3, None]
    assert columns["asr"][:3] == [66.7, 100, None]
    assert columns["cps"][:3] == [3 / 900, 1 / 900, 0]
    assert answer.json["totals"] == {"t": 0, "total_calls": 4, "acd": 2, "asr": 75, "cps": 4 / 900}


async def test_quality_without_calls_is_zeros_and_nulls(shown: Api) -> None:
    first = (datetime.now(UTC) - timedelta(minutes=3)).isoformat()
    answer = await ask(shown, "origination-statistics-quality", sampling="minute", from_time=first)
    assert answer.json["rows"] in (4, 5)
    assert set(answer.json["data"]["total_calls"]) == {0}
    assert set(answer.json["data"]["asr"]) == {None}
    assert answer.json["totals"] == {"t": 0, "total_calls": 0, "acd": None, "asr": None, "cps": 0}


async def test_times_bound_inclusively(api: Api, known: Data) -> None:
    tick = timedelta(microseconds=1)
    first, last = LAST_WEEK + tick * 123456, LAST_WEEK + timedelta(hours=30, microseconds=7)
    for number, moment in enumerate((first - tick, first, last, last + tick)):
        call(known, number, moment)
    answer = await ask(
        api, "origination-statistics", from_time=first.isoformat(), to_time=last.isoformat(), sampling="minute"
    )
    assert answer.json["totals"]["total_calls"] == 2
    assert answer.json["data"]["t"] == [buckets.seconds(LAST_WEEK), buckets.seconds(LAST_WEEK) + 30 * 3600]


@pytest.mark.parametrize(
    ("parameters", "found"),
    [
        ({"src_country_id": 44}, {1}),
        ({"dst_country_id": 49}, {1, 2}),
        ({"src_prefix_routing_eq": "44Ab"}, {1}),
        ({"src_prefix_routing_eq": "44ab"}, set()),
        ({"src_prefix_routing_starts_with": "44A"}, {1}),
        ({"src_prefix_routing_starts_with": "44a"}, set()),
        ({"src_prefix_routing_ends_with": "b"}, {1, 2}),
        ({"src_prefix_routing_ends_with": "B"}, set()),
        ({"src_prefix_routing_contains": "4aB"}, {1}),
        ({"dst_prefix_routing_contains": "_"}, {2}),
        ({"dst_prefix_routing_contains": "%"}, {3}),
        ({"dst_prefix_routing_starts_with": "1%"}, {3}),
        ({"dst_prefix_routing_ends_with": "\\"}, {1}),
        ({"dst_prefix_routing_eq": " 1_2 "}, set()),
        ({"duration_eq": 60}, {2}),
        ({"duration_gt": 0}, {2, 3}),
        ({"duration_lt": 61}, {1, 2}),
        ({"duration_gt": 10**30}, set()),
        ({"duration_gt": 0, "duration_lt": 61}, {2}),
        ({"PRICE_eq": "0.5"}, {2}),
        ({"PRICE_gt": "5e-1"}, {3}),
        ({"PRICE_lt": "0.5"}, {1}),
        ({"nonsense": "x", "filter[duration_eq]": "1"}, {1, 2, 3}),
    ],
)
@EACH_SIDE
async def test_filters_narrow(shown: Api, side: str, parameters: dict[str, Any], found: set[int]) -> None:
    asked = {name.replace("PRICE", SIDES[side][2]): value for name, value in parameters.items()}
    answer = await ask(shown, f"{side}-statistics", 9, account_id=FILTERED, **asked)
    assert answer.status == 200
    assert {(second - buckets.seconds(LAST_WEEK)) // 3600 for second in answer.json["data"]["t"]} == found


async def test_addresses_narrow_what_is_originated(api: Api, known: Data) -> None:
    call(known, 1, LAST_WEEK, auth_orig_ip="192.0.2.1")
    call(known, 2, LAST_WEEK, auth_orig_ip="2001:db8::1")
    for address, count in (("192.0.2.1", 1), ("2001:DB8:0::1", 1), ("192.0.2.2", 0)):
        answer = await ask(api, "origination-statistics", auth_orig_ip=address)
        assert answer.json["totals"]["total_calls"] == count
    assert (await ask(api, "termination-statistics", auth_orig_ip="nonsense")).status == 200


REFUSED = [
    ({"account_id": None}, "missing required param(s) account-id"),
    (
        {"account_id": "", "from_time": " ", "sampling": None},
        "missing required param(s) account-id, from-time, sampling",
    ),
    ({"from_time": None, "sampling": None, "account_id": "x"}, "missing required param(s) from-time, sampling"),
    ({"account_id": "x"}, "invalid value account-id"),
    ({"account_id[]": "x", "account_id": None}, "invalid value account-id"),
    ({"account_id": f"{MINE}\0"}, "invalid value account-id"),
    ({"account_id": str(UUID(int=99)), "from_time": "x"}, "invalid value account-id"),
    ({"account_id": FOREIGN}, "invalid value account-id"),
    ({"from_time": "yesterday", "sampling": "x"}, "invalid value from-time"),
    ({"from_time[]": "2026-01-01", "from_time": None}, "invalid value from-time"),
    ({"to_time": "2026-02-30"}, "invalid value to-time"),
    ({"to_time": ""}, "invalid value to-time"),
    ({"to_time[a]": "2026-02-01"}, "invalid value to-time"),
    ({"sampling": "year", "duration_gt": "x"}, "invalid sampling"),
    ({"sampling": "Hour"}, "invalid sampling"),
    ({"sampling[]": "hour", "sampling": None}, "invalid sampling"),
    ({"sampling[a]": "hour", "sampling": None}, "invalid sampling"),
    ({"duration_gt[]": "1", "src_country_id": "x"}, "param duration-gt can't be an array"),
    ({"src_prefix_routing_eq[]": "1"}, "param src-prefix-routing-eq can't be an array"),
    ({"src_country_id": "x"}, "invalid value src-country-id"),
    ({"dst_country_id": ""}, "invalid value dst-country-id"),
    ({"duration_eq": "1.5"}, "invalid value duration-eq"),
    ({"duration_lt[a]": "1"}, "invalid value duration-lt"),
    ({"dst_prefix_routing_contains": "a\0b"}, "invalid value dst-prefix-routing-contains"),
]


@pytest.mark.parametrize(("parameters", "text"), REFUSED, ids=lambda value: value if isinstance(value, str) else None)
@EACH
async def test_bad_parameters_are_refused_in_order(
    shown: Api, name: str, parameters: dict[str, Any], text: str
) -> None:
    answer = await ask(shown, name, **parameters)
    assert (answer.status, answer.headers["content-type"], answer.json) == (400, PLAIN, {"error": text})


@pytest.mark.parametrize(
    ("name", "parameters", "text"),
    [
        ("origination-statistics", {"customer_price_gt": "x"}, "invalid value customer-price-gt"),
        ("termination-statistics", {"vendor_price_gt": "x"}, "invalid value vendor-price-gt"),
        ("origination-statistics", {"auth_orig_ip": "x"}, "invalid value auth-orig-ip"),
        ("origination-statistics", {"sampling": "15minutes"}, "invalid sampling"),
        ("origination-statistics-quality", {"sampling": "hour"}, "invalid sampling"),
    ],
)
async def test_some_parameters_have_one_side_only(shown: Api, name: str, parameters: dict[str, Any], text: str) -> None:
    assert (await ask(shown, name, **parameters)).json == {"error": text}


@EACH
async def test_too_many_buckets_are_refused(shown: Api, name: str) -> None:
    text = "too many buckets, choose a shorter range or a larger sampling"
    first = datetime.now(UTC) - timedelta(minutes=50_002)
    for moment in (first, datetime(1, 1, 1, 12, tzinfo=UTC)):
        answer = await ask(shown, name, sampling="minute", from_time=moment.isoformat())
        assert (answer.status, answer.json) == (400, {"error": text})
    fewer = (first + timedelta(minutes=10)).isoformat()
    assert (await ask(shown, name, sampling="minute", from_time=fewer)).status == 200
    assert (await ask(shown, name, sampling="minute", from_time=fewer, to_time="9999-12-31")).status == (
        200 if name.endswith("quality") else 400
    )


@EACH
async def test_the_future_is_empty(shown: Api, name: str) -> None:
    answer = await ask(shown, name, from_time=(TODAY + timedelta(days=2)).isoformat(), sampling="nonsense")
    assert (answer.status, answer.body) == (200, b"[]")


async def test_a_range_that_ends_before_it_begins_is_empty(api: Api, known: Data) -> None:
    call(known, 1, LAST_WEEK)
    answer = await ask(api, "origination-statistics", to_time=(LAST_WEEK - timedelta(days=1)).isoformat())
    assert answer.json["rows"] == 0


@EACH
async def test_accept_does_not_matter_and_answers_are_tagged(shown: Api, name: str) -> None:
    for accept in ("text/html", "application/json", "nonsense", "application/vnd.api+json"):
        answer = await ask(shown, name, headers={"Accept": accept}, to_time=TODAY.isoformat())
        assert (answer.status, answer.headers["content-type"]) == (200, PLAIN)
    again = await ask(shown, name, headers={"If-None-Match": answer.headers["etag"]}, to_time=TODAY.isoformat())
    assert again.status == 304 or name.endswith("quality")  # Which may have come to another bucket.


@EACH
async def test_a_token_is_needed_and_a_cookie_is_renewed(shown: Api, name: str) -> None:
    refused = await ask(shown, name, None)
    assert refused.error == (401, "401")
    cookie = {"Cookie": f"_yeti_customer_v1_session={shown.tokens.issue(7)}"}
    for parameters, status in (({}, 200), ({"sampling": "x"}, 400)):
        answer = await ask(shown, name, None, headers=cookie, **parameters)
        assert answer.status == status
        assert "_yeti_customer_v1_session=" in answer.headers["set-cookie"]


@EACH_SIDE
async def test_nobody_sees_the_calls_of_another(api: Api, known: Data, side: str) -> None:
    """Neither by an account of somebody else's, nor by a call that has the account but another owner."""
    owner, account, *_ = SIDES[side]
    call(known, 1, LAST_WEEK, side)
    call(known, 2, LAST_WEEK, side, **{owner: 8})
    call(known, 3, LAST_WEEK, side, **{account: 2})
    call(known, 4, LAST_WEEK, side, **{owner: 8, account: 3})
    name = f"{side}-statistics"
    assert (await ask(api, name)).json["totals"]["total_calls"] == 1
    for caller, of in ((8, MINE), (7, FOREIGN), (DynamicClaims(8), OTHER)):
        assert (await ask(api, name, caller, account_id=of)).json == {"error": "invalid value account-id"}
    assert (await ask(api, name, DynamicClaims(8), account_id=FOREIGN)).json["totals"]["total_calls"] == 1


@EACH_SIDE
async def test_an_account_outside_of_those_allowed_is_unknown(api: Api, known: Data, side: str) -> None:
    known.execute("UPDATE sys.api_access SET account_ids = '{2}' WHERE id = 7")
    call(known, 1, LAST_WEEK, side)
    name = f"{side}-statistics"
    for caller in (7, DynamicClaims(7, account_ids=(2,))):
        assert (await ask(api, name, caller)).json == {"error": "invalid value account-id"}
        assert (await ask(api, name, caller, account_id=OTHER)).json["totals"]["total_calls"] == 0
    assert (await ask(api, name, DynamicClaims(7, account_ids=(1,)))).json["totals"]["total_calls"] == 1


@EACH_SIDE
async def test_days_that_are_kept_are_kept_for_their_question_alone(api: Api, known: Data, side: str) -> None:
    call(known, 1, LAST_WEEK, side, duration=5)
    call(known, 2, LAST_WEEK, side, duration=50, **{SIDES[side][1]: 2})
    name = f"{side}-statistics"
    for _ in range(2):
        assert (await ask(api, name)).json["totals"]["total_duration"] == 0.08
        assert (await ask(api, name, account_id=OTHER)).json["totals"]["total_duration"] == 0.83
        assert (await ask(api, name, duration_gt=5)).json["totals"]["total_calls"] == 0
        assert (await ask(api, name, sampling="month")).json["rows"] == 1
        assert (await ask(api, name, sampling="day")).json["data"]["t"] == [buckets.seconds(LAST_WEEK)]


@pytest.fixture
def read(monkeypatch: pytest.MonkeyPatch) -> list[Sequence[TimeRange] | None]:
    """The ranges of time of all statements that add up calls, as they are run."""
    ranges: list[Sequence[TimeRange] | None] = []
    sums = StatisticsRepository.sums

    async def noted(self: StatisticsRepository, query: Query, *rest: Any) -> Any:
        ranges.append(query.ranges)
        return await sums(self, query, *rest)

    monkeypatch.setattr(StatisticsRepository, "sums", noted)
    return ranges


async def test_past_days_are_read_once(api: Api, known: Data, read: list[Any]) -> None:
    for day in range(8):
        call(known, day, LAST_WEEK + timedelta(days=day), duration=60)
    first = await ask(api, "origination-statistics", sampling="day")
    again = await ask(api, "origination-statistics", sampling="day")
    assert again.json == first.json
    assert again.json["totals"]["total_calls"] == 8
    assert [[begin for begin, _ in ranges] for ranges in read] == [[LAST_WEEK.isoformat()], [TODAY.isoformat()]]


async def test_nothing_is_read_of_a_past_that_is_known(api: Api, known: Data, read: list[Any]) -> None:
    call(known, 1, LAST_WEEK)
    until = (TODAY - timedelta(microseconds=1)).isoformat()
    for _ in range(2):
        assert (await ask(api, "origination-statistics", to_time=until)).json["totals"]["total_calls"] == 1
    assert len(read) == 1


async def test_only_what_is_unknown_is_read_of_a_longer_range(api: Api, known: Data, read: list[Any]) -> None:
    days = [LAST_WEEK + timedelta(days=day) for day in range(4)]
    for number, day in enumerate(days):
        call(known, number, day + timedelta(hours=12))
    middle = {"from_time": days[1].isoformat(), "to_time": (days[2] - timedelta(microseconds=1)).isoformat()}
    assert (await ask(api, "origination-statistics", **middle)).json["totals"]["total_calls"] == 1
    whole = {"from_time": (days[0] + timedelta(hours=1)).isoformat(), "to_time": days[3].isoformat()}
    assert (await ask(api, "origination-statistics", **whole)).json["totals"]["total_calls"] == 3
    assert [begin for begin, _ in read[1]] == [whole["from_time"], days[2].isoformat()]


async def test_a_late_call_is_counted_soon(serve: Serve, known: Data) -> None:
    api = await serve(known.dsn, STATISTICS__CACHE_SECONDS="0.05")
    call(known, 1, LAST_WEEK)

    assert await total(api) == 1
    call(known, 2, LAST_WEEK)
    known.publish_counters()
    await total_becomes(api, 2)
    known.execute("DELETE FROM cdr.cdr WHERE id = 1")
    await total_becomes(api, 1)
    known.execute("UPDATE cdr.cdr SET customer_acc_id = 2")
    await total_becomes(api, 0)


async def test_a_late_call_of_yesterday_is_counted_at_once(api: Api, known: Data) -> None:
    for number in range(1, 4):
        call(known, number, TODAY - timedelta(hours=1))
        known.publish_counters()
        await total_becomes(api, number)


async def test_without_a_cache_every_call_counts_at_once(serve: Serve, known: Data) -> None:
    api = await serve(known.dsn, STATISTICS__CACHE_SECONDS="0")
    for number in range(3):
        call(known, number, LAST_WEEK)
        assert (await ask(api, "origination-statistics")).json["totals"]["total_calls"] == number + 1


async def test_a_dropped_partition_is_counted_no_more(serve: Serve, known: Data) -> None:
    api = await serve(known.dsn, STATISTICS__CACHE_SECONDS="0.05")
    call(known, 1, LAST_WEEK)
    assert await total(api) == 1
    known.execute(f"DROP TABLE cdr.cdr_{LAST_WEEK:%Y_%m_%d}")
    await total_becomes(api, 0)


async def total(api: Api) -> int:
    return int((await ask(api, "origination-statistics")).json["totals"]["total_calls"])


async def total_becomes(api: Api, number: int) -> None:
    async def reached() -> bool:
        return await total(api) == number

    await load.until(reached)


async def test_a_statement_that_takes_too_long_is_504_with_advice(serve: Serve, known: Data) -> None:
    api = await serve(known.dsn, DATABASES__STATEMENT_TIMEOUT="0.2", STATISTICS__CACHE_SECONDS="0")
    with known.locked():
        answer = await ask(api, "origination-statistics")
    assert answer.error == (504, "504")
    assert "from-time" in answer.json["errors"][0]["detail"]


async def test_statistics_wait_for_a_place_like_lists(serve: Serve, known: Data) -> None:
    api = await serve(known.dsn, OVERLOAD__CONCURRENCY="1", OVERLOAD__QUEUE="0", STATISTICS__CACHE_SECONDS="0")
    with known.locked():
        first = asyncio.create_task(ask(api, "origination-statistics"))
        await known.blocked(1)
        assert (await ask(api, "termination-statistics")).error == (503, "503")
    assert (await first).status == 200


SPAN = (datetime(2026, 3, 20, tzinfo=UTC), datetime(2026, 4, 8, tzinfo=UTC))
zones = st.sampled_from(["UTC", "Europe/Berlin", "Asia/Kolkata", "America/New_York", "Australia/Lord_Howe"])
# What is added up: a moment as seconds of the span, a duration, a price in thousandths.
calls = st.tuples(
    st.integers(0, 18 * 86400 * 10), st.none() | st.integers(0, 200), st.none() | st.integers(-9999, 9999)
)


@pytest.fixture(scope="module")
def spring(postgres: Databases) -> Iterator[Data]:
    """The days around the changes of clocks in spring 2026, and no others."""
    data = Data(postgres, postgres.create())
    for part in ("cdr", "routing"):
        schema.apply(data.dsn, SQL / "schema" / part)
    accounts(data)
    schema.create_partitions(data.dsn, SPAN[0].date(), SPAN[1].date())
    yield data
    postgres.drop(data.name)


def expected(rows: Iterable[tuple[int, int | None, Decimal | None]]) -> dict[str, Any]:
    """The sums of rows, as fractions that are rounded once."""
    known = list(rows)
    talked = [duration for _, duration, _ in known if duration]
    prices = [price for *_, price in known if price is not None]
    total = len(known)
    return {
        "total_calls": total,
        "successful_calls": len(talked),
        "failed_calls": sum(duration == 0 for _, duration, _ in known),
        "total_duration": rounded(Decimal(sum(talked)) / 60, "0.01"),
        "acd": rounded(Decimal(sum(talked)) / len(talked), "0.01") if talked else None,
        "asr": float(Decimal(str(rounded(Decimal(len(talked)) / total, "0.001"))) * 100) if total else None,
        "total_price": rounded(sum(prices, Decimal(0)), "0.01"),
    }


def rounded(number: Decimal, step: str) -> float:
    return float(number.quantize(Decimal(step), ROUND_HALF_UP))


@pytest.mark.parametrize("sampling", ["minute", "5minutes", "hour", "day", "week", "month"])
@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    zone=zones,
    made=st.lists(calls, max_size=60),
    ends=st.tuples(st.integers(0, 18 * 86400), st.integers(0, 18 * 86400)),
    minimum=st.none() | st.integers(0, 100),
)
def test_sums_equal_those_made_in_python(
    spring: Data, sampling: str, zone: str, made: list[Any], ends: tuple[int, int], minimum: int | None
) -> None:
    rows = [
        (SPAN[0] + timedelta(seconds=tenths / 10), duration, None if price is None else Decimal(price) / 1000)
        for tenths, duration, price in made
    ]
    spring.execute("DELETE FROM cdr.cdr")
    for number, (moment, duration, price) in enumerate(rows):
        call(spring, number, moment, duration=duration, customer_price=price)
    first, last = (SPAN[0] + timedelta(seconds=second) for second in sorted(ends))
    parameters = {} if minimum is None else {"duration_gt": minimum}
    answers = asyncio.run(asked_twice(spring.dsn, zone, sampling, first, last, parameters))
    inside = [
        row
        for row in rows
        if first <= row[0] <= last and (minimum is None or (row[1] is not None and row[1] > minimum))
    ]
    starts = buckets.starts(sampling, ZoneInfo(zone), first, last)
    groups: dict[int, list[Any]] = {}
    for row in inside:
        groups.setdefault(max(s for s in starts if s <= buckets.seconds(row[0])), []).append(row)
    known = {start: expected(groups[start]) for start in sorted(groups)}
    for answer in answers:
        assert answer["data"]["t"] == list(known)
        assert answer["rows"] == len(known)
        assert answer["totals"] == {"t": 0, **expected(inside)}
        for name in EMPTY_TOTALS.keys() - {"t"}:
            assert answer["data"][name] == [sums[name] for sums in known.values()]


async def asked_twice(
    dsn: str, zone: str, sampling: str, first: datetime, last: datetime, parameters: dict[str, Any]
) -> list[Any]:
    """The answers of a service of its own, the second from what it has kept."""
    loaded = configured(dsn, RESOURCES__TIME_ZONE=zone)
    async with TestClient(TestServer(await open_application(loaded))) as client:
        times = {"from_time": first.isoformat(), "to_time": last.isoformat()}
        asked = {"sampling": sampling, **times, **parameters}
        api = Api(client, loaded)
        return [(await ask(api, "origination-statistics", **asked)).json for _ in range(2)]
