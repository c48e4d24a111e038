"""Look-ups read one partition if possible, and all partitions before a 404."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import closing
from datetime import UTC, datetime, timedelta
from typing import Any

import psycopg2
import pytest

from service.db import schema
from service.db.partitions import PartitionDirectory
from service.db.pool import Limits, Pool
from service.db.search import Found, PartitionSearch
from service.db.statement import Statement
from service.files import SQL
from service.web.keys import STATE
from tests.conftest import Api, Data, Databases, Serve

VENDOR = 7
DAY = timedelta(days=1)
TODAY = datetime.now(UTC).replace(hour=0, minute=0, second=0, microsecond=0)
NEVER = {"DATABASES__CDR__DIRECTORY_REFRESH": "86400"}


class Ran(list[tuple[str, str]]):
    """The statements that were run: pool and name."""

    @property
    def names(self) -> list[str]:
        return [name for _, name in self if name in ("one", "one_within", "list", "search")]


@pytest.fixture
def ran(monkeypatch: pytest.MonkeyPatch) -> Ran:
    statements, fetch = Ran(), Pool.fetch

    async def counting(self: Pool, statement: Statement) -> Any:
        statements.append((self.name, statement.name))
        return await fetch(self, statement)

    monkeypatch.setattr(Pool, "fetch", counting)
    return statements


@pytest.fixture
def calls(data: Data) -> Data:
    """A hundred calls on each of the last nine days, by ids in the order of time, with statistics."""
    data.customer(VENDOR)
    data.execute(
        "INSERT INTO cdr.cdr (id, time_start, vendor_id)"
        " SELECT 1000 + n, %s - interval '9 days' + n * interval '864 seconds', %s FROM generate_series(0, 899) AS n",
        (TODAY, VENDOR),
    )
    data.execute("ANALYZE cdr.cdr")
    return data


@pytest.fixture
async def directory(calls: Data) -> AsyncIterator[PartitionDirectory]:
    """Read once."""
    async for made in opened(calls.dsn):
        await made.refresh()
        yield made


async def opened(dsn: str) -> AsyncIterator[PartitionDirectory]:
    pool = Pool("search", dsn, Limits(2, 5, 5, 30))
    search = PartitionSearch(pool)
    yield PartitionDirectory(pool, search, 86400)
    await search.close()
    await pool.close()


async def ready(api: Api, ran: Ran) -> None:
    """Waits until the service has read its directory."""
    directory = api.client.app[STATE].services.directories["cdr.cdr"]
    async with asyncio.timeout(20):
        while directory.refreshed is None:  # noqa: ASYNC110 # Nobody is told.
            await asyncio.sleep(0)
    ran.clear()


def days(group: Any) -> list[str]:
    return [partition.name for partition in group]


def partition_of(moment: datetime) -> str:
    return f"cdr.cdr_{moment:%Y_%m_%d}"


async def test_the_first_guess_is_the_one_partition_whose_core_holds_the_id(directory: PartitionDirectory) -> None:
    for number in range(1005, 1895, 10):
        first = next(iter(directory.candidates(number)))
        day = TODAY - 9 * DAY + (number - 1000) * timedelta(seconds=864)
        inside = 2 <= (number - 1000) % 100 <= 97
        assert days(first) == [partition_of(day)] or not inside


async def test_a_late_row_does_not_widen_the_first_guess(calls: Data) -> None:
    calls.call(1850, hours_ago=7 * 24, vendor_id=VENDOR)
    calls.execute("ANALYZE cdr.cdr")
    async for directory in opened(calls.dsn):
        await directory.refresh()
        first, second = list(directory.candidates(1850))[:2]
        assert len(first) == 1
        assert partition_of(datetime.now(UTC) - 7 * DAY) in days(second)


async def test_an_id_newer_than_all_is_first_looked_for_today(directory: PartitionDirectory) -> None:
    first = next(iter(directory.candidates(10**9)))
    assert days(first) == [partition_of(datetime.now(UTC))]


async def test_an_empty_directory_guesses_nothing_and_searches_all(empty_database: str) -> None:
    schema.apply(empty_database, SQL / "schema" / "cdr")
    async for directory in opened(empty_database):
        assert list(directory.candidates(1)) == []
        await directory.refresh()
        assert list(directory.candidates(1)) == []
        assert await directory.search(1) == Found([])


async def test_a_known_call_costs_one_statement_on_one_partition(serve: Serve, calls: Data, ran: Ran) -> None:
    api = await serve(calls.dsn, **NEVER)
    await ready(api, ran)
    for id in (1050, 1250, 1450, 1850):
        assert (await api.get(f"incoming-cdrs/{id}", VENDOR)).status == 200
    assert ran.names == ["one"] * 4


@pytest.mark.parametrize(
    ("id", "days_ago"),
    [(5, 3), (1450, 0), (2000, 0), (2000, 9), (2**63 - 1, 5), (-3, 0), (1450, -1)],
)
async def test_a_call_that_came_after_the_directory_is_found(
    serve: Serve, calls: Data, ran: Ran, id: int, days_ago: int
) -> None:
    """Old ids and new ones, on old days, today and tomorrow."""
    api = await serve(calls.dsn, **NEVER)
    await ready(api, ran)
    calls.execute("DELETE FROM cdr.cdr WHERE id = %s", (id,))
    assert (await api.get(f"incoming-cdrs/{id}", VENDOR)).status == 404
    calls.insert("cdr.cdr", id=id, time_start=TODAY - days_ago * DAY, vendor_id=VENDOR)
    wait_until_ready = await api.get(f"incoming-cdrs/{id}", VENDOR)
    assert (wait_until_ready.status, wait_until_ready.json["data"]["id"]) == (200, str(id))


async def test_there_is_no_such_call_only_after_all_were_asked(serve: Serve, calls: Data, ran: Ran) -> None:
    api = await serve(calls.dsn, **NEVER)
    await ready(api, ran)
    assert (await api.get("incoming-cdrs/777", VENDOR)).status == 404
    assert ran.names[-1] == "search"


async def test_an_id_on_two_days_is_found_where_the_caller_may_see_it(serve: Serve, calls: Data, ran: Ran) -> None:
    api = await serve(calls.dsn, **NEVER)
    await ready(api, ran)
    calls.execute("UPDATE cdr.cdr SET vendor_id = 8 WHERE id = 1450")
    assert (await api.get("incoming-cdrs/1450", VENDOR)).status == 404
    calls.insert("cdr.cdr", id=1450, time_start=TODAY - 8 * DAY, vendor_id=VENDOR)
    assert (await api.get("incoming-cdrs/1450", VENDOR)).status == 200


async def test_many_who_look_for_nothing_share_the_searches(serve: Serve, calls: Data, ran: Ran) -> None:
    api = await serve(calls.dsn, **NEVER)
    await ready(api, ran)
    answers = await asyncio.gather(*(api.get(f"incoming-cdrs/{id}", VENDOR) for id in range(1, 61)))
    assert {wait_until_ready.status for wait_until_ready in answers} == {404}
    assert ran.names.count("search") < 30


async def test_requests_that_wait_for_a_search_delay_no_others(serve: Serve, calls: Data, ran: Ran) -> None:
    """Only one may work at once here, and the search does not end before all partitions are unlocked."""
    bounds = {"OVERLOAD__CONCURRENCY": "1", "OVERLOAD__CUSTOMER_CONCURRENCY": "1"}
    api = await serve(calls.dsn, **NEVER, **bounds)
    await ready(api, ran)
    with closing(psycopg2.connect(calls.dsn)) as locking, locking.cursor() as cursor:
        cursor.execute(f"LOCK TABLE {partition_of(TODAY - 5 * DAY)}")
        unknown = [asyncio.create_task(api.get(f"incoming-cdrs/{id}", VENDOR)) for id in (77, 78, 79)]
        async with asyncio.timeout(20):
            while "search" not in ran.names:  # noqa: ASYNC110 # Nobody is told.
                await asyncio.sleep(0)
        assert (await api.get("incoming-cdrs/1850", VENDOR)).status == 200
        assert not any(task.done() for task in unknown)
        locking.rollback()
        assert [wait_until_ready.status for wait_until_ready in await asyncio.gather(*unknown)] == [404] * 3


DETACH, DROP = "ALTER TABLE cdr.cdr DETACH PARTITION {0}", "DROP TABLE {0}"


@pytest.mark.parametrize("change", [DETACH, DROP], ids=["detached", "dropped"])
async def test_a_call_is_gone_with_its_partition_at_once(serve: Serve, calls: Data, ran: Ran, change: str) -> None:
    api = await serve(calls.dsn, **NEVER)
    await ready(api, ran)
    for _ in range(3):  # So that it is prepared.
        assert (await api.get("incoming-cdrs/1050", VENDOR)).status == 200
    calls.execute(change.format(partition_of(TODAY - 9 * DAY)))
    assert (await api.get("incoming-cdrs/1050", VENDOR)).status == 404
    assert (await api.get("incoming-cdrs/1250", VENDOR)).status == 200


async def test_a_call_is_gone_with_the_branch_that_its_partition_belongs_to(
    serve: Serve, calls: Data, ran: Ran
) -> None:
    calls.execute(ATTACHED["by another column"])
    calls.insert("cdr.cdr", id=50, time_start=datetime(2020, 1, 15, tzinfo=UTC), vendor_id=VENDOR)
    api = await serve(calls.dsn, **NEVER)
    await ready(api, ran)
    for _ in range(3):  # So that it is prepared.
        assert (await api.get("incoming-cdrs/50", VENDOR)).status == 200
    calls.execute("ALTER TABLE cdr.cdr DETACH PARTITION cdr.parted")
    assert (await api.get("incoming-cdrs/50", VENDOR)).status == 404


async def test_a_call_in_a_partition_that_was_added_is_found(serve: Serve, calls: Data, ran: Ran) -> None:
    api = await serve(calls.dsn, **NEVER)
    await ready(api, ran)
    schema.create_partitions(calls.dsn, (TODAY + 5 * DAY).date(), (TODAY + 5 * DAY).date())
    calls.insert("cdr.cdr", id=3000, time_start=TODAY + 5 * DAY, vendor_id=VENDOR)
    assert (await api.get("incoming-cdrs/3000", VENDOR)).status == 200


ATTACHED = {
    "by month": (
        "CREATE TABLE cdr.cdr_2020_01 PARTITION OF cdr.cdr"
        " FOR VALUES FROM ('2020-01-01 00:00+00') TO ('2020-02-01 00:00+00')"
    ),
    "default": 'CREATE TABLE cdr."odd %s {name}" PARTITION OF cdr.cdr DEFAULT',
    "from ever": "CREATE TABLE cdr.old PARTITION OF cdr.cdr FOR VALUES FROM (MINVALUE) TO ('2021-01-01')",
    "by another column": (
        "ALTER TABLE cdr.cdr DROP CONSTRAINT cdr_pkey;"
        " CREATE TABLE cdr.parted PARTITION OF cdr.cdr FOR VALUES FROM ('2020-01-01') TO ('2021-01-01')"
        " PARTITION BY LIST (vendor_id);"
        f" CREATE TABLE cdr.parted_7 PARTITION OF cdr.parted FOR VALUES IN ({VENDOR})"
    ),
}


@pytest.mark.parametrize("kind", ATTACHED)
async def test_partitions_of_any_kind_are_searched_and_guessed(serve: Serve, calls: Data, ran: Ran, kind: str) -> None:
    calls.execute(ATTACHED[kind])
    calls.insert("cdr.cdr", id=50, time_start=datetime(2020, 1, 15, tzinfo=UTC), vendor_id=VENDOR)
    api = await serve(calls.dsn, **NEVER)
    await ready(api, ran)
    for _ in range(3):
        assert (await api.get("incoming-cdrs/50", VENDOR)).status == 200
    assert "search" not in ran.names


async def test_a_foreign_partition_is_read_as_any_other(
    serve: Serve, calls: Data, ran: Ran, postgres: Databases
) -> None:
    port = calls.dsn.rpartition(":")[2].partition("/")[0]
    calls.execute("CREATE TABLE public.archive (LIKE cdr.cdr)")
    calls.execute("INSERT INTO public.archive (id, time_start, vendor_id) VALUES (60, '2019-05-05', %s)", (VENDOR,))
    for statement in (
        "ALTER TABLE cdr.cdr DROP CONSTRAINT cdr_pkey",
        "CREATE EXTENSION postgres_fdw",
        "CREATE SERVER archive FOREIGN DATA WRAPPER postgres_fdw"
        f" OPTIONS (host '127.0.0.1', port '{port}', dbname '{calls.name}')",
        "CREATE USER MAPPING FOR CURRENT_USER SERVER archive OPTIONS (user 'postgres')",
        "CREATE FOREIGN TABLE cdr.archive PARTITION OF cdr.cdr FOR VALUES FROM ('2019-01-01') TO ('2020-01-01')"
        " SERVER archive OPTIONS (schema_name 'public', table_name 'archive')",
    ):
        calls.execute(statement)
    api = await serve(calls.dsn, **NEVER)
    await ready(api, ran)
    assert (await api.get("incoming-cdrs/60", VENDOR)).status == 200
    assert "search" not in ran.names


async def test_a_role_that_may_read_only_the_whole_table_finds_calls_too(
    serve: Serve, calls: Data, ran: Ran, postgres: Databases
) -> None:
    role = f"reader_{calls.name}"
    for statement in (
        f"CREATE ROLE {role} LOGIN",
        f"GRANT USAGE ON SCHEMA cdr, billing, sys TO {role}",
        f"GRANT SELECT ON cdr.cdr, public.contractors, billing.accounts, sys.api_access TO {role}",
        f"GRANT SELECT ON sys.customer_portal_access_profiles TO {role}",
    ):
        calls.execute(statement)
    api = await serve(calls.dsn.replace("postgres@", f"{role}@"), **NEVER)
    await ready(api, ran)
    assert (await api.get("incoming-cdrs/1450", VENDOR)).status == 200
    assert "search" not in ran.names
    calls.execute(f"DROP OWNED BY {role}")
    calls.execute(f"DROP ROLE {role}")


@pytest.mark.parametrize("query", ["filter[id_eq]=1050", "filter[id_in]=1050,1051,9", "filter[id]=1050"])
async def test_a_wide_list_by_ids_plans_only_the_partitions_that_hold_them(
    serve: Serve, calls: Data, ran: Ran, query: str
) -> None:
    api = await serve(calls.dsn, **NEVER)
    await ready(api, ran)
    wait_until_ready = await api.get(f"incoming-cdrs?{query}&filter[time_start_gteq]=2000-01-01", VENDOR)
    assert set(wait_until_ready.ids) == {"1050", "1051"} & set(wait_until_ready.ids) != set()
    assert ran.names == ["search"] * query.count(",") + ["search", "list"] or ran.names == ["search", "list"]
    ran.clear()
    assert (await api.get("incoming-cdrs?filter[id_eq]=1850&filter[time_start_gteq]=2000-01-01", VENDOR)).ids == [
        "1850"
    ]


async def test_partitions_come_and_go_under_load_and_no_answer_is_wrong(serve: Serve, calls: Data, ran: Ran) -> None:
    api = await serve(calls.dsn, DATABASES__CDR__DIRECTORY_REFRESH="0.01")
    changing = asyncio.create_task(asyncio.to_thread(_change, calls))
    statuses = []
    while not changing.done():
        found = await asyncio.gather(*(api.get(f"incoming-cdrs/{id}", VENDOR) for id in (1150, 1450, 1899, 3)))
        statuses.append([wait_until_ready.status for wait_until_ready in found])
    await changing
    assert statuses
    assert all(status == [200, 200, 200, 404] for status in statuses), statuses


def _change(calls: Data) -> None:
    for number in range(15):
        day = TODAY + (3 + number) * DAY
        schema.create_partitions(calls.dsn, day.date(), day.date())
        calls.insert("cdr.cdr", id=4000 + number, time_start=day, vendor_id=VENDOR)
        calls.execute(f"DROP TABLE {partition_of(day)}")
