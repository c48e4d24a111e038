"""Exports: plans, continuation in several transactions, and cleanup after a disconnect."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import UTC

import pytest

from service.db import select
from service.db.connection import Limits
from service.db.export import BATCH, FIRST_BATCH, Export, ExportReader, TooManyRowsError
from service.db.partitions import PartitionDirectory
from service.db.pool import Pool
from service.db.records import RecordReader
from service.db.replicas import ReplicaRouter
from service.db.search import PartitionSearch
from service.db.statement import Statement
from service.query import Caller, Everything, Query, Sort
from service.schemas.resource import configured
from tests.conftest import Data
from tests.load import until

RESOURCE = configured(UTC, {})["incoming-cdrs"]
NEWEST_FIRST = (Sort("time_start", True), Sort("id", True))
ALL = Query(RESOURCE, ("id",), Caller(7, None, False), sorts=(Sort("id"),), window=Everything(10**6))
SESSIONS = (
    "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid() AND state "
)


@dataclass
class Opened:
    """An export reader on pools of its own."""

    pool: Pool
    exports: ExportReader


@pytest.fixture(params=[False, True], ids=["sessions", "transaction pooling"])
async def opened(data: Data, request: pytest.FixtureRequest) -> AsyncIterator[Opened]:
    pools = [Pool(name, data.dsn, Limits(1, 5, 5, 60, pooled=request.param)) for name in ("cdr", "search", "exports")]
    search = PartitionSearch(pools[1])
    directory = PartitionDirectory(pools[1], search, 86400)
    records = RecordReader(ReplicaRouter(pools[0]), pools[0], {"cdr.cdr": directory}, 0, 0, {})
    yield Opened(pools[2], ExportReader({"cdr": pools[2]}, records, transaction_timeout=10))
    await search.close()
    for pool in pools:
        await pool.close()


async def ids(export: Export) -> list[list[int]]:
    return [[id for (id,) in batch] async for batch in export.batches()]


async def test_a_reader_that_goes_frees_even_a_backend_that_has_much_to_do(data: Data, opened: Opened) -> None:
    """PostgreSQL is told to look whether there is still somebody, and needs no more than some seconds for it."""
    transaction = await opened.pool.begin()
    work = Statement("SELECT count(*) FROM generate_series(1, 100000) AS a, generate_series(1, 100000) AS b")
    task = asyncio.create_task(transaction.fetch(work))
    await until(lambda: data.execute(f"{SESSIONS} = 'active'") == [(1,)])
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    transaction.abort()
    await until(lambda: data.execute(f"{SESSIONS} = 'active'") == [(0,)])
    assert await opened.pool.fetch(Statement("SELECT 1")) == [(1,)]


def test_the_newest_calls_come_before_the_rest_is_read(data: Data) -> None:
    """The order comes from the index of owner and time, so nothing waits for a sort of everything."""
    data.execute(
        "INSERT INTO cdr.cdr (id, time_start, vendor_id)"
        " SELECT n, now() - n * interval '1 minute', n % 5 FROM generate_series(1, 10000) AS n"
    )
    data.execute("ANALYZE cdr.cdr")
    query = Query(RESOURCE, ("id",), Caller(3, None, False), sorts=NEWEST_FIRST, window=Everything(10**6))
    statement = select.declare(select.records(query))
    plan = "\n".join(line for (line,) in data.execute(f"EXPLAIN {statement.text}", statement.parameters))
    assert "Incremental Sort" in plan
    assert "vendor_id_time_start_idx" in plan
    assert "Seq Scan" not in plan


def insert(data: Data, rows: int) -> None:
    data.execute(
        "INSERT INTO cdr.cdr (id, time_start, vendor_id) SELECT n, now(), 7 FROM generate_series(1, %s) AS n", (rows,)
    )


@pytest.mark.parametrize(
    ("rows", "sizes"), [(0, []), (3, [3]), (FIRST_BATCH, [FIRST_BATCH]), (600, [FIRST_BATCH, BATCH, BATCH, 50])]
)
async def test_rows_come_in_batches_and_the_first_is_small(
    data: Data, opened: Opened, rows: int, sizes: list[int]
) -> None:
    insert(data, rows)
    async with opened.exports.open(ALL) as export:
        batches = await ids(export)
    assert [len(batch) for batch in batches] == sizes
    assert [id for batch in batches for id in batch] == list(range(1, rows + 1))


async def test_as_many_rows_as_are_allowed_are_read_and_one_more_is_an_error(data: Data, opened: Opened) -> None:
    from dataclasses import replace

    insert(data, 120)
    async with opened.exports.open(replace(ALL, window=Everything(120))) as export:
        assert sum(map(len, await ids(export))) == 120
    with pytest.raises(TooManyRowsError):
        async with opened.exports.open(replace(ALL, window=Everything(119))) as export:
            await ids(export)


async def test_a_reader_that_pauses_holds_no_transaction(data: Data, opened: Opened) -> None:
    """So nothing waits for it, neither a new partition nor what a role does with idle transactions."""
    insert(data, 700)
    async with opened.exports.open(ALL) as export:
        batches = export.batches()
        first = await anext(batches)
        await until(lambda: data.execute(f"{SESSIONS} LIKE 'idle in transaction%%'", ()) == [(0,)])
        data.execute("CREATE TABLE cdr.later PARTITION OF cdr.cdr FOR VALUES FROM ('2030-01-01') TO ('2030-02-01')")
        data.execute("INSERT INTO cdr.cdr (id, time_start, vendor_id) VALUES (1000, now(), 7), (0, now(), 7)")
        rest = [row async for batch in batches for row in batch]
    assert [id for (id,) in [*first, *rest]] == [*range(1, 701), 1000]


async def test_ddl_waits_no_longer_than_a_transaction_may_last(data: Data, opened: Opened) -> None:
    """A reader that takes every batch at once is in a transaction all the time, but in no long one."""
    insert(data, 2000)
    now = 0.0
    records = opened.exports._records
    reader = ExportReader({"cdr": opened.pool}, records, transaction_timeout=10, pause=3600, clock=lambda: now)
    async with reader.open(ALL) as export:
        batches = export.batches()
        seen = await anext(batches)
        create = "CREATE TABLE cdr.later PARTITION OF cdr.cdr FOR VALUES FROM ('2030-01-01') TO ('2030-02-01')"
        ddl = asyncio.create_task(asyncio.to_thread(data.execute, create))
        await until(lambda: data.execute("SELECT count(*) FROM pg_locks WHERE NOT granted") == [(1,)])
        now = 9.0
        seen += [row async for batch in batches for row in batch]
        await ddl
    assert [id for (id,) in seen] == list(range(1, 2001))
