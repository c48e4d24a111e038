"""Every resource's SQL against its declaration and against a real PostgreSQL. No rule names an attribute."""

from collections.abc import Iterable, Iterator
from contextlib import closing, contextmanager
from datetime import UTC, datetime
from typing import Any
from urllib.parse import urlencode

import psycopg2
import pytest

from service.db import schema, select
from service.db.backend_cache import numbered
from service.db.statement import Statement
from service.files import SQL
from service.jsonapi import params, query_string
from service.query import Caller, Filter, Page, Query, Sort
from service.schemas.fields import Boolean, Decimal, Inet, Integer, String, Timestamp, Uuid
from service.schemas.resource import ACCOUNT, FilterRule, Resource, configured
from service.statistics.parameters import rules
from service.statistics.question import STATISTICS
from tests.conftest import Databases

RESOURCES = configured(UTC, {})
EACH = pytest.mark.parametrize("resource", RESOURCES.values(), ids=RESOURCES)
CALLERS = [Caller(10, None, False), Caller(10, (101, 102), True)]
NOW = datetime(2026, 3, 7, 12, tzinfo=UTC)

# The PostgreSQL types that a field can stand for, and texts that its filters take, the odd ones included.
TYPES = {
    Integer: {"int2", "int4", "int8"},
    Decimal: {"numeric"},
    Boolean: {"bool"},
    String: {"varchar", "text"},
    Timestamp: {"timestamptz"},
    Uuid: {"uuid"},
    Inet: {"inet"},
}
TEXTS = {
    Integer: ["1", "-1", "9" * 30, "-" + "9" * 400],
    Decimal: ["1.5", "1e-300", "1e1000", "NaN", "-Infinity"],
    Boolean: ["true", "0"],
    String: ["a", "38", "9", "100%_\\", "'; --", "%(customer_id)s", "{resource}", "é😀"],
    Timestamp: ["2026-03-07", "0001-01-01T00:00:00Z", "9999-12-31 23:59:59.999999"],
    Uuid: ["0E1D9A706C1B4F6E9B6A000000000100"],
    Inet: ["10.0.0.1", "2001:db8::/32", "10.0.0.1/8"],
}


@pytest.fixture
def cursor(postgres: Databases, golden_database: str) -> Iterator[Any]:
    with _connected(postgres, golden_database) as cursor:
        yield cursor


@pytest.fixture
def planner(postgres: Databases, planned: str) -> Iterator[Any]:
    with _connected(postgres, planned) as cursor:
        yield cursor


@pytest.fixture(scope="module")
def planned(postgres: Databases) -> Iterator[str]:
    """A database for plans alone: with one partition, because each would be planned again."""
    name = postgres.create()
    for part in ("cdr", "routing"):
        schema.apply(postgres.dsn(name), SQL / "schema" / part)
    schema.create_partitions(postgres.dsn(name), NOW.date(), NOW.date())
    yield name
    postgres.drop(name)


@contextmanager
def _connected(postgres: Databases, name: str) -> Iterator[Any]:
    with closing(psycopg2.connect(postgres.dsn(name))) as connection:
        connection.autocommit = True
        with connection.cursor() as cursor:
            yield cursor


def family(field: Any) -> type:
    return next(kind for kind in type(field).__mro__ if kind in TYPES)


def conditions(rule: FilterRule) -> Iterator[Filter]:
    """The filter with each text alone, with all of them where it takes a list, and with none left of its accounts."""
    values = [rule.field.deserialize(text) for text in TEXTS[family(rule.field)]]
    if rule.by_account_uuid:
        values = [2**31 - 1, -1]
        yield Filter(rule.column, rule.operator, ())
    yield from (Filter(rule.column, rule.operator, (value,)) for value in values)
    if rule.takes_list:
        yield Filter(rule.column, rule.operator, tuple(values))


def statements(
    resource: Resource, filters: Iterable[Filter] = (), sorts: Iterable[Sort] = (Sort("id"),)
) -> Iterator[Any]:
    filters = tuple(filters)
    for caller in CALLERS:
        query = Query(resource, ("id",), caller, filters, tuple(sorts), Page(size=1))
        yield from (texts(select.records(query)), texts(select.count(query)))


def texts(statement: Statement) -> tuple[str, Any]:
    return statement.text, statement.parameters


def everything(resource: Resource) -> tuple[str, Any]:
    return texts(select.records(Query(resource, ("*",), CALLERS[0], (), (Sort("id"),), Page(size=1))))


def refused(cursor: Any, statement: str, parameters: Any) -> str | None:
    try:
        cursor.execute(statement, parameters)
    except psycopg2.Error as error:
        return str(error)
    return None


@EACH
def test_the_sql_has_the_columns_that_the_declaration_needs_and_no_others(cursor: Any, resource: Resource) -> None:
    cursor.execute(*everything(resource))
    columns = [column.name for column in cursor.description]
    needed = {field.column for field in resource.schema.fields.values()}
    needed |= {rule.column for rule in resource.filters.values()} | {resource.meta.number}
    for statistic in STATISTICS.values():
        if statistic.resource == resource.type:
            needed |= {column for _, column, _, _ in rules(statistic, resource)}
    assert sorted(columns) == sorted(needed)


@EACH
def test_a_columns_type_is_its_fields(cursor: Any, resource: Resource) -> None:
    cursor.execute(*everything(resource))
    oids = {column.name: column.type_code for column in cursor.description}
    cursor.execute("SELECT oid, typname FROM pg_type WHERE oid = ANY(%s)", (list(oids.values()),))
    names: dict[int, str] = dict(cursor.fetchall())
    fields = {
        **resource.attributes,
        **{rule.name: rule.field for rule in resource.filters.values() if rule.empty_matches_nothing},
    }
    fields |= {name: f for name, f in resource.schema.fields.items() if name != ACCOUNT}
    mistyped = {
        name: names[oids[field.column]]
        for name, field in fields.items()
        if field.column in oids and names[oids[field.column]] not in TYPES[family(field)]
    }
    assert not mistyped


@EACH
def test_every_filter_is_sql_that_postgresql_accepts(planner: Any, resource: Resource) -> None:
    problems = {
        f"{name} {list(condition.values)}": problem
        for name, rule in resource.filters.items()
        for condition in conditions(rule)
        for statement, parameters in statements(resource, (condition,))
        if (problem := refused(planner, f"EXPLAIN {statement}", parameters))
    }
    assert not problems


@EACH
def test_every_filter_runs_over_rows_whatever_the_value(cursor: Any, resource: Resource) -> None:
    """A plan does not show what fails on rows: numbers that overflow, times out of range."""
    problems = {
        f"{name} {list(condition.values)}": problem
        for name, rule in resource.filters.items()
        for condition in conditions(rule)
        if (problem := refused(cursor, *texts(select.count(Query(resource, (), CALLERS[0], (condition,))))))
    }
    assert not problems


@pytest.mark.parametrize("resource", [r for r in RESOURCES.values() if r.meta.window], ids=lambda r: r.type)
@pytest.mark.parametrize("caller", CALLERS, ids=["all accounts", "some accounts"])
def test_every_prepared_search_finds_what_the_plain_one_finds(cursor: Any, resource: Resource, caller: Caller) -> None:
    cursor.execute("SET plan_cache_mode = force_generic_plan")
    since = Filter("time_start", "gteq", (datetime(2026, 3, 2, 5, tzinfo=UTC),))
    until = Filter("time_start", "lt", (datetime(2026, 3, 3, 15, tzinfo=UTC),))
    checked = matched = 0
    for rule in resource.filters.values():
        for condition in conditions(rule):
            query = Query(resource, ("id",), caller, (since, until, condition), (Sort("id"),), Page())
            prepared = select.prepared_keys(query, 51, 1000)
            if prepared is None:
                continue
            checked += 1
            body, arguments = numbered(prepared.text)
            cursor.execute(f"PREPARE search AS {body}")
            cursor.execute(f"EXECUTE search {arguments}", prepared.parameters)
            found = cursor.fetchall()
            matched += bool(found)
            cursor.execute("DEALLOCATE search")
            cursor.execute(*texts(select.keys(query, 51, 1000)))
            assert found == cursor.fetchall(), (rule.column, condition)
    assert checked > 200
    assert matched > 50


@EACH
@pytest.mark.parametrize("descending", [False, True], ids=["ascending", "descending"])
def test_every_sort_key_is_sql_that_postgresql_accepts(planner: Any, resource: Resource, descending: bool) -> None:
    problems = {
        key: problem
        for key, column in resource.sort_keys.items()
        for statement, parameters in statements(resource, sorts=(Sort(column, descending), Sort("id", descending)))
        if (problem := refused(planner, f"EXPLAIN {statement}", parameters))
    }
    assert not problems


@EACH
def test_a_filters_value_never_changes_the_statement(resource: Resource) -> None:
    """Whatever is given, the text of the statement is the same, so no value is a part of it."""
    for name, rule in resource.filters.items():
        texts = {
            statement
            for condition in conditions(rule)
            if condition.values
            for statement, _ in statements(resource, (condition,))
        }
        assert len(texts) == 2, f"{name}: one listing and one count, however the values differ"


HOSTILE = "x'; DROP TABLE cdr.cdr; -- %(customer_id)s %s {resource} \\\"$1"


@EACH
def test_what_a_client_sends_is_a_parameter_or_refused(cursor: Any, resource: Resource) -> None:
    for name, rule in resource.filters.items():
        quoted = '"' + HOSTILE.replace('"', '""') + '"'
        asked = {f"filter[{name}]": quoted, f"fields[{resource.type}]": "id", "sort": "id", "include": ""}
        if not isinstance(rule.field, String):
            continue
        query, _ = params.parse_list(resource, query_string.parse(urlencode(asked)), CALLERS[0], NOW)
        for statement, parameters in (texts(select.records(query)), texts(select.count(query))):
            assert "DROP" not in statement, name
            assert "DROP" in str(parameters), name
            assert refused(cursor, statement, parameters) is None, name


@EACH
def test_names_in_statements_come_from_declarations_only(resource: Resource) -> None:
    """Ask for every name there is, in a spelling of the client's own: only declared columns are in the query."""
    query, _ = params.parse_list(
        resource,
        query_string.parse(
            urlencode(
                {
                    "sort": ",".join(name.upper() for name in resource.sort_keys),
                    f"fields[{resource.type}]": ",".join(resource.field_names),
                }
            )
        ),
        CALLERS[0],
        NOW,
    )
    known = {field.column for field in resource.schema.fields.values()}
    assert {sort.column for sort in query.sorts} <= known
    assert set(query.columns) <= known
