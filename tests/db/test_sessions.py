"""Sessions have the service's settings regardless of roles, environment and poolers, or are refused with the name."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from dataclasses import replace
from pathlib import Path

import psycopg2
import pytest

from service.db.connection import TARGETS, Connection, Limits
from service.db.pool import Pool
from service.db.session import EXECUTION, FORMATS
from service.db.statement import Statement
from service.errors import DatabaseUnavailableError
from tests.conftest import Databases, Serve
from tests.pooler import PROGRAM, pooler

LIMITS = Limits(2, 10, 10, 30, prepared=3)
VALUES = Statement(
    "SELECT 'é😀', '2026-02-01 12:00:00+02'::timestamptz::text, '1 day'::interval::text, E'\\\\x01'::bytea"
)
EXPECTED = ("é😀", "2026-02-01 10:00:00+00", "1 day")
ODD = {
    "client_encoding": "LATIN1",
    "timezone": "America/New_York",
    "datestyle": "SQL, DMY",
    "intervalstyle": "iso_8601",
    "extra_float_digits": "-15",
    "bytea_output": "escape",
    "standard_conforming_strings": "off",
    "quote_all_identifiers": "on",
    "transform_null_equals": "on",
    "search_path": "nowhere",
    "row_security": "off",
    "enable_partition_pruning": "off",
    "constraint_exclusion": "off",
    "jit": "on",
    "plan_cache_mode": "force_custom_plan",
    "cursor_tuple_fraction": "0.5",
    "client_connection_check_interval": "0",
    "lock_timeout": "1",
    "idle_session_timeout": "600000",
    "idle_in_transaction_session_timeout": "1",
    "statement_timeout": "1",
    "default_transaction_isolation": "serializable",
    "default_transaction_read_only": "off",
    "default_transaction_deferrable": "on",
}
needs_pooler = pytest.mark.skipif(PROGRAM is None, reason="PgBouncer is not installed")


@pytest.fixture
def odd_role(postgres: Databases, empty_database: str) -> Iterator[str]:
    """The DSN of a role of which every setting that the service relies on is another."""
    role = f"odd_{empty_database.rpartition('/')[2]}"
    postgres.execute("postgres", f"CREATE ROLE {role} LOGIN")
    for name, value in ODD.items():
        postgres.execute("postgres", f"ALTER ROLE {role} SET {name} = '{value}'")
    yield empty_database.replace("postgres@", f"{role}@")
    postgres.execute("postgres", f"DROP ROLE {role}")


async def settings_of(connection: Connection) -> dict[str, str]:
    names = [*FORMATS, *EXECUTION, "transaction_read_only", "transaction_isolation", "statement_timeout"]
    columns = ", ".join(f"current_setting('{name}')" for name in names)
    [values] = await connection.fetch(Statement(f"SELECT {columns}"))
    return dict(zip(names, values, strict=True))


def test_every_setting_that_is_relied_on_is_odd_in_these_tests() -> None:
    assert FORMATS.keys() | EXECUTION.keys() <= ODD.keys()


@pytest.mark.parametrize("pooled", [False, True])
async def test_a_role_with_odd_settings_changes_nothing(empty_database: str, odd_role: str, pooled: bool) -> None:
    usual = await Connection.open(empty_database, replace(LIMITS, pooled=pooled))
    odd = await Connection.open(odd_role, replace(LIMITS, pooled=pooled))
    assert await settings_of(odd) == await settings_of(usual)
    [row] = await odd.fetch(VALUES)
    assert row[:3] == EXPECTED
    assert bytes(row[3]) == b"\x01"
    assert await odd.fetch(Statement("SELECT %(text)s", {"text": "a\\b'é😀"})) == [("a\\b'é😀",)]
    usual.close()
    odd.close()


@pytest.mark.parametrize("pooled", [False, True])
async def test_the_environment_of_libpq_changes_nothing(
    empty_database: str, pooled: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    usual = await Connection.open(empty_database, replace(LIMITS, pooled=pooled))
    for name, value in {
        "PGCLIENTENCODING": "LATIN1",
        "PGTZ": "America/New_York",
        "PGDATESTYLE": "SQL, DMY",
        "PGOPTIONS": "-c intervalstyle=iso_8601" if not pooled else "",
        "PGAPPNAME": "another",
    }.items():
        monkeypatch.setenv(name, value)
    odd = await Connection.open(empty_database, replace(LIMITS, pooled=pooled))
    assert await settings_of(odd) == await settings_of(usual)
    [row] = await odd.fetch(VALUES)
    assert row[:3] == EXPECTED
    usual.close()
    odd.close()


async def test_options_of_the_dsn_are_kept_beside_the_services_own(empty_database: str) -> None:
    connection = await Connection.open(f"{empty_database}?options=-c%20work_mem%3D77MB", LIMITS)
    assert await connection.fetch(Statement("SHOW work_mem")) == [("77MB",)]
    assert await connection.fetch(Statement("SHOW transaction_read_only")) == [("on",)]
    connection.close()


@needs_pooler
@pytest.mark.parametrize("mode", ["session", "transaction"])
async def test_a_pooler_that_refuses_options_is_named_with_the_setting(
    tmp_path: Path, empty_database: str, mode: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pooler(tmp_path, empty_database, mode) as dsn:
        pool = Pool("cdr", dsn, LIMITS)
        for _ in range(2):
            with pytest.raises(DatabaseUnavailableError):
                await pool.fetch(Statement("SELECT 1"))
        await pool.close()
    lines = [line for line in capsys.readouterr().out.splitlines() if "database does not answer" in line]
    assert len(lines) == 1
    assert "databases.transaction_pooling = true" in lines[0]


@needs_pooler
@pytest.mark.parametrize("mode", ["session", "transaction"])
async def test_a_pooler_that_ignores_options_is_refused_and_its_sessions_stay_as_they_are(
    tmp_path: Path, empty_database: str, mode: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pooler(tmp_path, empty_database, mode, 1, "ignore_startup_parameters = options") as dsn:
        pool = Pool("cdr", dsn, LIMITS)
        with pytest.raises(DatabaseUnavailableError):
            await pool.fetch(Statement("SELECT 1"))
        await pool.close()
        other = psycopg2.connect(dsn)
        with other.cursor() as cursor:
            cursor.execute("SELECT current_setting('default_transaction_read_only'), current_setting('jit')")
            assert cursor.fetchone() == ("off", "on")
        other.close()
    assert "ignored the connection parameter options" in capsys.readouterr().out


@needs_pooler
@pytest.mark.parametrize("mode", ["session", "transaction"])
async def test_through_a_pooler_with_the_setting_all_is_as_it_should_be(
    tmp_path: Path, empty_database: str, mode: str
) -> None:
    direct = await Connection.open(empty_database, replace(LIMITS, pooled=True))
    with pooler(tmp_path, empty_database, mode, 1) as dsn:
        other = psycopg2.connect(dsn)
        other.autocommit = True
        if mode == "transaction":  # One session for all: what another client has set does not act here.
            other.cursor().execute("SET intervalstyle = 'iso_8601'; SET extra_float_digits = -15")
        else:
            other.close()
        connection = await Connection.open(dsn, replace(LIMITS, pooled=True))
        for _ in range(3):
            assert await settings_of(connection) == await settings_of(direct)
        [row] = await connection.fetch(VALUES)
        assert row[:3] == EXPECTED
        connection.close()
        other.close()
    direct.close()


async def test_a_prepared_statement_of_another_client_never_answers(empty_database: str) -> None:
    """Names are digests: one that exists already stands for the same statement."""
    connection = await Connection.open(empty_database, LIMITS)
    other = await Connection.open(empty_database, LIMITS)
    first, second = (Statement(f"SELECT {n}, %(n)s::int", {"n": n}, repeated=True) for n in (1, 2))
    for _ in range(3):
        assert await other.fetch(second) == [(2, 2)]
    [(name, body)] = await other.fetch(Statement("SELECT name, statement FROM pg_prepared_statements"))
    await connection.fetch(Statement(body.partition(";")[0]))  # The session has been used by the other client.
    for _ in range(3):
        assert await connection.fetch(first) == [(1, 1)]
        assert await connection.fetch(second) == [(2, 2)]
    assert name in {row[0] for row in await connection.fetch(Statement("SELECT name FROM pg_prepared_statements"))}
    connection.close()
    other.close()


async def test_where_statements_cannot_be_prepared_it_is_not_tried_again(
    empty_database: str, postgres: Databases, capsys: pytest.CaptureFixture[str]
) -> None:
    """As on servers that plan nothing with parameters: the function fails in a prepared statement only."""
    name = empty_database.rpartition("/")[2]
    postgres.execute(
        name,
        "CREATE FUNCTION public.f(n int) RETURNS int LANGUAGE plpgsql AS $$ BEGIN"
        " IF current_query() LIKE '%EXECUTE cdr_api%' THEN RAISE 'no' USING ERRCODE = '0A000'; END IF;"
        " RETURN n; END $$",
    )
    pool = Pool("cdr", empty_database, replace(LIMITS, size=1))
    statement = Statement("SELECT public.f(%(n)s)", {"n": 5}, repeated=True)
    for _ in range(5):
        assert await pool.fetch(statement) == [(5,)]
    assert pool.limits.prepared == 0
    assert capsys.readouterr().out.count("prepared statements not supported") == 1
    assert await pool.fetch(Statement("SELECT count(*) FROM pg_prepared_statements")) == [(0,)]
    await pool.close()


@pytest.mark.parametrize("target", TARGETS)
async def test_a_single_primary_is_taken_or_refused_by_target(empty_database: str, target: str) -> None:
    dsn = f"{empty_database}?target_session_attrs={target}"
    if target in ("read-only", "standby"):
        with pytest.raises(psycopg2.OperationalError, match=f"target_session_attrs={target}"):
            await Connection.open(dsn, LIMITS)
        return
    connection = await Connection.open(dsn, LIMITS)
    assert await connection.fetch(Statement("SHOW transaction_read_only")) == [("on",)]
    connection.close()


@pytest.fixture
async def idle_role(postgres: Databases, data: object) -> AsyncIterator[str]:
    dsn = data.dsn  # type: ignore[attr-defined]
    postgres.execute("postgres", "ALTER ROLE postgres SET idle_in_transaction_session_timeout = 50")
    yield dsn
    postgres.execute("postgres", "ALTER ROLE postgres RESET idle_in_transaction_session_timeout")


async def test_an_export_survives_a_role_that_ends_idle_transactions(
    serve: Serve, idle_role: str, data: object
) -> None:
    rows = 4000
    data.customer(7)  # type: ignore[attr-defined]
    data.execute(  # type: ignore[attr-defined]
        "INSERT INTO cdr.cdr (id, time_start, vendor_id, src_name_out)"
        " SELECT n, now() - interval '1 hour', 7, repeat('x', 4000) FROM generate_series(1, %s) AS n",
        (rows,),
    )
    api = await serve(idle_role)
    url = api.client.make_url("/api/rest/customer/v1/incoming-cdrs?format=ndjson")
    headers = {"Authorization": api.tokens.issue(7), "Host": "example.org"}
    async with api.client.session.get(url, headers=headers) as response:
        seen = 0
        async for line in response.content:
            seen += bool(line.strip())
            if seen in (1, rows // 2):
                await asyncio.sleep(0.5)  # Longer than the role allows a transaction to be idle.
    assert seen == rows
