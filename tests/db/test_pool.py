"""The pool with a real server that is slow, busy, restarted, or closes its connections."""

import asyncio
import os
import signal
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from service.db.pool import Limits, Pool
from service.db.statement import Statement
from service.demo.postgres import Server
from service.errors import ApiError
from service.web.responses import status_of
from tests.conftest import Databases
from tests.load import until

SESSIONS = "SELECT pid FROM pg_stat_activity WHERE application_name = 'cdr-api' AND datname = %s"


@pytest.fixture
def name(empty_database: str) -> str:
    return empty_database.rpartition("/")[2]


@pytest.fixture
async def pool(empty_database: str) -> AsyncIterator[Pool]:
    opened = Pool("test", empty_database, Limits(2, 2, 0.2, 1))
    yield opened
    await opened.close()


async def refused(pool: Pool, statement: str) -> int:
    with pytest.raises(ApiError) as error:
        await pool.fetch(Statement(statement))
    return status_of(error.value)


async def test_nothing_can_be_written(pool: Pool) -> None:
    with pytest.raises(Exception, match="read-only transaction"):
        await pool.fetch(Statement("CREATE TABLE t ()"))
    assert await pool.fetch(Statement("SELECT 1")) == [(1,)]


async def test_a_connection_is_used_again(pool: Pool) -> None:
    first, second = [await pool.fetch(Statement("SELECT pg_backend_pid()")) for _ in range(2)]
    assert first == second


async def test_a_statement_past_its_time_is_ended_and_the_connection_lives_on(pool: Pool) -> None:
    ((pid,),) = await pool.fetch(Statement("SELECT pg_backend_pid()"))
    assert await refused(pool, "SELECT pg_sleep(60)") == 504
    assert await pool.fetch(Statement("SELECT pg_backend_pid()")) == [(pid,)]


async def test_who_waits_too_long_for_a_connection_is_sent_away(pool: Pool) -> None:
    busy = [asyncio.create_task(refused(pool, "SELECT pg_sleep(60)")) for _ in range(2)]
    await asyncio.sleep(0)
    assert await refused(pool, "SELECT 1") == 503
    assert await asyncio.gather(*busy) == [504, 504]


async def test_connections_that_died_idle_are_replaced_unnoticed(pool: Pool, postgres: Databases, name: str) -> None:
    await asyncio.gather(*(pool.fetch(Statement("SELECT pg_sleep(0.05)")) for _ in range(2)))
    postgres.execute(name, f"SELECT pg_terminate_backend(pid) FROM ({SESSIONS}) AS s", (name,))
    await until(lambda: not postgres.execute(name, SESSIONS, (name,)))
    assert await asyncio.gather(*(pool.fetch(Statement("SELECT 1")) for _ in range(4))) == [[(1,)]] * 4


async def test_a_connection_killed_at_work_is_unavailable(pool: Pool, postgres: Databases, name: str) -> None:
    at_work = asyncio.create_task(refused(pool, "SELECT pg_sleep(60)"))
    await until(lambda: bool(postgres.execute(name, SESSIONS, (name,))))
    working = SESSIONS + " AND state = 'active'"
    await until(lambda: bool(postgres.execute(name, working, (name,))))
    postgres.execute(name, f"SELECT pg_terminate_backend(pid) FROM ({working}) AS s", (name,))
    assert await at_work == 503
    assert await pool.fetch(Statement("SELECT 1")) == [(1,)]


async def test_a_cancelled_request_frees_its_place(pool: Pool) -> None:
    for _ in range(4):
        task = asyncio.create_task(pool.fetch(Statement("SELECT pg_sleep(60)")))
        await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
    assert await pool.fetch(Statement("SELECT 1")) == [(1,)]


async def test_a_backend_that_no_longer_answers_is_left(empty_database: str) -> None:
    pool = Pool("test", empty_database, Limits(1, 0.2, 5, 0.2))
    ((pid,),) = await pool.fetch(Statement("SELECT pg_backend_pid()"))
    os.kill(pid, signal.SIGSTOP)
    try:
        assert await refused(pool, "SELECT 1") == 503
    finally:
        os.kill(pid, signal.SIGCONT)
    ((other,),) = await pool.fetch(Statement("SELECT pg_backend_pid()"))
    assert other != pid
    await pool.close()


async def test_there_are_never_more_connections_than_it_may_have(
    empty_database: str, postgres: Databases, name: str
) -> None:
    pool = Pool("test", empty_database, Limits(4, 5, 5, 30, cached_relations=2))
    for n in range(20):
        texts = [f"SELECT {n}, {k}, pg_sleep(0.01)" for k in range(4)]
        await asyncio.gather(*(pool.fetch(Statement(text, repeated=True)) for text in texts[: n % 4 + 1]))
        assert len(postgres.execute(name, SESSIONS + " AND state IS NOT NULL", (name,))) <= 4
    await pool.close()


async def test_closing_leaves_no_connection(empty_database: str, postgres: Databases, name: str) -> None:
    pool = Pool("test", empty_database, Limits(2, 2, 1, 1))
    await pool.fetch(Statement("SELECT 1"))
    await pool.close()
    await until(lambda: not postgres.execute(name, SESSIONS, (name,)))


async def test_a_stopped_server_is_unavailable_at_once(tmp_path: Path) -> None:
    with Server.start(tmp_path) as server:
        pool = Pool("test", server.dsn(), Limits(2, 2, 1, 1))
        assert await pool.fetch(Statement("SELECT 1")) == [(1,)]
    assert await refused(pool, "SELECT 1") == 503
    await pool.close()
