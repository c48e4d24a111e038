"""Missing parts of a database are named at the start and in /ready, and statements that need them are 503."""

import asyncio
from collections.abc import Iterator

import pytest

from service.db.pool import Limits, Pool
from service.db.schema_check import SchemaCheck, needed_columns
from service.observability import metrics
from service.schemas.resource import SCHEMAS
from service.web.admin import AdminState
from service.web.keys import STATE
from tests.conftest import Api, Data, Databases, Serve

LIMITS = Limits(2, 10, 10, 30)


async def problems(dsn: str, database: str) -> list[str]:
    pool = Pool(database, dsn, LIMITS)
    try:
        return await SchemaCheck(pool, database).problems()
    finally:
        await pool.close()


async def reasons(api: Api) -> list[str]:
    state = api.client.app[STATE]
    found, _ = await AdminState(state.stopping, state.services.parts).reasons()
    return found


def test_every_column_of_a_declaration_is_among_those_that_are_needed() -> None:
    needed = {column for _, _, column in needed_columns()}
    expected = {"src_name_in", "local_tag", "currency_name", "allow_listen_recording", "account_ids", "low_threshold"}
    assert expected <= needed
    assert len(needed_columns()) > 20 * len(SCHEMAS)


@pytest.mark.parametrize("database", ["cdr", "routing"])
async def test_the_schema_of_the_service_has_all_that_is_needed(data: Data, database: str) -> None:
    assert await problems(data.dsn, database) == []


@pytest.mark.parametrize(
    ("change", "database", "problem", "path"),
    [
        (
            "ALTER TABLE billing.accounts DROP COLUMN currency_name",
            "routing",
            "column billing.accounts.currency_name does not exist",
            "accounts",
        ),
        (
            "ALTER TABLE sys.customer_portal_access_profiles RENAME allow_listen_recording TO other",
            "routing",
            "column sys.customer_portal_access_profiles.allow_listen_recording does not exist",
            "accounts",
        ),
        (
            "DROP TABLE billing.account_balance_notification_settings",
            "routing",
            "table billing.account_balance_notification_settings does not exist",
            "accounts",
        ),
        ("ALTER SCHEMA sys RENAME TO other", "routing", "schema sys does not exist", "accounts"),
        (
            "ALTER TABLE cdr.cdr DROP COLUMN legb_user_agent",
            "cdr",
            "column cdr.cdr.legb_user_agent does not exist",
            "incoming-cdrs",
        ),
        (
            "ALTER TABLE cdr.cdr ALTER COLUMN vendor_id TYPE text",
            None,
            "",
            "incoming-cdrs",
        ),
    ],
)
async def test_what_is_missing_is_named_and_answered_503(
    serve: Serve,
    data: Data,
    change: str,
    database: str | None,
    problem: str,
    path: str,
    capsys: pytest.CaptureFixture[str],
) -> None:
    data.customer(7)
    data.execute(change)
    if database:
        assert await problems(data.dsn, database) == [problem]
    api = await serve(data.dsn, AUTH__CACHE_SECONDS="0")
    answer = await api.get(path, 7)
    assert answer.error == (503, "503")
    if database:
        assert await reasons(api) == [f"database {database}: {problem}"]
        assert problem in capsys.readouterr().out


@pytest.fixture
def reader(data: Data) -> Iterator[tuple[str, str]]:
    """A role, and the DSN for it, that may read what the service needs."""
    role = f"reader_{data.name}"
    for statement in (
        f"CREATE ROLE {role} LOGIN",
        f"GRANT USAGE ON SCHEMA cdr, billing, sys TO {role}",
        f"GRANT SELECT ON ALL TABLES IN SCHEMA cdr, billing, sys, public TO {role}",
    ):
        data.execute(statement)
    yield role, data.dsn.replace("postgres@", f"{role}@")
    data.execute(f"DROP OWNED BY {role}")
    data.execute(f"DROP ROLE {role}")


@pytest.mark.parametrize(
    ("revoked", "database", "problem"),
    [
        ("USAGE ON SCHEMA billing", "routing", "role {role} may not use schema billing"),
        ("SELECT ON public.contractors", "routing", "role {role} may not read column public.contractors.id"),
        ("SELECT ON cdr.cdr", "cdr", "role {role} may not read column cdr.cdr.time_start"),
    ],
)
async def test_a_missing_privilege_is_named_and_is_ready_once_granted(
    serve: Serve, data: Data, reader: tuple[str, str], revoked: str, database: str, problem: str
) -> None:
    role, dsn = reader
    data.execute(f"REVOKE {revoked} FROM {role}")
    assert problem.format(role=role) in await problems(dsn, database)
    api = await serve(dsn)
    assert f"database {database}: {problem.format(role=role)}" in await reasons(api)
    assert metrics.REGISTRY.get_sample_value("cdr_api_ready") == 0
    data.execute(f"GRANT {revoked} TO {role}")
    assert await reasons(api) == []


@pytest.mark.parametrize("encoding", ["SQL_ASCII", "LATIN1"])
async def test_another_encoding_is_named(postgres: Databases, encoding: str) -> None:
    name = f"encoded_{encoding.lower()}"
    postgres.execute("postgres", f"CREATE DATABASE {name} TEMPLATE template0 ENCODING '{encoding}' LOCALE 'C'")
    try:
        assert f"the encoding is {encoding}; UTF8 is needed" in await problems(postgres.dsn(name), "routing")
    finally:
        postgres.execute("postgres", f"DROP DATABASE {name} WITH (FORCE)")


async def test_a_locked_table_is_no_reason_to_send_requests_elsewhere(serve: Serve, data: Data) -> None:
    """As one is while a partition is attached, detached or dropped."""
    api = await serve(data.dsn)
    with data.locked():
        assert await reasons(api) == []


async def test_busy_connections_are_no_reason_to_send_requests_elsewhere(serve: Serve, data: Data) -> None:
    data.customer(7)
    api = await serve(data.dsn, DATABASES__CDR__POOL_SIZE="1")
    with data.locked():
        waiting = asyncio.create_task(api.get("incoming-cdrs", 7))
        await data.blocked()
        assert await reasons(api) == []
    assert (await waiting).status == 200


async def test_the_locks_of_all_partitions_are_measured(
    serve: Serve, data: Data, capsys: pytest.CaptureFixture[str]
) -> None:
    api = await serve(data.dsn)
    assert await reasons(api) == []
    locks = metrics.REGISTRY.get_sample_value("cdr_api_partition_locks")
    [(partitions,)] = data.execute("SELECT count(*) FROM pg_partition_tree('cdr.cdr')")
    [(indexes,)] = data.execute(
        "SELECT count(*) FROM pg_index WHERE indrelid IN (SELECT relid FROM pg_partition_tree('cdr.cdr'))"
    )
    assert locks == partitions + indexes
    assert (metrics.REGISTRY.get_sample_value("cdr_api_lock_capacity") or 0) > locks
