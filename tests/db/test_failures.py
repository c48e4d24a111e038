"""Classification of PostgreSQL's errors: only a dead connection is a lost database."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import closing
from datetime import date

import psycopg2
import pytest

from service.db import schema
from service.db.pool import Limits, Pool
from service.db.replicas import Replica, ReplicaRouter
from service.db.statement import Statement
from service.demo.postgres import Server
from service.errors import DatabaseFailedError, DatabaseUnavailableError
from service.files import SQL
from service.observability import metrics
from service.web.keys import STATE
from tests.conftest import Data, Databases, Serve

LIMITS = Limits(2, 10, 10, 30)
PID = Statement("SELECT pg_backend_pid()")
RAISES = "DO $$ BEGIN RAISE 'about an object' USING ERRCODE = '{}'; END $$"
FAILED = ["08001", "08006", "53100", "53200", "53300", "53400", "54000", "55P03", "55006", "57P01", "58030", "HV00N"]
FAILED += ["0A000", "XX000", "3F000", "42P01", "42703", "42883", "42501", "22021", "22P05"]


@pytest.fixture
async def pool(empty_database: str) -> AsyncIterator[Pool]:
    opened = Pool("test", empty_database, LIMITS)
    yield opened
    await opened.close()


def counted(sqlstate: str) -> float:
    labels = {"pool": "test", "sqlstate": sqlstate}
    return metrics.REGISTRY.get_sample_value("cdr_api_statement_failures_total", labels) or 0


@pytest.mark.parametrize("sqlstate", FAILED)
async def test_an_error_over_a_live_connection_fails_that_statement_alone(
    pool: Pool, sqlstate: str, capsys: pytest.CaptureFixture[str]
) -> None:
    before = counted(sqlstate)
    sessions = await asyncio.gather(*(pool.fetch(Statement("SELECT pg_backend_pid(), pg_sleep(0.05)")) for _ in "ab"))
    for _ in range(3):
        with pytest.raises(DatabaseFailedError, match=f"SQLSTATE {sqlstate}") as caught:
            await pool.fetch(Statement(RAISES.format(sqlstate), name="some"))
        assert (caught.value.errors[0].code, caught.value.sqlstate) == ("503", sqlstate)
    again = await asyncio.gather(*(pool.fetch(Statement("SELECT pg_backend_pid(), pg_sleep(0.05)")) for _ in "ab"))
    assert {row[0] for (row,) in again} == {row[0] for (row,) in sessions}
    assert counted(sqlstate) == before + 3
    [line] = [line for line in capsys.readouterr().out.splitlines() if "statement failed" in line]
    assert f"sqlstate={sqlstate}" in line.replace("'", "")
    assert ("about an object" in line) == (sqlstate not in ("22021", "22P05"))  # Whose messages quote values.


async def test_a_dead_connection_is_a_lost_database(pool: Pool) -> None:
    with pytest.raises(DatabaseUnavailableError):
        await pool.fetch(Statement("SELECT pg_terminate_backend(pg_backend_pid()), pg_sleep(5)"))
    assert await pool.fetch(Statement("SELECT 1")) == [(1,)]


@pytest.mark.parametrize("sqlstate", ["22003", "23505", "25006"])
async def test_what_nobody_foresaw_is_raised_as_it_is(pool: Pool, sqlstate: str) -> None:
    with pytest.raises(psycopg2.Error) as caught:
        await pool.fetch(Statement(RAISES.format(sqlstate)))
    assert caught.value.pgcode == sqlstate


async def test_a_failure_that_is_handled_is_not_logged(pool: Pool, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(DatabaseFailedError):
        await pool.fetch(Statement("SELECT * FROM missing", handled=("42P01",)))
    assert "statement failed" not in capsys.readouterr().out


async def test_a_statement_that_fails_leaves_the_replica_in_use(empty_database: str) -> None:
    primary, replica = Pool("cdr", empty_database, LIMITS), Replica(Pool("replica 1", empty_database, LIMITS))
    router = ReplicaRouter(primary, [replica], 10)
    replica.update_health(0, None)
    with pytest.raises(DatabaseFailedError):
        await router.fetch(Statement(RAISES.format("53200")))
    assert replica.healthy
    await router.close()


async def test_a_lock_timeout_of_the_role_does_not_act(pool: Pool, postgres: Databases, empty_database: str) -> None:
    name = empty_database.rpartition("/")[2]
    postgres.execute(name, f"ALTER DATABASE {name} SET lock_timeout = 1")
    postgres.execute(name, "CREATE TABLE t AS SELECT 1 AS n")
    with closing(psycopg2.connect(empty_database)) as locking, locking.cursor() as cursor:
        cursor.execute("LOCK TABLE t")
        waiting = asyncio.create_task(pool.fetch(Statement("SELECT n FROM t")))
        done, _ = await asyncio.wait([waiting], timeout=0.3)
        assert not done
        locking.rollback()
    assert await waiting == [(1,)]


async def test_a_temporary_file_limit_is_told_to_the_client_and_the_log(
    serve: Serve, data: Data, capsys: pytest.CaptureFixture[str]
) -> None:
    data.customer(7)
    data.execute(
        "INSERT INTO cdr.cdr (id, time_start, vendor_id, src_name_out)"
        " SELECT n, now() - interval '1 hour', 7, repeat('x', 500) || n FROM generate_series(1, 5000) AS n"
    )
    for setting in ("temp_file_limit = 64", "work_mem = 64"):
        data.execute(f"ALTER DATABASE {data.name} SET {setting}")
    api = await serve(data.dsn)
    answer = await api.get("incoming-cdrs?sort=src-name-out&page[size]=1000&page[number]=4", 7)
    assert answer.error == (503, "503")
    assert "SQLSTATE 53400" in answer.json["errors"][0]["detail"]
    assert int(answer.headers["retry-after"]) > 1
    assert "temporary file size exceeds" in capsys.readouterr().out
    assert (await api.get("incoming-cdrs?page[size]=1", 7)).status == 200


@pytest.mark.slow
async def test_with_more_partitions_than_locks_calls_are_found_and_missed(
    serve: Serve, tmp_path_factory: pytest.TempPathFactory, capsys: pytest.CaptureFixture[str]
) -> None:
    """A third of the default of 64 locks a connection, because there is some reserve beyond what is set."""
    folder = tmp_path_factory.mktemp("many")
    with Server.start(folder, options={"max_locks_per_transaction": "1024"}) as made:
        for part in ("cdr", "routing"):
            schema.apply(made.dsn(), SQL / "schema" / part)
        for year in (2023, 2024, 2025):
            schema.create_partitions(made.dsn(), date(year, 1, 1), date(year, 12, 31))
        with closing(psycopg2.connect(made.dsn())) as connection, connection.cursor() as cursor:
            for statement in (
                "INSERT INTO public.contractors VALUES (7, 'seven', true, true, true)",
                "INSERT INTO sys.customer_portal_access_profiles VALUES (1, 'one', false)",
                "INSERT INTO sys.api_access (id, customer_id, login, password_digest) VALUES (7, 7, 'a', '')",
                "INSERT INTO cdr.cdr (id, time_start, vendor_id)"
                " SELECT n, timestamptz '2023-01-01' + n * interval '1 day', 7 FROM generate_series(0, 1000) AS n",
                "INSERT INTO cdr.cdr (id, time_start, vendor_id) VALUES (77777, '2023-02-02', 7)",
            ):
                cursor.execute(statement)
            connection.commit()
    with Server.start(folder, options={"max_locks_per_transaction": "24"}) as server:
        api = await serve(server.dsn())
        for identifier, status in ((500, 200), (77777, 200), (999999999, 404), (3, 200)):
            assert (await api.get(f"incoming-cdrs/{identifier}", 7)).status == status
        problems = await api.client.app[STATE].services.parts()
        assert not problems["database cdr"].problems
        assert "set it to" in capsys.readouterr().out
        wide = await api.get("incoming-cdrs?filter[time_start_gteq]=2000-01-01", 7)
        assert wide.error == (503, "503")
        assert "SQLSTATE 53200" in wide.json["errors"][0]["detail"]
        assert (await api.get("incoming-cdrs/500", 7)).status == 200
