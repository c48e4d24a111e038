"""Plans of lists: the days and the index that they read."""

import json
import re
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import psycopg2
import pytest

from service.db import schema, select
from service.db.statement import Statement
from service.jsonapi import params, query_string, render
from service.query import Caller, CursorPage, Filter, Query, Sort
from service.schemas.resource import configured
from tests.conftest import Data, Databases

SQL = Path(__file__).parents[2] / "sql"
RESOURCES = configured(UTC, {})
FIRST, LAST = date(2026, 2, 1), date(2026, 2, 10)
NOON = datetime(2026, 2, 10, 12, tzinfo=UTC)
LEGS = pytest.mark.parametrize(("cdrs", "owner"), [("incoming-cdrs", "vendor_id"), ("cdrs", "customer_id")])
CALLERS = pytest.mark.parametrize("account_ids", [None, (7, 8)], ids=["all accounts", "two accounts"])


@pytest.fixture(scope="module")
def database(postgres: Databases) -> Iterator[str]:
    """Ten days of 2,000 calls each, of 100 customers and vendors, with statistics."""
    name = postgres.create()
    schema.apply(postgres.dsn(name), SQL / "schema" / "cdr")
    schema.create_partitions(postgres.dsn(name), FIRST, LAST)
    postgres.execute(
        name,
        "INSERT INTO cdr.cdr (id, time_start, customer_id, vendor_id, customer_acc_id, vendor_acc_id, is_last_cdr)"
        " SELECT n, %s + n * interval '43.2 seconds', n %% 100, n * 7 %% 100, n %% 10, n %% 10, true"
        " FROM generate_series(0, 19999) AS n",
        (datetime(2026, 2, 1, tzinfo=UTC),),
    )
    postgres.execute(name, "ANALYZE cdr.cdr")
    yield name
    postgres.drop(name)


class Plan:
    """What EXPLAIN says of a statement: the scans of tables, with their indexes and conditions."""

    def __init__(self, dsn: str, statement: Statement) -> None:
        with closing(psycopg2.connect(dsn)) as connection, connection.cursor() as cursor:
            cursor.execute(f"EXPLAIN (FORMAT JSON) {statement.text}", statement.parameters)
            [([plan],)] = cursor.fetchall()
            cursor.execute("SELECT indexname, indexdef FROM pg_indexes WHERE schemaname = 'cdr'")
            definitions: dict[str, str] = dict(cursor.fetchall())
        self.text = json.dumps(plan, indent=1)
        nodes = list(flat(plan["Plan"]))
        self.days = sorted(n["Relation Name"].removeprefix("cdr_") for n in nodes if "Relation Name" in n)
        self.indexes = {columns(definitions[n["Index Name"]]) for n in nodes if "Index Name" in n}
        self.kinds = {n["Node Type"] for n in nodes if "Relation Name" in n}
        self.bounds = [n.get("Index Cond", "") for n in nodes if "Index Name" in n]


def flat(node: dict[str, Any]) -> Iterator[dict[str, Any]]:
    yield node
    for child in node.get("Plans", ()):
        yield from flat(child)


def columns(definition: str) -> str:
    return re.search(r"USING btree \((.*?)\)", definition)[1]  # type: ignore[index]


def plans(dsn: str, cdrs: str, account_ids: tuple[int, ...] | None, now: datetime = NOON, **asked: str) -> list[Plan]:
    """Of the rows and of the count."""
    resource, caller = RESOURCES[cdrs], Caller(7, account_ids, False)
    parameters = {"filter[" + name + "]": value for name, value in asked.items() if name != "sort"}
    parameters |= {name: value for name, value in asked.items() if name == "sort"}
    query, _ = params.parse_list(resource, query_string.parse(urlencode(parameters)), caller, now)
    return [Plan(dsn, select.records(query)), Plan(dsn, select.count(query))]


@LEGS
@CALLERS
def test_time_bounds_touch_only_their_days(
    postgres: Databases, database: str, cdrs: str, owner: str, account_ids: Any
) -> None:
    bounds = {"time_start_gteq": "2026-02-03T06:00", "time_start_lt": "2026-02-05T06:00"}
    for plan in plans(postgres.dsn(database), cdrs, account_ids, **bounds):
        assert plan.days == ["2026_02_03", "2026_02_04", "2026_02_05"], plan.text


@LEGS
@pytest.mark.parametrize("account_ids", [None, (7,)], ids=["all accounts", "one account"])
def test_a_look_up_uses_the_index_of_the_id_even_without_statistics(
    data: Data, cdrs: str, owner: str, account_ids: Any
) -> None:
    """The planner would take the owner's calls to be as few as those with the id, and read both indexes."""
    data.execute(
        "CREATE TABLE cdr.new PARTITION OF cdr.cdr FOR VALUES FROM ('2020-01-01') TO ('2020-02-01')"
        " WITH (autovacuum_enabled = off)"
    )
    data.execute(
        "INSERT INTO cdr.cdr (id, time_start, customer_id, vendor_id, customer_acc_id, vendor_acc_id, is_last_cdr)"
        " SELECT n, '2020-01-01', 7, 7, 7, 7, true FROM generate_series(1, 20000) AS n"
    )
    resource, caller = RESOURCES[cdrs], Caller(7, account_ids, False)
    [(oid,)] = data.execute("SELECT 'cdr.new'::regclass::oid")
    query = Query(resource, render.get_renderer(resource).columns, caller)
    plan = Plan(data.dsn, select.by_id_in_partition(query, 9, "cdr.new", oid))
    assert plan.indexes == {"id"}, plan.text
    assert owner not in str(plan.bounds)


@LEGS
@CALLERS
def test_a_list_uses_the_index_of_its_owner_and_the_time(
    postgres: Databases, database: str, cdrs: str, owner: str, account_ids: Any
) -> None:
    bounds = {"time_start_gteq": "2026-02-03T06:00", "time_start_lt": "2026-02-05T06:00"}
    for plan in plans(postgres.dsn(database), cdrs, account_ids, **bounds):
        assert plan.indexes == {f"{owner}, time_start"}, plan.text
        assert "Seq Scan" not in plan.kinds, plan.text
        assert all(f"{owner} = 7" in bound for bound in plan.bounds), plan.text


@LEGS
@CALLERS
def test_a_statistic_reads_each_day_of_its_range_once(
    postgres: Databases, database: str, cdrs: str, owner: str, account_ids: Any
) -> None:
    days = tuple((f"2026-02-0{day}T00:00:00+00:00", f"2026-02-0{day + 1}T00:00:00+00:00") for day in (3, 5))
    query = Query(RESOURCES[cdrs], (), Caller(7, account_ids, False), (Filter("account_id", "eq", (7,)),), ranges=days)
    price = "customer_price" if cdrs == "cdrs" else "vendor_price"
    plan = Plan(postgres.dsn(database), select.sums(query, "duration", price, range(1769904000, 1770681600, 3600)))
    assert plan.days == ["2026_02_03", "2026_02_05"], plan.text
    assert "Seq Scan" not in plan.kinds, plan.text
    assert plan.indexes <= {f"{owner}, time_start", "customer_acc_id, time_start"}, plan.text


@LEGS
@CALLERS
def test_the_default_window_touches_two_days(
    postgres: Databases, database: str, cdrs: str, owner: str, account_ids: Any
) -> None:
    """The partitions end with today here; calls of days to come, if there were any, would be listed too."""
    for plan in plans(postgres.dsn(database), cdrs, account_ids):
        assert plan.days == ["2026_02_09", "2026_02_10"], plan.text
        assert plan.indexes == {f"{owner}, time_start"}, plan.text


@LEGS
@pytest.mark.parametrize(
    ("asked", "days"),
    [
        ({"time_start_eq": "2026-02-03T06:00"}, ["2026_02_03"]),
        ({"time_start_gt": "2026-02-09T00:00", "time_start_lteq": "2026-02-10"}, ["2026_02_09", "2026_02_10"]),
        ({"time_start_gteq": "2026-02-10"}, ["2026_02_10"]),
        ({"time_start_gteq": "2026-02-02", "time_start_lt": "2026-02-03", "sort": "duration"}, ["2026_02_02"]),
        ({"time_start_in": "2026-02-10T01:00,2026-02-10T02:00"}, ["2026_02_10"]),
    ],
)
def test_every_bound_prunes(
    postgres: Databases, database: str, cdrs: str, owner: str, asked: dict[str, str], days: list[str]
) -> None:
    for plan in plans(postgres.dsn(database), cdrs, None, **asked):
        assert plan.days == days, plan.text


@LEGS
def test_bounds_that_exclude_each_other_touch_nothing(
    postgres: Databases, database: str, cdrs: str, owner: str
) -> None:
    bounds = {"time_start_gteq": "2026-02-05", "time_start_lt": "2026-02-05"}
    for plan in plans(postgres.dsn(database), cdrs, None, **bounds):
        assert len(plan.days) <= 1, plan.text


@LEGS
def test_newest_first_reads_no_more_than_the_page(postgres: Databases, database: str, cdrs: str, owner: str) -> None:
    """The order comes from the index: days are appended one after the other, and ties within a moment are sorted."""
    whole = {"time_start_gteq": (datetime(2026, 2, 1, tzinfo=UTC) - timedelta(days=1)).isoformat()}
    rows, _ = plans(postgres.dsn(database), cdrs, None, **whole)
    assert '"Node Type": "Incremental Sort"' in rows.text
    assert '"Node Type": "Sort"' not in rows.text


@LEGS
@pytest.mark.parametrize("descending", [True, False], ids=["newest first", "oldest first"])
@pytest.mark.parametrize("backwards", [False, True], ids=["next", "prev"])
def test_a_page_by_cursor_begins_where_its_cursor_is(
    postgres: Databases, database: str, cdrs: str, owner: str, descending: bool, backwards: bool
) -> None:
    """Whatever lies on the other side of the cursor is left out by days and by the index, not read and thrown away."""
    resource, caller = RESOURCES[cdrs], Caller(7, None, False)
    sorts = (Sort("time_start", descending), Sort("id", descending))
    place = ("2026-02-04 06:00:00.000001+00", "7000")
    wanted = CursorPage(3, before=place, backwards=True) if backwards else CursorPage(3, after=place)
    query, _ = params.parse_list(resource, query_string.parse("filter[time_start_gteq]=2026-02-02"), caller, NOON)
    plan = Plan(postgres.dsn(database), select.records(replace(query, sorts=sorts, window=wanted)))
    earlier = descending != backwards
    days = range(2, 5) if earlier else range(4, 11)
    assert plan.days == [f"2026_02_{day:02}" for day in days], plan.text
    assert plan.indexes == {f"{owner}, time_start"}, plan.text
    assert all(f"time_start {'<=' if earlier else '>='}" in bound for bound in plan.bounds), plan.text
    assert '"Node Type": "Sort"' not in plan.text
