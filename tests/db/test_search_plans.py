"""Plans of lists with filters: rows read without search indexes, and the indexes that are used."""

from collections.abc import Iterable, Iterator
from contextlib import closing, contextmanager
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from functools import cache
from typing import Any
from urllib.parse import urlencode

import psycopg2
import pytest

from service.db import indexes, parts, scan, schema, select
from service.db.backend_cache import numbered
from service.db.session import EXECUTION
from service.db.statement import Statement
from service.files import SQL
from service.jsonapi import params, query_string
from service.query import Caller, Everything, Filter, Page, Query
from service.schemas.resource import configured
from tests.conftest import Databases

RESOURCES = configured(UTC, {})
ANYONE = Caller(7, None, False)
NEWEST, FILLED, CALLS_A_DAY = date(2026, 2, 28), 10, 3000
START = datetime.combine(NEWEST - timedelta(days=FILLED - 1), datetime.min.time(), UTC)
END = START + timedelta(days=FILLED)
CALLS = """
INSERT INTO cdr.cdr (
    id, time_start, customer_id, vendor_id, is_last_cdr, success, duration, lega_disconnect_code, legb_disconnect_code,
    src_prefix_in, src_prefix_out, src_prefix_routing, dst_prefix_in, dst_prefix_out, dst_prefix_routing,
    orig_call_id, term_call_id, local_tag
)
SELECT n, %(start)s + n * %(step)s, 7, 7, true, n %% 2 = 0, n %% 300, 200 + odd, 200 + odd,
       '44' || hash, '44' || hash, '44' || hash, '38' || hash, '38' || hash, '38' || hash,
       md5(n::text) || '@192.0.2.1', md5(n::text) || '@192.0.2.1', '8-' || upper(md5(n::text))
  FROM (
         SELECT n,
                lpad(abs(hashint4(n))::text, 10, '1') AS hash,
                CASE WHEN n < 200 THEN (n + 1) %% 2 ELSE n %% 2 END AS odd
           FROM generate_series(0, %(count)s - 1) AS n
       ) AS numbered
"""
CDRS = pytest.mark.parametrize("cdrs", ["incoming-cdrs", "cdrs"])
SORTS = pytest.mark.parametrize("sort", ["-time_start", "time_start", "-id", "id", "-duration", "local_tag"])
NUMBERS = {
    "incoming-cdrs": ("src_prefix_out", "dst_prefix_out", "src_prefix_routing", "dst_prefix_routing"),
    "cdrs": ("src_prefix_in", "dst_prefix_in", "src_prefix_routing", "dst_prefix_routing"),
}
TEXTS = {"incoming-cdrs": ("term_call_id", "local_tag"), "cdrs": ("orig_call_id", "local_tag")}


def _made(postgres: Databases, partitions: int, searchable: bool = False) -> str:
    """A database with partitions up to a day, of which the newest have calls."""
    name = postgres.create()
    schema.apply(postgres.dsn(name), SQL / "schema" / "cdr")
    if searchable:
        postgres.execute(name, "CREATE EXTENSION pg_trgm")
        for index in indexes.search_indexes().values():
            postgres.execute(name, f"CREATE INDEX ON cdr.cdr USING {index.definition}")
    for first in range(partitions - 1, -1, -100):
        last = max(0, first - 99)
        schema.create_partitions(postgres.dsn(name), NEWEST - timedelta(days=first), NEWEST - timedelta(days=last))
    step = timedelta(days=1) / CALLS_A_DAY
    postgres.execute(name, CALLS, {"start": START, "step": step, "count": FILLED * CALLS_A_DAY})
    return name


def _days(postgres: Databases, name: str) -> list[str]:
    listed = "SELECT inhrelid::regclass::text FROM pg_inherits WHERE inhparent = 'cdr.cdr'::regclass ORDER BY 1 DESC"
    return [day for (day,) in postgres.execute(name, listed)][:FILLED]


@contextmanager
def _planner(dsn: str) -> Iterator[Any]:
    """A cursor of a session that knows all tables after its first plan, and plans without workers.

    Workers would each report their own share.
    """
    with closing(psycopg2.connect(dsn)) as connection:
        connection.autocommit = True
        with connection.cursor() as cursor:
            cursor.execute("SET max_parallel_workers_per_gather = 0")
            yield cursor


@pytest.fixture(scope="module", params=["clustered", "shuffled"])
def plain(postgres: Databases, request: pytest.FixtureRequest) -> Iterator[Any]:
    """Without search indexes; the rows lie in the order of time, or in none."""
    name = _made(postgres, FILLED)
    for day in _days(postgres, name) if request.param == "shuffled" else ():
        postgres.execute(name, f"CREATE TABLE shuffled AS SELECT * FROM {day} ORDER BY md5(id::text)")
        postgres.execute(name, f"TRUNCATE {day}; INSERT INTO {day} SELECT * FROM shuffled; DROP TABLE shuffled")
    postgres.execute(name, "VACUUM ANALYZE cdr.cdr")
    with _planner(postgres.dsn(name)) as cursor:
        yield cursor
    postgres.drop(name)


@pytest.fixture(scope="module", params=[130, pytest.param(3650, marks=pytest.mark.slow)])
def searchable(postgres: Databases, request: pytest.FixtureRequest) -> Iterator[Any]:
    """With all search indexes."""
    name = _made(postgres, request.param, searchable=True)
    for day in _days(postgres, name):
        postgres.execute(name, f"VACUUM ANALYZE {day}")  # It also merges what trigram indexes have put off.
    with _planner(postgres.dsn(name)) as cursor:
        yield cursor
    postgres.drop(name)


def asked(cdrs: str, sort: str = "-time_start", **filters: str) -> Query:
    texts = {f"filter[{name}]": value for name, value in filters.items()}
    texts |= {"filter[time_start_gteq]": START.isoformat(), "sort": sort}
    return params.parse_list(RESOURCES[cdrs], query_string.parse(urlencode(texts)), ANYONE, END)[0]


def statements(query: Query) -> list[Statement]:
    """All that a list is read by, until its parts are used up."""
    first = select.reading_order(query)[0].column
    extent = {"time_start": (START, END), "id": (0, FILLED * CALLS_A_DAY)}.get(first)
    found = []
    for part in parts.split(query.sorts, extent):
        narrowed = replace(query, filters=(*query.filters, *part.bounds))
        found.append(
            select.keys(narrowed, 51, scan.MAX_COUNTED)
            if part.one_pass
            else select.records(replace(narrowed, window=Page()))
        )
    return found


def explained(cursor: Any, statement: Statement, options: str = "ANALYZE, BUFFERS") -> dict[str, Any]:
    cursor.execute(f"EXPLAIN ({options}, FORMAT JSON) {statement.text}", statement.parameters)
    [([plan],)] = cursor.fetchall()
    found: dict[str, Any] = plan["Plan"]
    return found


def blocks(cursor: Any, *read: Statement) -> int:
    """How many blocks are visited; a block that is visited again and again counts each time."""
    plans = [explained(cursor, statement) for statement in read]
    return sum(plan["Shared Hit Blocks"] + plan["Shared Read Blocks"] for plan in plans)


def nodes(plan: dict[str, Any]) -> Iterator[dict[str, Any]]:
    yield plan
    for child in plan.get("Plans", ()):
        yield from nodes(child)


def misjudged(cdrs: str) -> dict[str, str]:
    """Filters that each match half of the calls, and together the oldest hundred; PostgreSQL expects a quarter."""
    return {"success_eq": "true", f"{'legb' if cdrs == 'incoming-cdrs' else 'lega'}_disconnect_code_eq": "201"}


@CDRS
@SORTS
@pytest.mark.parametrize("more", [{}, {"duration_gt": "200"}], ids=["few", "none"])
def test_a_list_with_few_matches_or_none_reads_what_one_pass_reads(
    plain: Any, cdrs: str, sort: str, more: dict[str, str]
) -> None:
    query = asked(cdrs, sort, **misjudged(cdrs), **more)
    assert blocks(plain, *statements(query)) <= 1.3 * blocks(plain, select.count(query))


@CDRS
@pytest.mark.parametrize("sort", ["-id", "id", "-duration", "local_tag"])
def test_an_export_with_few_matches_reads_little_more_than_one_pass(plain: Any, cdrs: str, sort: str) -> None:
    """By time, PostgreSQL may use the index, because it visits the blocks of one small partition again and again."""
    query = replace(asked(cdrs, sort, **misjudged(cdrs)), window=Everything(1_000_000))
    plain.execute(f"SET cursor_tuple_fraction = {EXECUTION['cursor_tuple_fraction']}")
    assert blocks(plain, select.declare(select.records(query))) <= 1.3 * blocks(plain, select.count(query))
    plain.execute("RESET cursor_tuple_fraction")


@CDRS
def test_the_planner_alone_would_read_row_by_row(plain: Any, cdrs: str) -> None:
    """What the parts are for: it sorts nothing and takes the order from an index, to the end of the window."""
    query = asked(cdrs, "-id", **misjudged(cdrs))
    kinds = {node["Node Type"] for node in nodes(explained(plain, select.records(query), "COSTS"))}
    assert "Merge Append" in kinds
    assert "Merge Append" not in {node["Node Type"] for node in nodes(explained(plain, statements(query)[-1], "COSTS"))}


@CDRS
@pytest.mark.parametrize("sort", ["-time_start", "time_start", "-id", "id"])
def test_a_list_with_many_matches_stops_early(plain: Any, cdrs: str, sort: str) -> None:
    query = asked(cdrs, sort, success_eq="true")
    first, *_ = statements(query)
    plain.execute(first.text, first.parameters)
    assert len(plain.fetchall()) == 51
    assert blocks(plain, first) <= 0.2 * blocks(plain, select.count(query))


def searches(cdrs: str) -> Iterator[tuple[dict[str, str], str]]:
    """Filters, and the search index that each should use."""
    for column in NUMBERS[cdrs]:
        yield {f"{column}_eq": "381234567890"}, column
        yield {f"{column}_in": "381234567890,441234567890"}, column
        yield {f"{column}_start": "38123456"}, column
        yield {f"{column}_cont": "234567"}, f"{column}_trgm"
        yield {f"{column}_end": "345678"}, f"{column}_trgm"
        yield {f"{column}_cont_any": "234567,765432"}, f"{column}_trgm"
    for column in TEXTS[cdrs]:
        yield {f"{column}_eq": "abcdef"}, column
        yield {f"{column}_in": "abcdef,fedcba"}, column
        yield {f"{column}_start": "8-ABCDEF"}, f"{column}_trgm"
        yield {f"{column}_cont": "cdef01"}, f"{column}_trgm"
        yield {f"{column}_end": "cdef01"}, f"{column}_trgm"
        yield {f"{column}_cont_any": "cdef01,98abcd"}, f"{column}_trgm"


@pytest.mark.parametrize(
    ("cdrs", "filters", "index"),
    [(cdrs, *search) for cdrs in RESOURCES if cdrs != "accounts" for search in searches(cdrs)],
    ids=lambda value: next(iter(value), "") if isinstance(value, dict) else value,
)
@pytest.mark.parametrize("also", [{}, {"success_eq": "true"}], ids=["alone", "combined"])
def test_a_search_uses_its_index(
    searchable: Any, cdrs: str, filters: dict[str, str], index: str, also: dict[str, str]
) -> None:
    query = asked(cdrs, **filters, **also)
    used = _searched(searchable, query)
    serving = {index, index.removesuffix("_trgm"), f"{index.removesuffix('_trgm')}_trgm"}
    assert used, "no search index"
    assert used <= serving


@CDRS
@SORTS
def test_a_search_uses_its_index_in_each_order(searchable: Any, cdrs: str, sort: str) -> None:
    assert _searched(searchable, asked(cdrs, sort, dst_prefix_routing_eq="381234567890")) == {"dst_prefix_routing"}
    assert _searched(searchable, asked(cdrs, sort, local_tag_cont="cdef01")) == {"local_tag_trgm"}


@CDRS
@SORTS
@pytest.mark.parametrize(
    ("filters", "index"),
    [
        ({"dst_prefix_routing_eq": "381234567890", "success_eq": "true"}, "dst_prefix_routing"),
        ({"dst_prefix_routing_start": "381234"}, "dst_prefix_routing"),
        ({"dst_prefix_routing_cont": "1234"}, "dst_prefix_routing_trgm"),
        ({"local_tag_end": "ABCDEF"}, "local_tag_trgm"),
    ],
    ids=lambda value: next(iter(value)) if isinstance(value, dict) else "",
)
def test_a_prepared_search_uses_its_index_in_the_partitions_of_its_time(
    searchable: Any, cdrs: str, sort: str, filters: dict[str, str], index: str
) -> None:
    """Without knowing the values, for 2.5 of 130 days or more."""
    query = asked(cdrs, sort, **filters)
    first, last = END - timedelta(days=4), END - timedelta(days=1, hours=12)
    times = (Filter("time_start", "gteq", (first,)), Filter("time_start", "lt", (last,)))
    statement = select.prepared_keys(replace(query, filters=(*query.filters, *times)), 51, scan.MAX_COUNTED)
    assert statement is not None
    body, arguments = numbered(statement.text)
    searchable.execute("SET plan_cache_mode = force_generic_plan")
    searchable.execute(f"PREPARE search AS {body}")
    searchable.execute(f"EXPLAIN (COSTS, FORMAT JSON) EXECUTE search {arguments}", statement.parameters)
    [([plan],)] = searchable.fetchall()
    searchable.execute("DEALLOCATE search; RESET plan_cache_mode")
    read = list(nodes(plan["Plan"]))
    tables = {node["Relation Name"][-2:] for node in read if "Relation Name" in node}
    assert tables == {"25", "26", "27"}
    assert _used(searchable, read) == {index}


@pytest.mark.parametrize(
    "filters",
    [
        {"local_tag_cont": "ab"},
        {"local_tag_start": "8-A"},
        {"local_tag_in": "a,b"},
        {"local_tag_cont_any": "abc,def"},
        {"success_not_eq": "true"},
    ],
)
def test_a_search_whose_plan_depends_on_its_values_is_not_prepared(filters: dict[str, str]) -> None:
    assert select.prepared_keys(asked("cdrs", **filters, orig_call_id_eq="a"), 51, scan.MAX_COUNTED) is None


def test_the_text_of_a_prepared_search_stays_the_same_for_a_day() -> None:
    texts = set()
    for hour in (0, 1, 23):
        query = asked("cdrs", local_tag_eq=f"8-{hour}")
        later = Filter("time_start", "gt", (START + timedelta(hours=hour),))
        statement = select.prepared_keys(replace(query, filters=(*query.filters, later)), 50 + hour, 1000)
        assert statement is not None
        texts.add(statement.text)
    assert len(texts) == 1


def _searched(cursor: Any, query: Query) -> set[str]:
    """The search indexes that all calls of the last part and of the total are found by; none if some are not."""
    used = [
        _used(cursor, nodes(explained(cursor, statement, "COSTS")))
        for statement in (statements(query)[-1], select.count(query))
    ]
    return set.union(*used) if all(used) else set()


def _used(cursor: Any, plan: Iterable[dict[str, Any]]) -> set[str]:
    """The search indexes by which a plan finds all calls; none if it finds some in another way."""
    names = _indexes(cursor)
    scanned = [node for node in plan if node["Node Type"] in ("Seq Scan", "Index Scan", "Bitmap Index Scan")]
    filled = [node for node in scanned if node["Plan Rows"] or "Index Name" in node]
    found = {names.get(node.get("Index Name", "")) for node in filled}
    return set() if None in found else {name for name in found if name}


@cache
def _indexes(cursor: Any) -> dict[str, str | None]:
    """The names of search indexes by those of PostgreSQL's indexes."""
    by_definition = {index.definition: index.name for index in indexes.search_indexes().values()}
    cursor.execute("SELECT indexname, indexdef FROM pg_indexes WHERE schemaname = 'cdr'")
    return {name: by_definition.get(indexes.definition_of(text)) for name, text in cursor.fetchall()}
