"""Totals with cached counts of past days equal a plain count, and read only what is unknown or has changed."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from service.db import partition_changes, select
from service.db.partition_changes import PartitionChanges
from service.db.pool import Limits, Pool, Rows
from service.db.statement import Statement
from service.db.totals import LOWER, UPPER, TotalCounter
from service.errors import QueryTimeoutError
from service.jsonapi import params, query_string
from service.query import Caller, Query
from service.schemas.resource import configured
from service.statistics.partition_cache import PartitionCache
from tests.conftest import Data

RESOURCES = configured(UTC, {})
TODAY = datetime.now(UTC).replace(hour=0, minute=0, second=0, microsecond=0)
DAYS = 8  # Past days with a partition.
ALWAYS, NEVER = 1e-9, 1e9  # Seconds between checks of changes.
SEVEN = Caller(7, None, False)


def day(number: int) -> datetime:
    """The start of a day; 0 is the first of the past days, DAYS is today."""
    return TODAY - timedelta(days=DAYS - number)


def partition(number: int) -> str:
    return f"cdr.cdr_{day(number):%Y_%m_%d}"


def parsed(text: str, caller: Caller = SEVEN, type_: str = "incoming-cdrs") -> Query:
    return params.parse_list(RESOURCES[type_], query_string.parse(text), caller, datetime.now(UTC))[0]


def since(number: int, rest: str = "") -> Query:
    return parsed(f"filter[time_start_gteq]={day(number):%Y-%m-%d}{rest}")


@dataclass
class Counting:
    """A counter of totals, and what its last count has read: the number of partitions in each group."""

    counter: TotalCounter
    pool: Pool
    groups: list[int] = field(default_factory=list)
    rest: list[str] = field(default_factory=list)
    limits: list[float] = field(default_factory=list)  # Of all statements, in seconds.

    async def total(self, query: Query) -> int | None:
        self.groups.clear()
        self.rest.clear()
        return await self.counter.count(query)

    async def fetch(self, query: Query, statement: Statement) -> Rows:
        self.limits.append(statement.timeout or 0)
        if statement.name == "range_count":
            self.groups.append(statement.text.count("AS place"))
        else:
            self.rest.append(statement.text)
        return await self.pool.fetch(statement)

    async def plain(self, query: Query) -> int:
        [(total,)] = await self.pool.fetch(select.count(query))
        return int(total)


Opened = Callable[..., Awaitable[Counting]]


@asynccontextmanager
async def opened(dsn: str, seconds: float = ALWAYS, limit: float = 0, lag: float = 0) -> AsyncIterator[Counting]:
    pool = Pool("test", dsn, Limits(2, 5, 5, 30))
    cache: PartitionCache[int] = PartitionCache("day_counts", PartitionChanges(pool, "cdr.cdr").read, seconds, lag)

    async def fetch(query: Query, statement: Statement) -> Rows:
        return await counting.fetch(query, statement)

    counting = Counting(TotalCounter(fetch, {"cdr.cdr": cache}, 0, limit, 30), pool)
    try:
        yield counting
    finally:
        await pool.close()


def write(data: Data, statement: str, parameters: Any = None) -> None:
    """Executes a statement. Its session publishes the counters of changes before this returns."""
    data._write(statement, parameters)
    data.publish_counters()


def call(data: Data, id: int, moment: datetime, **values: Any) -> None:
    known = {"id": id, "time_start": moment, "is_last_cdr": True, "vendor_id": 7, **values}
    columns, places = ", ".join(known), ", ".join(["%s"] * len(known))
    write(data, f"INSERT INTO cdr.cdr ({columns}) VALUES ({places})", tuple(known.values()))


@pytest.fixture
def calls(data: Data) -> Data:
    """A call at noon of each past day and one of today."""
    for number in range(DAYS):
        call(data, number, day(number) + timedelta(hours=12))
    call(data, DAYS, TODAY)
    return data


async def test_past_days_are_counted_once(calls: Data) -> None:
    async with opened(calls.dsn) as counting:
        assert await counting.total(since(0)) == DAYS + 1
        assert (counting.groups, len(counting.rest)) == ([1, 2, 4, 1], 1)
        assert await counting.total(since(0)) == DAYS + 1
        assert (counting.groups, len(counting.rest)) == ([], 1)
        assert f"r.time_start >= '{TODAY.isoformat()}'" in counting.rest[0]


async def test_a_known_day_is_not_read(calls: Data) -> None:
    """It cannot be: it is locked."""
    async with opened(calls.dsn, NEVER) as counting:
        assert await counting.total(since(0)) == DAYS + 1
        with calls.locked(partition(2)):
            assert await counting.total(since(0)) == DAYS + 1


async def test_another_window_counts_only_its_other_days(calls: Data) -> None:
    async with opened(calls.dsn) as counting:
        assert await counting.total(since(3, f"&filter[time_start_lt]={day(6):%Y-%m-%d}")) == 3
        assert (counting.groups, counting.rest) == ([1, 2], [])
        assert await counting.total(since(1)) == DAYS
        assert counting.groups == [1, 2, 1]  # Two newer days, then the two older ones.
        assert await counting.total(since(4, f"T12:00:01Z&filter[time_start_lteq]={day(7):%Y-%m-%d}T12:00Z")) == 3
        assert counting.groups == []


@pytest.mark.parametrize(
    ("change", "total"),
    [
        ("INSERT INTO cdr.cdr (id, time_start, vendor_id) VALUES (99, '{day}', 7)", DAYS + 2),
        ("UPDATE cdr.cdr SET vendor_id = 8 WHERE id = {number}", DAYS),
        ("UPDATE cdr.cdr SET time_start = '{other}' WHERE id = {number}", DAYS + 1),
        ("DELETE FROM cdr.cdr WHERE id = {number}", DAYS),
        ("TRUNCATE {partition}", DAYS),
        ("ALTER TABLE cdr.cdr DETACH PARTITION {partition}", DAYS),
        ("DROP TABLE {partition}", DAYS),
    ],
)
@pytest.mark.parametrize("number", [1, DAYS - 1])
async def test_a_change_of_a_past_day_is_counted(calls: Data, number: int, change: str, total: int) -> None:
    names = {"day": day(number).isoformat(), "other": day(2).isoformat(), "partition": partition(number)}
    async with opened(calls.dsn) as counting:
        assert await counting.total(since(0)) == DAYS + 1
        write(calls, change.format(number=number, **names))
        assert await counting.total(since(0)) == total
        assert await counting.total(since(0)) == await counting.plain(since(0)) == total
        assert counting.groups == []


@pytest.mark.parametrize("number", [1, DAYS - 1])
async def test_changes_of_the_last_two_days_are_checked_every_time(calls: Data, number: int) -> None:
    async with opened(calls.dsn, NEVER) as counting:
        assert await counting.total(since(0)) == DAYS + 1
        call(calls, 99, day(number))
        assert await counting.total(since(0)) == DAYS + 1 + (number == DAYS - 1)


async def test_a_filter_column_that_changes_is_counted(calls: Data) -> None:
    query = since(0, "&filter[duration_gt]=5")
    async with opened(calls.dsn) as counting:
        assert await counting.total(query) == 0
        write(calls, "UPDATE cdr.cdr SET duration = 6 WHERE id = 3")
        assert await counting.total(query) == 1


async def test_a_partition_that_returns_unchanged_is_counted_again(calls: Data) -> None:
    """It is counted as empty while it is detached, because nobody has checked the partitions since."""
    name, bounds = partition(1), f"FROM ('{day(1).isoformat()}') TO ('{day(2).isoformat()}')"
    async with opened(calls.dsn, NEVER) as counting:
        cache = counting.counter._past["cdr.cdr"]
        await cache.closed(day(0), None)
        write(calls, f"ALTER TABLE cdr.cdr DETACH PARTITION {name}")
        assert await counting.total(since(0)) == DAYS
        write(calls, f"ALTER TABLE cdr.cdr ATTACH PARTITION {name} FOR VALUES {bounds}")
        await cache._look()
        assert await counting.total(since(0)) == DAYS + 1


async def test_a_new_partition_for_rows_of_the_default_one_is_counted(calls: Data) -> None:
    bounds = f"FROM ('{day(1).isoformat()}') TO ('{day(2).isoformat()}')"
    write(calls, f"DROP TABLE {partition(1)}")
    write(calls, "CREATE TABLE cdr.other PARTITION OF cdr.cdr DEFAULT")
    call(calls, 99, day(1))
    async with opened(calls.dsn) as counting:
        for _ in range(2):
            assert await counting.total(since(0)) == DAYS + 1
        write(calls, "DELETE FROM cdr.other")
        write(calls, f"CREATE TABLE {partition(1)} PARTITION OF cdr.cdr FOR VALUES {bounds}")
        assert await counting.total(since(0)) == DAYS
        call(calls, 99, day(1))
        assert await counting.total(since(0)) == DAYS + 1


async def test_calls_at_the_end_of_time_are_counted(calls: Data) -> None:
    write(calls, "CREATE TABLE cdr.other PARTITION OF cdr.cdr DEFAULT")
    write(calls, "INSERT INTO cdr.cdr (id, time_start, vendor_id) VALUES (99, 'infinity', 7), (98, '20000-01-01', 7)")
    async with opened(calls.dsn) as counting:
        assert await counting.total(since(0)) == await counting.plain(since(0)) == DAYS + 3


@pytest.mark.parametrize(
    "text",
    [
        "filter[time_start_gteq]={day}&filter[id_in]=1,2",
        "filter[time_start_gteq]={day}&filter[time_start_gt]={day}&filter[time_start_not_eq]={noon}",
        "filter[time_start_gt]={day}",
        "filter[time_start_lteq]={day}&filter[time_start_gteq]=2000-01-01",
        "filter[time_start_eq]={noon}",
        "filter[time_start_gt]=9999-12-31T23:59:59.999999Z",
        "filter[time_start_gteq]={day}&filter[time_start_lteq]=9999-12-31T23:59:59.999999Z",
        "filter[time_start_gteq]=0001-01-01T00:00Z",
        "filter[time_start_gteq]={day}&filter[time_start_lt]=0001-01-01T00:00Z",
        "filter[time_start_gteq]={noon}&filter[time_start_lteq]={noon}",
        "filter[time_start_gteq]={noon}&filter[time_start_lt]={day}",
        "",
    ],
)
async def test_unusual_windows_are_counted_like_others(calls: Data, text: str) -> None:
    noon = day(1) + timedelta(hours=12)
    call(calls, 99, day(1))
    query = parsed(text.format(day=f"{day(1):%Y-%m-%d}", noon=f"{noon:%Y-%m-%dT%H:%MZ}"))
    async with opened(calls.dsn) as counting:
        for _ in range(2):
            assert await counting.total(query) == await counting.plain(query)


async def test_nobody_gets_the_count_of_another(calls: Data) -> None:
    write(calls, "UPDATE cdr.cdr SET vendor_acc_id = id, customer_id = 8, duration = 5 * id")
    window = f"filter[time_start_gteq]={day(0):%Y-%m-%d}"
    expected = [
        (parsed(window), 9),
        (parsed(window, Caller(8, None, False)), 0),
        (parsed(window, Caller(8, None, False), "cdrs"), 9),
        (parsed(window, Caller(7, None, False), "cdrs"), 0),
        (parsed(window, Caller(7, (1, 2), False)), 2),
        (parsed(window, Caller(7, (2,), False)), 1),
        (parsed(window, Caller(7, (), False)), 0),
        (parsed(f"{window}&filter[duration_gt]=10"), 6),
        (parsed(f"{window}&filter[duration_gteq]=10"), 7),
        (parsed(f"{window}&filter[time_start_not_eq]={day(1):%Y-%m-%d}T12:00Z"), 8),
    ]
    async with opened(calls.dsn) as counting:
        for _ in range(2):
            assert [await counting.total(query) for query, _ in expected] == [number for _, number in expected]
        assert counting.groups == []


async def test_a_count_that_takes_too_long_is_continued_by_the_next(calls: Data) -> None:
    async with opened(calls.dsn, NEVER, limit=1) as counting:
        await counting.counter._past["cdr.cdr"].closed(day(0), None)  # While nothing is locked.
        with calls.locked(partition(1)):
            assert await counting.total(since(0)) is None
            assert counting.groups == [1, 2, 4]  # Newest first; the day is in the third group.
        assert await counting.total(since(0)) == DAYS + 1
        assert counting.groups == [1, 2, 2]
        assert all(0 < seconds <= 1 for seconds in counting.limits)


async def test_without_a_limit_of_its_own_a_count_has_that_of_a_statement(calls: Data) -> None:
    async with opened(calls.dsn, NEVER) as counting:
        counting.counter._statement_timeout = 0.3
        with calls.locked(partition(DAYS)), pytest.raises(QueryTimeoutError):
            await counting.total(since(0))
        assert await counting.total(since(0)) == DAYS + 1
        assert counting.groups == []


async def test_locked_days_do_not_delay_the_check_of_changes(calls: Data) -> None:
    async with opened(calls.dsn) as counting:
        with calls.locked(partition(1)):
            assert await counting.total(since(2)) == DAYS - 1
        assert await counting.total(since(0)) == DAYS + 1


async def test_a_check_of_changes_that_has_to_wait_leaves_time_to_count(
    calls: Data, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(partition_changes, "TIMEOUT", 0.5)
    async with opened(calls.dsn, limit=20) as counting:
        with calls.locked("pg_catalog.pg_extension"):
            assert await counting.total(since(0)) == DAYS + 1
        assert (counting.groups, len(counting.rest)) == ([], 1)
        assert counting.limits[-1] <= 19.5


async def test_counts_of_a_replica_are_cached_once_it_must_have_the_changes(calls: Data) -> None:
    async with opened(calls.dsn, lag=NEVER) as counting:
        for _ in range(2):
            assert await counting.total(since(0)) == DAYS + 1
            assert sum(counting.groups) == DAYS


async def test_nothing_is_cached_without_an_interval(calls: Data) -> None:
    async with opened(calls.dsn, seconds=0) as counting:
        for _ in range(2):
            assert await counting.total(since(0)) == DAYS + 1
            assert (counting.groups, counting.rest) == ([], [select.count(since(0)).text])


moments = st.integers(0, (DAYS + 1) * 2).map(lambda halves: day(0) + halves * timedelta(hours=12))
CHANGES = {
    "insert": "INSERT INTO cdr.cdr (id, time_start, vendor_id, duration) VALUES (%(id)s, %(moment)s, 7, %(id)s %% 3)",
    "update": "UPDATE cdr.cdr SET duration = coalesce(duration, 0) + 1 WHERE time_start <= %(moment)s",
    "move": "UPDATE cdr.cdr SET time_start = %(moment)s WHERE id = %(id)s - 3",
    "delete": "DELETE FROM cdr.cdr WHERE time_start = %(moment)s",
    "truncate": "TRUNCATE {partition}",
    "detach": "ALTER TABLE cdr.cdr DETACH PARTITION {partition}",
    "attach": "ALTER TABLE cdr.cdr ATTACH PARTITION {partition} FOR VALUES FROM ('{first}') TO ('{end}')",
}
change = st.tuples(st.sampled_from(sorted(CHANGES)), moments)
question = st.tuples(
    st.lists(st.tuples(st.sampled_from(sorted({*LOWER, *UPPER})), moments), max_size=3, unique_by=lambda pair: pair[0]),
    st.sampled_from(["", "&filter[duration_gt]=1", "&filter[duration_lteq]=1"]),
)


class Changing:
    """Changes calls and partitions, and undoes the latter at the end."""

    def __init__(self, data: Data) -> None:
        self._data = data
        self._ids = iter(range(100, 10**6))
        self._detached: set[datetime] = set()

    def apply(self, kind: str, moment: datetime) -> None:
        first = moment.replace(hour=0)
        if (kind == "attach") != (first in self._detached):
            return
        if kind in ("detach", "attach"):
            self._detached ^= {first}
        names = {"partition": f"cdr.cdr_{first:%Y_%m_%d}", "first": first, "end": first + timedelta(days=1)}
        write(self._data, CHANGES[kind].format(**names), {"id": next(self._ids), "moment": moment})

    def undo(self) -> None:
        for first in list(self._detached):
            self.apply("attach", first)
        write(self._data, "TRUNCATE cdr.cdr")


async def compared(dsn: str, changing: Changing, steps: list[tuple[Any, Any]]) -> None:
    async with opened(dsn) as counting:
        for step, (bounds, rest) in steps:
            changing.apply(*step)
            window = "&".join(f"filter[time_start_{op}]={moment:%Y-%m-%dT%H:%MZ}" for op, moment in bounds)
            query = parsed(window + rest)
            for _ in range(2):
                assert await counting.total(query) == await counting.plain(query)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(steps=st.lists(st.tuples(change, question), min_size=1, max_size=25))
def test_totals_equal_a_plain_count_whatever_changes(data: Data, steps: list[tuple[Any, Any]]) -> None:
    changing = Changing(data)
    try:
        asyncio.run(compared(data.dsn, changing, steps))
    finally:
        changing.undo()
