"""Benchmarks of searches: filtered lists with and without search indexes, and the cost of indexes for writers.

`python -m benchmarks.search [--quick] [--dsn DSN]` measures on a database of 130 partitions with three million calls,
which it creates in `.bench` if missing, or on an existing one. Each request is compared with one plain pass over
its window, the count with the same conditions in SQL, with the list of 50 in 24 hours, and with the same request to
the naive server. The search indexes in RECOMMENDED and one on Call-IDs are built and dropped again.
"""

import argparse
import io
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, closing, contextmanager
from datetime import UTC, datetime, timedelta
from statistics import median
from typing import Any
from urllib.parse import urlencode

import psycopg2
from psycopg2.extensions import connection as Connection

from benchmarks import programs
from benchmarks.__main__ import FULL_130, KEPT, QUICK_130
from benchmarks.databases import CUSTOMER, OPTIONS, Databases, execute
from benchmarks.programs import LISTS, Program
from service.db import index_builds, indexes, select
from service.db.statement import Statement
from service.jsonapi import params, query_string
from service.query import Caller
from service.schemas.resource import configured

RECOMMENDED = ("dst_prefix_routing", "src_prefix_routing", "local_tag", "dst_prefix_routing_trgm")
RESOURCE = configured(UTC, {})["incoming-cdrs"]
SETS: dict[str, tuple[str, ...]] = {"none": (), "recommended": RECOMMENDED, "all": tuple(indexes.search_indexes())}
DAYS = (30, 120)
REPEATS = 5
COPIED, INSERTED = 20_000, 2_000
SAMPLE = """
SELECT dst_prefix_routing, src_prefix_routing, local_tag, term_call_id
  FROM cdr.cdr
 WHERE vendor_id = %s AND time_start BETWEEN %s AND %s
 LIMIT 1
"""
# A table like one partition, so that writers do not change calls.
WRITTEN = "CREATE TABLE cdr.bench_written (LIKE cdr.cdr INCLUDING DEFAULTS INCLUDING INDEXES)"
NEWEST = "(SELECT * FROM cdr.cdr WHERE time_start > now() - interval '7 days' LIMIT {})"

HEAD = "| search | found | ms | / one pass | / list of 24 hours | / naive server |"

Filters = Mapping[str, str]
Row = tuple[str, int, float, float, float, float]


def main(words: list[str] | None = None) -> int:
    options = _options(words)
    with ExitStack() as stack:
        dsn = options.dsn or stack.enter_context(_own(options.quick))
        searches = _searches(dsn)
        program = programs.service("search", dsn, KEPT / "logs", RESOURCES__TOTAL_CACHE_SECONDS="0")
        stack.callback(program.stop)
        naive = programs.beside("naive", dsn, KEPT / "logs")
        stack.callback(naive.stop)
        chosen = [indexes.search_indexes()[name] for name in (*RECOMMENDED, "term_call_id")]
        index_builds.drop(dsn, chosen, _say)
        print(_table("without search indexes", _measured(dsn, program, naive, searches)))
        index_builds.create(dsn, chosen, _say)
        stack.callback(index_builds.drop, dsn, chosen, _say)
        execute(dsn, "VACUUM ANALYZE cdr.cdr")
        heading = f"with {', '.join(index.name for index in chosen)}"
        print(_table(heading, _measured(dsn, program, naive, searches)))
        print(_writers(dsn))
    return 0


def _options(words: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.search", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="use a smaller database, for development")
    parser.add_argument("--dsn", help="DSN of an existing benchmark database")
    return parser.parse_args(words)


@contextmanager
def _own(quick: bool) -> Iterator[str]:
    with Databases.open(KEPT / "postgres", _say, OPTIONS) as databases:
        yield databases.dsn(QUICK_130 if quick else FULL_130)


def _searches(dsn: str) -> dict[str, Filters]:
    """Filters by the name of the search. The wanted call is three weeks old."""
    found = datetime.now(UTC) - timedelta(days=21)
    [(called, caller, tag, call_id)] = execute(dsn, SAMPLE, CUSTOMER, found, found + timedelta(days=1))
    return {
        "no filter": {},
        "called number, found": {"dst_prefix_routing_eq": called},
        "called number, none": {"dst_prefix_routing_eq": "999999999999"},
        "tag, found": {"local_tag_eq": tag},
        "tag, none": {"local_tag_eq": "8-NONE"},
        "Call-ID, found": {"term_call_id_eq": call_id},
        "Call-ID, none": {"term_call_id_eq": "none@192.0.2.1"},
        "6 digits of a prefix, found": {"src_prefix_routing_start": caller[:6]},
        "6 digits of a prefix, none": {"src_prefix_routing_start": "999999"},
        "6 digits anywhere, found": {"dst_prefix_routing_cont": called[-6:]},
        "6 digits anywhere, none": {"dst_prefix_routing_cont": "x99999"},
        "half of all calls": {"success_eq": "true"},
        "half and half, together none": {"success_eq": "true", "legb_disconnect_code_eq": "487"},
    }


def _measured(dsn: str, program: Program, naive: Program, searches: Mapping[str, Filters]) -> Iterator[Row]:
    """The search, the number of matches, and the milliseconds of the request, one pass, 24 hours, the naive server."""
    with closing(psycopg2.connect(dsn)) as connection:  # One connection, so that it has planned the partitions.
        connection.autocommit = True
        yield from _measured_beside(connection, program, naive, searches)


def _measured_beside(
    connection: Connection, program: Program, naive: Program, searches: Mapping[str, Filters]
) -> Iterator[Row]:
    for days in DAYS:
        for name, filters in searches.items():
            today = {"filter[time_start_gteq]": _since(1)}
            asked = {f"filter[{key}]": value for key, value in filters.items()} | {
                "filter[time_start_gteq]": _since(days)
            }
            query, _ = params.parse_list(
                RESOURCE, query_string.parse(urlencode(asked)), Caller(CUSTOMER, None, False), datetime.now(UTC)
            )
            count = select.count(query)
            work: list[Callable[[], Any]] = [
                lambda asked=asked: _got(program, asked),  # type: ignore[misc] # bound now
                lambda count=count: _fetched(connection, count),  # type: ignore[misc] # bound now
                lambda today=today: _got(program, today),  # type: ignore[misc] # bound now
                lambda asked=asked: _got(naive, asked),  # type: ignore[misc] # bound now
            ]
            [(matches,)] = work[1]()
            request, plain, base, rival = _by_turns(work)
            yield f"{days} days, {name}", matches, request, plain, base, rival


def _by_turns(work: Sequence[Callable[[], Any]]) -> list[float]:
    """The median milliseconds of each, measured in turn after one warm-up."""
    taken: list[list[float]] = [[] for _ in work]
    for turn in range(REPEATS + 1):
        for number, function in enumerate(work):
            begin = time.perf_counter()
            function()
            if turn:
                taken[number].append(1000 * (time.perf_counter() - begin))
    return [median(times) for times in taken]


def _fetched(connection: Connection, statement: Statement) -> list[tuple[Any, ...]]:
    with connection.cursor() as cursor:
        cursor.execute(statement.text, statement.parameters)
        return cursor.fetchall()


def _got(program: Program, query: Mapping[str, str]) -> None:
    status, _, body = program.get(f"{LISTS}?{urlencode(query)}")
    assert status == 200, body


def _since(days: int) -> str:
    return f"{datetime.now(UTC) - timedelta(days=days):%Y-%m-%dT%H:%M:%SZ}"


def _table(heading: str, rows: Iterator[Row]) -> str:
    lines = [f"\n{heading}\n", HEAD, "|---|---|---|---|---|---|"]
    for name, matches, request, *others in rows:
        ratios = " | ".join(f"{request / other:.2f}" for other in others)
        lines.append(f"| {name} | {matches} | {request:.1f} | {ratios} |")
    return "\n".join(lines)


def _writers(dsn: str) -> str:
    """Rows per second by COPY and by single inserts into a table with each set of indexes, and the size of these."""
    with closing(psycopg2.connect(dsn)) as connection, connection.cursor() as cursor:
        data = io.StringIO()
        cursor.copy_expert(f"COPY {NEWEST.format(COPIED)} TO STDOUT", data)
    lines = ["\n| indexes | COPY, rows/s | single inserts, rows/s | size, % of the table |", "|---|---|---|---|"]
    base: tuple[float, float] | None = None
    rounds = [{name: _written(dsn, chosen, data.getvalue()) for name, chosen in SETS.items()} for _ in range(REPEATS)]
    for name in SETS:
        copied, inserted, size = (median(values) for values in zip(*(found[name] for found in rounds), strict=True))
        base = base or (copied, inserted)
        ratios = f"{copied:.0f} ({copied / base[0]:.2f}) | {inserted:.0f} ({inserted / base[1]:.2f})"
        lines.append(f"| {name} | {ratios} | {size:.0f} |")
    return "\n".join(lines)


def _written(dsn: str, chosen: Sequence[str], data: str) -> tuple[float, float, float]:
    """Rows per second by COPY and by inserts, and the size of the search indexes in percent of the table."""
    with closing(psycopg2.connect(dsn)) as connection, connection.cursor() as cursor:
        cursor.execute(WRITTEN)
        for name in chosen:
            definition = indexes.search_indexes()[name].definition
            cursor.execute(f"CREATE INDEX {name} ON cdr.bench_written USING {definition}")
        begin = time.perf_counter()
        cursor.copy_expert("COPY cdr.bench_written FROM STDIN", io.StringIO(data))
        copied = COPIED / (time.perf_counter() - begin)
        cursor.execute(
            "SELECT coalesce(sum(pg_relation_size(oid)), 0) FROM pg_class WHERE relname = ANY(%s)", (list(chosen),)
        )
        [(size,)] = cursor.fetchall()
        cursor.execute("SELECT pg_table_size('cdr.bench_written')")
        [(table,)] = cursor.fetchall()
        cursor.execute(f"SELECT array_agg(r::text) FROM {NEWEST.format(INSERTED)} AS r")
        [(rows,)] = cursor.fetchall()
        cursor.execute("TRUNCATE cdr.bench_written")
        begin = time.perf_counter()
        for row in rows:
            cursor.execute("INSERT INTO cdr.bench_written SELECT (%s::cdr.cdr).*", (row,))
        inserted = INSERTED / (time.perf_counter() - begin)
        connection.rollback()
    return copied, inserted, 100 * float(size) / table


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


if __name__ == "__main__":
    raise SystemExit(main())
