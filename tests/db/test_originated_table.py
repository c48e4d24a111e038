"""Originated calls, read from a separate table."""

from datetime import UTC, datetime, timedelta
from urllib.parse import urlencode

import pytest

from service.db import index_builds, indexes, schema
from service.db.pool import Limits, Pool
from service.db.schema_check import SchemaCheck
from service.web.keys import STATE
from tests.conftest import Api, Data, Serve
from tests.load import until
from tests.programs import called, run

TODAY = datetime.now(UTC).replace(hour=0, minute=0, second=0, microsecond=0)
TABLE = "cdr.originated"
ACCOUNT = "0e1d9a70-6c1b-4f6e-9b6a-000000000071"
SETTING = {"DATABASES__CDR__ORIGINATED_TABLE": TABLE}


@pytest.fixture
def both(data: Data) -> Data:
    """Two tables of calls; a call is only in one of them, which tells them apart."""
    data.execute(f"CREATE TABLE {TABLE} (LIKE cdr.cdr INCLUDING ALL) PARTITION BY RANGE (time_start)")
    schema.create_partitions(data.dsn, (TODAY - timedelta(days=10)).date(), TODAY.date(), TABLE)
    data.customer(7)
    data.account(1, 7, ACCOUNT)
    for table, first in (("cdr.cdr", 100), (TABLE, 200)):
        for ago in range(1, 10):
            owners = {"customer_id": 7, "vendor_id": 7, "customer_acc_id": 1, "vendor_acc_id": 1}
            moment = TODAY - timedelta(days=ago, hours=-1)
            data.insert(table, id=first - ago, time_start=moment, is_last_cdr=True, **owners)
    return data


@pytest.fixture
async def api(serve: Serve, both: Data) -> Api:
    started = await serve(both.dsn, **SETTING)
    directories = started.client.app[STATE].services.directories
    await until(lambda: all(directory.refreshed is not None for directory in directories.values()))
    return started


EVER = urlencode({"filter[time_start_gteq]": (TODAY - timedelta(days=30)).isoformat()})


async def test_each_resource_reads_its_table(api: Api) -> None:
    for cdrs, first in (("incoming-cdrs", 100), ("cdrs", 200)):
        expected = [str(first - ago) for ago in range(1, 10)]
        assert (await api.get(f"{cdrs}?{EVER}&sort=-id", 7)).ids == expected
        assert (await api.get(f"{cdrs}?{EVER}&sort=-id&page[after]=", 7)).ids == expected
        assert (await api.get(f"{cdrs}?{EVER}&filter[duration_eq]=1", 7)).ids == []
        ids = urlencode({"filter[id_in]": ",".join(["195", "95", "1"])})
        assert (await api.get(f"{cdrs}?{EVER}&{ids}", 7)).ids == [str(first - 5)]
        export = await api.get(f"{cdrs}?{EVER}&sort=-id&format=csv&fields[{cdrs}]=id", 7)
        assert export.body.decode().split() == ["id", *expected]


async def test_each_resource_finds_calls_of_its_table_by_id(api: Api, both: Data) -> None:
    for cdrs, known, unknown in (("incoming-cdrs", 95, 195), ("cdrs", 195, 95)):
        assert (await api.get(f"{cdrs}/{known}", 7)).status == 200
        assert (await api.get(f"{cdrs}/{unknown}", 7)).status == 404
    for number in range(3):
        identifier, moment = 10**6 + number, TODAY - timedelta(days=number + 1)
        assert (await api.get(f"cdrs/{identifier}", 7)).status == 404
        both.insert(TABLE, id=identifier, time_start=moment, is_last_cdr=True, customer_id=7)
        assert (await api.get(f"cdrs/{identifier}", 7)).status == 200
        assert (await api.get(f"incoming-cdrs/{identifier}", 7)).status == 404


async def test_each_statistic_adds_up_its_table_and_notices_its_changes(api: Api, both: Data) -> None:
    parameters = {"account-id": ACCOUNT, "from-time": (TODAY - timedelta(days=30)).isoformat(), "sampling": "day"}
    values = {"is_last_cdr": True, "customer_id": 7, "customer_acc_id": 1}
    for late in range(3):
        for name, expected in (("origination", 9 + late), ("termination", 9)):
            answer = await api.get(f"{name}-statistics?{urlencode(parameters)}", 7)
            assert answer.json["totals"]["total_calls"] == expected
        both.insert(TABLE, id=10**7 + late, time_start=TODAY - timedelta(hours=3), **values)
        both.publish_counters()


async def test_what_the_table_lacks_is_named(both: Data) -> None:
    pool = Pool("cdr", both.dsn, Limits(1, 5, 5, 5))
    check = SchemaCheck(pool, "cdr", {"cdrs": TABLE, "incoming_cdrs": "cdr.cdr"})
    assert await check.problems() == []
    both.execute(f"ALTER TABLE {TABLE} DROP COLUMN lega_user_agent, DROP COLUMN legb_user_agent")
    assert await check.problems() == [f"column {TABLE}.lega_user_agent does not exist"]
    both.execute(f"DROP TABLE {TABLE}")
    assert await check.problems() == [f"table {TABLE} does not exist"]
    await pool.close()


@pytest.mark.parametrize("name", ["", "cdr", "originated", "cdr.", "cdr.a;b", 'cdr."a"', "cdr.A", "cdr.a.b", "cdr.a\n"])
def test_what_is_no_tables_name_is_refused(name: str) -> None:
    finished = called(["config"], DATABASES__CDR__ORIGINATED_TABLE=name)
    assert finished.returncode == 2
    assert "databases.cdr.originated_table: is not cdr.<table>" in finished.stderr


def test_partitions_are_made_for_both_tables(both: Data) -> None:
    day = f"{TODAY + timedelta(days=30):%Y-%m-%d}"
    settings = {"DATABASES__CDR__DSN": both.dsn, **SETTING}
    words = ["database", "partitions", "--from", day, "--to", day]
    names = [f"{table}_{day.replace('-', '_')}" for table in ("cdr.cdr", TABLE)]
    assert run(words, **settings).stdout.split() == names
    assert run(words, **settings).stdout == "All partitions exist already.\n"


def test_each_table_gets_the_search_indexes_of_its_resources(both: Data) -> None:
    settings = {"DATABASES__CDR__DSN": both.dsn, **SETTING}
    words = ["database", "indexes"]
    names = ("local_tag", "orig_call_id", "term_call_id")

    def built() -> dict[str, list[bool]]:
        """Which of the indexes all partitions of a table have."""
        found = {}
        for table in ("cdr.cdr", TABLE):
            catalog = index_builds.inspect(both.dsn, table)
            states = [indexes.status(catalog, indexes.search_indexes()[name]) for name in names]
            assert all(state.built in (0, state.possible) and state.possible for state in states)
            found[table] = [state.built > 0 for state in states]
        return found

    created = run([*words, "--create", *names], **settings)
    assert created.returncode == 0, created.stderr
    assert built() == {"cdr.cdr": [True, False, True], TABLE: [True, True, False]}
    shown = run(words, **settings).stdout
    assert shown.count("local_tag ") == 2
    assert f"\n{TABLE}:\n" in shown
    assert run([*words, "--drop", *names], **settings).returncode == 0
    assert built() == {"cdr.cdr": [False] * 3, TABLE: [False] * 3}
