"""Lists read in parts equal the result of one plain statement, in every order, page and direction."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import closing
from dataclasses import replace
from datetime import UTC, datetime
from itertools import product

import psycopg2
import pytest

from service.db import parts, select
from service.db.partitions import PartitionDirectory
from service.db.pool import Limits, Pool
from service.db.records import MAX_ROWS_IN_PARTS, RecordReader
from service.db.replicas import ReplicaRouter
from service.db.search import PartitionSearch
from service.db.statement import Statement
from service.jsonapi import params, query_string
from service.query import Caller, CursorPage, Page, Query
from service.schemas.resource import configured
from tests.conftest import Databases
from tests.load import until

RESOURCES = configured(UTC, {})
PREPARED = Statement("SELECT count(*) FROM pg_prepared_statements")
WINDOW = "filter[time_start_gteq]=2026-03-01&filter[time_start_lt]=2026-03-13"
FILTERS = [
    "",
    "filter[success_eq]=true",
    "filter[success_eq]=true&filter[duration_lt]=60",
    "filter[success_eq]=true&filter[duration_eq]=0",
    "filter[dst_prefix_routing_start]=38",
    "filter[dst_prefix_routing_start]=389&filter[src_prefix_routing_start]=4",
    "filter[local_tag_cont]=a",
    "filter[local_tag_cont]=-00",
    "filter[id_gt]=100&filter[success_eq]=false",
    "filter[duration_eq]=0&filter[time_start_lt]=2026-03-06T12:00:00Z",
]
SORTS = ["-time_start", "time_start", "-id", "id", "-duration", "local_tag,-time_start"]
CDRS = pytest.mark.parametrize("cdrs", ["incoming-cdrs", "cdrs"])


@pytest.fixture
async def reader(postgres: Databases, golden_database: str) -> AsyncIterator[tuple[RecordReader, Pool]]:
    """A reader that knows the partitions of the golden data set, and its pool."""
    pool = Pool("test", postgres.dsn(golden_database), Limits(2, 2, 5, 30, prepared=150))
    directory = PartitionDirectory(pool, PartitionSearch(pool), 60)
    await directory.refresh()
    yield RecordReader(ReplicaRouter(pool), pool, {"cdr.cdr": directory}, 0, 0, {}), pool
    await pool.close()


def callers(cdrs: str) -> Iterator[Caller]:
    """One that sees many calls, and one that sees those of some accounts."""
    yield Caller(10, None, False)
    yield Caller(10, (101, 102, 103), False)


def queries(cdrs: str, sort: str) -> Iterator[Query]:
    for caller, filters in product(callers(cdrs), FILTERS):
        text = f"{WINDOW}&{filters}&sort={sort}"
        yield params.parse_list(RESOURCES[cdrs], query_string.parse(text), caller, datetime(2026, 3, 13, tzinfo=UTC))[0]


@CDRS
@pytest.mark.parametrize("sort", SORTS)
async def test_pages_by_number_are_those_of_one_statement(
    reader: tuple[RecordReader, Pool], cdrs: str, sort: str
) -> None:
    records, pool = reader
    for query in queries(cdrs, sort):
        [(total,)] = await pool.fetch(select.count(query))
        for page in (Page(1, 3), Page(2, 3), Page(3, 40), Page(1, 1000), Page(99, 50), Page(2, MAX_ROWS_IN_PARTS)):
            wanted = replace(query, window=page)
            found = await records.read(wanted)
            rows = await pool.fetch(select.records(wanted))
            assert [tuple(row) for row in found.rows] == [tuple(row) for row in rows[: page.size]]
            assert (found.total, found.more) == (total, len(rows) > page.size)


@CDRS
@pytest.mark.parametrize("sort", SORTS)
async def test_pages_by_cursor_are_those_of_one_statement(
    reader: tuple[RecordReader, Pool], cdrs: str, sort: str
) -> None:
    records, pool = reader
    for query in queries(cdrs, sort):
        [(total,)] = await pool.fetch(select.count(query))
        first = await records.read(replace(query, window=CursorPage(5, total=True)))
        assert first.total == total
        middle = first.positions[-1] if first.positions else None
        for page in (CursorPage(5, after=middle), CursorPage(3, before=middle, backwards=middle is not None)):
            wanted = replace(query, window=page)
            found = await records.read(wanted)
            rows = await pool.fetch(select.records(wanted))
            expected = rows[: page.size][:: -1 if page.backwards else 1]
            assert [(*row, *position) for row, position in zip(found.rows, found.positions, strict=True)] == expected
            assert found.more == (len(rows) > page.size)


async def test_the_data_set_reaches_into_each_part(reader: tuple[RecordReader, Pool]) -> None:
    """So that the comparisons above mean something."""
    _, pool = reader
    counts = set()
    for query in queries("cdrs", "-time_start"):
        bounds = parts.bounded("time_start", query.filters, (datetime(2026, 3, 1, tzinfo=UTC), datetime.now(UTC)))
        for number, part in enumerate(parts.split(query.sorts, bounds)):
            narrowed = replace(query, filters=(*query.filters, *part.bounds))
            [(count,)] = await pool.fetch(select.count(narrowed))
            counts |= {number} if count else set()
    assert counts >= {1, 2}


async def test_a_prepared_search_that_takes_too_long_is_planned_with_its_values(
    reader: tuple[RecordReader, Pool], postgres: Databases, golden_database: str
) -> None:
    """Its plan waits for a lock here; for a frequent value, it could read too many rows."""
    records, pool = reader
    text = f"{WINDOW}&filter[duration_eq]=0"
    caller, now = Caller(10, None, False), datetime.now(UTC)
    query, _ = params.parse_list(RESOURCES["cdrs"], query_string.parse(text), caller, now)
    for _ in range(4):
        expected = (await records.read(query)).rows
    assert await pool.fetch(PREPARED) != [(0,)]
    limits = records._searched.times._limits
    assert all(limit for limit, _ in limits.values())
    with closing(psycopg2.connect(postgres.dsn(golden_database))) as connection, connection.cursor() as cursor:
        cursor.execute("LOCK TABLE cdr.cdr_2026_03_01")
        reading = asyncio.create_task(records.read(query))
        await until(lambda: any(limit is None for limit, _ in limits.values()))
    assert (await reading).rows == expected != []
