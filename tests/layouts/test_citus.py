"""A Citus cluster, whose tables are distributed by sql/citus.

CDR_API_TEST_CITUS_DSN names a database of its coordinator, with the extension and the workers, for a superuser. The
tables of this database are dropped and made again.
"""

import json
import os
from collections.abc import Iterator, Sequence
from contextlib import closing
from datetime import UTC, datetime

import psycopg2
import pytest

from service.db import schema, select
from service.db.statement import Statement
from service.files import SQL
from service.jsonapi import render
from service.query import Caller, Filter, Page, Query, Sort
from service.schemas.resource import configured
from tests.corpus import copy_rows
from tests.layouts.checks import Answers
from tests.layouts.servers import CALLS, DAY, FIRST, PEOPLE, TODAY, Layout, days, golden_days, name_of

DSN = os.environ.get("CDR_API_TEST_CITUS_DSN", "")
ORIGINATED = "cdr.originated"
SETTINGS = {
    "DATABASES__CDR__DSN": DSN,
    "DATABASES__ROUTING__DSN": DSN,
    "DATABASES__CDR__ORIGINATED_TABLE": ORIGINATED,
}
DROP = """
DROP SCHEMA IF EXISTS cdr, billing, sys CASCADE;
DROP TABLE IF EXISTS public.contractors CASCADE;
"""
# What a loader does with each call: a vendor that is never NULL, and a second row for the customer.
STORE = f"""
INSERT INTO cdr.cdr SELECT * FROM loaded;
INSERT INTO {ORIGINATED} SELECT * FROM loaded WHERE is_last_cdr AND customer_id IS NOT NULL;
DROP TABLE loaded;
"""

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not DSN, reason="CDR_API_TEST_CITUS_DSN names no coordinator"),
]


def run(statement: str) -> list[tuple[object, ...]]:
    with closing(psycopg2.connect(DSN)) as connection:
        connection.autocommit = True
        with connection.cursor() as cursor:
            cursor.execute(statement)
            return cursor.fetchall() if cursor.description else []


def distributed(these: Sequence[datetime]) -> None:
    """The tables without calls, as docs/scaling.md says."""
    for statement in DROP.split(";")[:-1]:
        run(statement)
    for part in ("cdr", "routing"):
        schema.apply(DSN, SQL / "schema" / part)
    for file in sorted((SQL / "citus").glob("*.sql")):
        for statement in file.read_text(encoding="utf-8").split(";\n"):
            if statement.strip():
                run(statement)
    for table in ("cdr.cdr", ORIGINATED):
        schema.create_partitions(DSN, these[0].date(), these[-1].date(), table)


def store(fill: str | None) -> None:
    """Fills a table of the session as a loader would, and then the distributed ones."""
    with closing(psycopg2.connect(DSN)) as connection, connection, connection.cursor() as cursor:
        cursor.execute("CREATE TEMPORARY TABLE loaded (LIKE cdr.cdr INCLUDING DEFAULTS)")
        cursor.execute("ALTER TABLE loaded ALTER vendor_id DROP NOT NULL, ALTER id DROP DEFAULT")
        if fill is None:
            copy_rows(cursor, {"cdr.cdr": "loaded"})
        else:
            cursor.execute(fill.replace("INTO cdr.cdr", "INTO loaded"))
        cursor.execute("UPDATE loaded SET vendor_id = -1 WHERE vendor_id IS NULL")
        cursor.execute(STORE)


@pytest.fixture(scope="module")
def golden() -> dict[str, str]:
    distributed(golden_days())
    store(None)
    return SETTINGS


@pytest.fixture(scope="module")
def calls(request: pytest.FixtureRequest) -> Iterator[dict[str, str]]:
    distributed(days())
    run(PEOPLE)
    store(CALLS)
    yield SETTINGS
    run(DROP)


@pytest.fixture
def layout(request: pytest.FixtureRequest) -> Layout:
    recorded = "corpus" in request.fixturenames
    return Layout(
        request.getfixturevalue("golden") if recorded else {},
        {} if recorded else request.getfixturevalue("calls"),
        DSN,
    )


class TestAnswers(Answers):
    pass


@pytest.mark.parametrize("cdrs", ["incoming-cdrs", "cdrs"])
def test_what_a_customer_asks_is_one_task(calls: dict[str, str], cdrs: str) -> None:
    resource = configured(UTC, {}, ORIGINATED)[cdrs]
    bounds = (Filter("time_start", "gteq", (FIRST + DAY,)), Filter("time_start", "lt", (FIRST + 3 * DAY,)))
    columns = render.get_renderer(resource).columns
    query = Query(resource, columns, Caller(1, None, False), bounds, (Sort("time_start"), Sort("id")), Page())
    [(oid,)] = run(f"SELECT '{resource.table}_{name_of(TODAY)[4:]}'::regclass::oid")
    day = (TODAY.isoformat(), (TODAY + DAY).isoformat())
    for statement in (
        select.records(query),
        select.count(query),
        select.by_id(query, 5, [day]),
        select.by_id_in_partition(query, 5, f"{resource.table}_{name_of(TODAY)[4:]}", int(str(oid))),
    ):
        assert '"Task Count": 1' in plan(statement)


def plan(statement: Statement) -> str:
    with closing(psycopg2.connect(DSN)) as connection, connection.cursor() as cursor:
        cursor.execute(f"EXPLAIN (FORMAT JSON) {statement.text}", statement.parameters)
        return json.dumps(cursor.fetchall())
