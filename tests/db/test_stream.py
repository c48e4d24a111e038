"""Reading a whole list through a cursor in the server: how it is planned, and what is left when its reader goes."""

import asyncio
from collections.abc import AsyncIterator
from datetime import UTC

import pytest

from service.db import select
from service.db.connection import Limits
from service.db.export import BATCH, FIRST, Stream, TooManyRowsError
from service.db.pool import Pool
from service.db.statement import read_sql
from service.query import Caller, Sort
from service.schemas.resource import configured
from tests.conftest import Data
from tests.load import until

RESOURCE = configured(UTC, {})["incoming-cdrs"]
NEWEST_FIRST = (Sort("time_start", True), Sort("id", True))
BUSY = (
    "SELECT count(*) FROM pg_stat_activity"
    " WHERE datname = current_database() AND pid <> pg_backend_pid() AND state <> 'idle'"
)


@pytest.fixture(params=[False, True], ids=["sessions", "transaction pooling"])
async def pool(data: Data, request: pytest.FixtureRequest) -> AsyncIterator[Pool]:
    opened = Pool("cdr", data.dsn, Limits(1, 5, 5, 60, pooled=request.param))
    yield opened
    await opened.close()


async def test_a_reader_that_goes_frees_even_a_backend_that_has_much_to_do(data: Data, pool: Pool) -> None:
    """PostgreSQL is told to look whether there is still somebody, and needs no more than some seconds for it."""

    async def read() -> None:
        async with pool.transaction() as fetch:
            await fetch(read_sql("queries/watch_client"))
            await fetch("SELECT count(*) FROM generate_series(1, 100000) AS a, generate_series(1, 100000) AS b")

    task = asyncio.create_task(read())
    await _until(data, 1)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    await _until(data, 0)
    assert await pool.fetch(Statement("SELECT 1")) == [(1,)]


async def _until(data: Data, busy: int) -> None:
    await until(lambda: data.execute(BUSY) == [(busy,)])


async def test_an_export_is_of_one_moment(data: Data, pool: Pool) -> None:
    data.call(1, vendor_id=7)
    count = select.count(RESOURCE.sql, (), Caller(7, None, False))[:3]
    async with pool.transaction() as fetch:
        await fetch(read_sql("queries/one_snapshot"))
        assert await fetch(*count) == [(1,)]
        data.call(2, vendor_id=7)
        assert await fetch(*count) == [(1,)]
    async with pool.transaction() as fetch:
        assert await fetch(*count) == [(2,)]


def test_the_newest_calls_come_before_the_rest_is_read(data: Data) -> None:
    """The order comes from the index of owner and time, so nothing waits for a sort of everything."""
    data.execute(
        "INSERT INTO cdr.cdr (id, time_start, vendor_id)"
        " SELECT n, now() - n * interval '1 minute', n % 5 FROM generate_series(1, 10000) AS n"
    )
    data.execute("ANALYZE cdr.cdr")
    text, parameters, *_ = select.stream(RESOURCE.sql, ("id",), (), NEWEST_FIRST, Caller(3, None, False), 10**6)
    plan = "\n".join(line for (line,) in data.execute(f"EXPLAIN {text}", parameters))
    assert "Incremental Sort" in plan
    assert "vendor_id_time_start_idx" in plan
    assert "Seq Scan" not in plan


@pytest.mark.parametrize(("rows", "sizes"), [(0, []), (3, [3]), (FIRST, [FIRST]), (1100, [FIRST, BATCH, BATCH, 50])])
async def test_rows_come_in_batches_and_the_first_is_small(data: Data, pool: Pool, rows: int, sizes: list[int]) -> None:
    data.execute(
        "INSERT INTO cdr.cdr (id, time_start, vendor_id) SELECT n, now(), 7 FROM generate_series(1, %s) AS n", (rows,)
    )
    statement = select.stream(RESOURCE.sql, ("id",), (), [Sort("id")], Caller(7, None, False), 10**6)
    following = read_sql("queries/next_records")
    async with pool.transaction() as fetch:
        await fetch(*statement[:3])
        first = await fetch(following, {"count": FIRST})
        stream = Stream(None, None, 10**6, first, lambda: fetch(following, {"count": BATCH}))
        batches = [batch async for batch in stream.batches()]
    assert [len(batch) for batch in batches] == sizes
    assert [id for batch in batches for (id,) in batch] == list(range(1, rows + 1))


async def test_one_row_too_many_is_no_row_left_out() -> None:
    async def nothing() -> list[tuple[int]]:
        return []

    assert [batch async for batch in Stream(None, None, 2, [(1,), (2,)], nothing).batches()] == [[(1,), (2,)]]
    with pytest.raises(TooManyRowsError):
        [batch async for batch in Stream(None, None, 2, [(1,), (2,), (3,)], nothing).batches()]
