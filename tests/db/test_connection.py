"""One connection to a real server: prepared statements, disconnected clients, and choice of the host."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace

import pytest
from psycopg2.extensions import parse_dsn

from service.db.connection import Connection, Limits, hosts
from service.db.pool import Pool
from service.db.statement import Statement
from service.errors import QueryTimeoutError
from tests.conftest import Databases
from tests.load import until

LIMITS = Limits(2, 5, 5, 30, prepared=3)
PREPARED = Statement("SELECT count(*) FROM pg_prepared_statements")
TYPED = "SELECT %(n)s::int + 1, %(a)s::bigint[], 'a%%b'"


def repeated(text: str, **parameters: object) -> Statement:
    return Statement(text, {"n": 1, "a": [1, 2], **parameters}, repeated=True)


@pytest.fixture
async def connection(empty_database: str) -> AsyncIterator[Connection]:
    opened = await Connection.open(empty_database, LIMITS)
    yield opened
    opened.close()


async def test_the_second_use_is_prepared_and_answers_the_same(connection: Connection) -> None:
    expected = [(2, [1, 2], "a%b")]
    for prepared in (0, 1, 1):
        assert await connection.fetch(repeated(TYPED)) == expected
        assert await connection.fetch(PREPARED) == [(prepared,)]
    assert await connection.fetch(repeated(TYPED, a=None, n=5)) == [(6, None, "a%b")]


async def test_no_more_than_the_limit_are_prepared(connection: Connection) -> None:
    for _ in range(3):
        for number in range(10):
            assert await connection.fetch(repeated(f"SELECT {number}, %(n)s::int")) == [(number, 1)]
    assert await connection.fetch(PREPARED) == [(3,)]


async def test_plans_of_searches_make_room_for_others(empty_database: str) -> None:
    """The least recently used are removed. Plans of look-ups stay, because their tables would stay in memory."""
    connection = await Connection.open(empty_database, replace(LIMITS, prepared=100, cached_relations=250))
    for _ in range(3):
        await connection.fetch(repeated("SELECT 'look-up', %(n)s::int"))
    searches = [replace(repeated(f"SELECT {n}, %(n)s::int"), partitions=tuple(range(100))) for n in range(6)]
    for search in searches:
        for _ in range(3):
            [(number, _)] = await connection.fetch(search)
            await connection.fetch(searches[0])
    assert number == 5
    names = await connection.fetch(Statement("SELECT statement FROM pg_prepared_statements"))
    found = {text.partition(" AS SELECT ")[2].partition(",")[0] for (text,) in names}
    assert found == {"'look-up'", "0", "3", "4", "5"}
    assert not connection.expired
    connection.close()


def search(number: int, partitions: int) -> Statement:
    return replace(repeated(f"SELECT {number}, %(n)s::int"), partitions=tuple(range(partitions)))


async def test_a_connection_lasts_however_many_searches_it_runs(empty_database: str) -> None:
    connection = await Connection.open(empty_database, replace(LIMITS, prepared=100, cached_relations=250))
    for number in range(300):
        assert await connection.fetch(search(number, 100)) == [(number, 1)]
        assert not connection.expired
    assert connection.has_seen(search(299, 100).text)
    assert not connection.has_seen(search(0, 100).text)
    connection.close()


async def test_plans_of_searches_make_room_for_look_ups(empty_database: str) -> None:
    """Also those in few partitions, which nobody may search any more."""
    connection = await Connection.open(empty_database, replace(LIMITS, prepared=5, cached_relations=20))
    for number in range(10):
        await connection.fetch(search(number, 2))
    look_ups = [repeated(f"SELECT 'look-up {number}', %(n)s::int") for number in range(5)]
    for statement in look_ups * 3:
        await connection.fetch(statement)
    names = await connection.fetch(Statement("SELECT statement FROM pg_prepared_statements"))
    assert len(names) == 5
    assert all("look-up" in text for (text,) in names)
    assert not connection.expired
    connection.close()


async def test_no_plan_is_removed_for_a_search_that_cannot_fit_in(empty_database: str) -> None:
    connection = await Connection.open(empty_database, replace(LIMITS, prepared=20, cached_relations=160))
    for number, partitions in ((1, 30), (2, 120), (3, 30)):
        assert await connection.fetch(search(number, partitions)) == [(number, 1)]
    names = await connection.fetch(Statement("SELECT statement FROM pg_prepared_statements"))
    assert sorted(text.partition(" AS SELECT ")[2][0] for (text,) in names) == ["1", "3"]
    connection.close()


async def test_a_prepared_statement_that_the_session_lost_is_prepared_again(empty_database: str) -> None:
    connection = await Connection.open(empty_database, replace(LIMITS, prepared=100, cached_relations=100))
    for number in (1, 2, 1, 2):
        search = replace(repeated(f"SELECT {number}, %(n)s::int"), partitions=tuple(range(40)), timeout=20)
        for _ in range(3):
            assert await connection.fetch(search) == [(number, 1)]
        await connection.fetch(Statement("DISCARD ALL"))
    connection.close()


async def test_a_prepared_statement_has_a_timeout_of_its_own(connection: Connection) -> None:
    sleep = repeated("SELECT pg_sleep(%(seconds)s)", seconds=0)
    for _ in range(3):
        await connection.fetch(sleep)
    with pytest.raises(QueryTimeoutError):
        await connection.fetch(replace(sleep, parameters={"seconds": 20}, timeout=0.01))
    assert len(await connection.fetch(replace(sleep, parameters={"seconds": 0.05}))) == 1
    assert await connection.fetch(PREPARED) == [(1,)]


@pytest.mark.parametrize("prepared", [3, 0])
async def test_a_connection_that_remembers_too_much_is_replaced(empty_database: str, prepared: int) -> None:
    pool = Pool("test", empty_database, replace(LIMITS, size=1, prepared=prepared, cached_relations=6))
    backends = []
    for number in range(24):
        await pool.fetch(Statement(f"SELECT {number}, %(n)s::int", {"n": 1}, repeated=True))
        backends += await pool.fetch(Statement("SELECT pg_backend_pid()"))
    assert len(set(backends[:6])) == 1
    assert len(set(backends)) == 4
    await pool.close()


async def test_what_is_new_goes_to_a_new_connection_rather_than_to_one_that_knows_enough(
    empty_database: str,
) -> None:
    pool = Pool("test", empty_database, replace(LIMITS, cached_relations=6))
    texts = [Statement(f"SELECT pg_backend_pid(), {number}", repeated=True) for number in range(12)]
    backends = [await pool.fetch(text) for text in texts]
    assert len({pid for ((pid, _),) in backends}) == 2
    again = [await pool.fetch(text) for text in texts]
    assert again == backends
    await pool.close()


async def test_a_statement_goes_where_it_is_known(empty_database: str) -> None:
    pool = Pool("test", empty_database, LIMITS)
    texts = [f"SELECT pg_backend_pid(), {number}" for number in range(2)]
    await asyncio.gather(*(pool.fetch(Statement("SELECT pg_sleep(0.05)")) for _ in range(2)))
    first = [await pool.fetch(Statement(text, repeated=True)) for text in texts]
    assert len({row[0] for (row,) in first}) == 2
    for text, known in list(zip(texts, first, strict=True)) * 3:
        assert await pool.fetch(Statement(text, repeated=True)) == known
    await pool.close()


async def test_once_is_not_enough_to_be_prepared(connection: Connection) -> None:
    for number in range(20):
        await connection.fetch(repeated(f"SELECT {number}"))
    assert await connection.fetch(PREPARED) == [(0,)]


async def test_a_table_that_was_altered_is_read_all_the_same(
    connection: Connection, postgres: Databases, empty_database: str
) -> None:
    name = empty_database.rpartition("/")[2]
    postgres.execute(name, "CREATE TABLE t AS SELECT 1 AS a")
    for _ in range(3):
        assert await connection.fetch(repeated("SELECT * FROM t")) == [(1,)]
    postgres.execute(name, "ALTER TABLE t ADD COLUMN b int DEFAULT 2")
    for _ in range(3):
        assert await connection.fetch(repeated("SELECT * FROM t")) == [(1, 2)]


async def test_a_session_that_was_reset_prepares_anew(connection: Connection) -> None:
    for _ in range(3):
        await connection.fetch(repeated(TYPED))
    await connection.fetch(Statement("DISCARD ALL"))
    for _ in range(3):
        assert await connection.fetch(repeated(TYPED)) == [(2, [1, 2], "a%b")]


async def test_behind_a_transaction_pooler_nothing_of_a_session_is_left_behind(empty_database: str) -> None:
    connection = await Connection.open(empty_database, replace(LIMITS, pooled=True, statement_timeout=7))
    for _ in range(3):
        await connection.fetch(repeated(TYPED))
    assert await connection.fetch(PREPARED) == [(0,)]
    assert await connection.fetch(Statement("SHOW statement_timeout")) == [("7s",)]
    assert await connection.fetch(Statement("SHOW transaction_read_only")) == [("on",)]
    connection._prefix = ""
    assert await connection.fetch(Statement("SHOW statement_timeout")) == [("0",)]
    connection.close()


async def test_the_statement_of_a_client_that_has_left_is_cancelled_on_the_server(
    empty_database: str, postgres: Databases
) -> None:
    pool, name = Pool("test", empty_database, LIMITS), empty_database.rpartition("/")[2]
    running = "SELECT count(*) FROM pg_stat_activity WHERE datname = %s AND wait_event = 'PgSleep'"
    asked = asyncio.create_task(pool.fetch(Statement("SELECT pg_sleep(600)")))
    await until(lambda: postgres.execute("postgres", running, (name,)) == [(1,)])
    asked.cancel()
    await until(lambda: postgres.execute("postgres", running, (name,)) == [(0,)])
    await pool.close()


async def test_a_transaction_gives_its_connection_back_or_closes_it(empty_database: str, postgres: Databases) -> None:
    pool, name = Pool("test", empty_database, LIMITS), empty_database.rpartition("/")[2]
    transaction = await pool.begin()
    await transaction.fetch(Statement("DECLARE c CURSOR FOR SELECT n FROM generate_series(1, 5) AS n"))
    assert await transaction.fetch(Statement("FETCH 3 FROM c")) == [(1,), (2,), (3,)]
    assert await transaction.fetch(Statement("FETCH 3 FROM c")) == [(4,), (5,)]
    await transaction.end()
    sessions = (
        "SELECT count(*), count(*) FILTER (WHERE state = 'idle') FROM pg_stat_activity"
        " WHERE datname = %s AND application_name = 'cdr-api'"
    )
    await until(lambda: postgres.execute("postgres", sessions, (name,)) == [(1, 1)])
    (await pool.begin()).abort()
    await until(lambda: postgres.execute("postgres", sessions, (name,)) == [(0, 0)])


@pytest.mark.parametrize(
    ("dsn", "expected"),
    [
        ("host=a,b port=1,2 dbname=c", [("a", "1"), ("b", "2")]),
        ("host=a,b port=1", [("a", "1"), ("b", "1")]),
        ("postgresql://u@a:1,b:2/c", [("a", "1"), ("b", "2")]),
        ("dbname=c", [(None, None)]),
    ],
)
def test_a_dsn_of_many_hosts_is_one_for_each(dsn: str, expected: list[tuple[str | None, str | None]]) -> None:
    assert [(parse_dsn(one).get("host"), parse_dsn(one).get("port")) for one in hosts(dsn)] == expected


async def test_the_first_host_that_answers_is_taken(empty_database: str) -> None:
    address, name = empty_database.rpartition("@")[2].split("/")
    connection = await Connection.open(f"postgresql://postgres@127.0.0.1:1,{address}/{name}", LIMITS)
    assert await connection.fetch(Statement("SELECT current_database()")) == [(name,)]
    connection.close()
