"""Days that are divided by a hash of the vendor, each part on a separate server."""

import asyncio
import json
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from datetime import UTC, datetime
from itertools import product

import psycopg2
import pytest

from service.db import schema, select
from service.db.schema import SchemaError
from service.db.statement import Statement
from service.files import SQL
from service.jsonapi import render
from service.query import Caller, CursorPage, Filter, Page, Query, Sort
from service.schemas.resource import configured
from service.web.keys import STATE
from tests.conftest import Api, Serve
from tests.layouts.checks import EVER, TOO_LATE, Answers, started
from tests.layouts.servers import (
    DAY,
    DAYS,
    FIRST,
    TODAY,
    VENDORS,
    Layout,
    Servers,
    calls_of,
    days,
    golden_days,
    name_of,
    started_by,
    statements,
)
from tests.load import until

TWO_OR_THREE = pytest.mark.parametrize(
    "servers", [2, pytest.param(3, marks=pytest.mark.slow)], ids="{} shards".format, indirect=True
)


def divided(servers: Servers, database: str, these: list[datetime]) -> None:
    servers.apply(database)
    for shard in servers.behind:
        servers.follow(shard, database, "shard once")
    servers.follow("server", database, "coordinator once")
    for day in these:
        for shard in servers.behind:
            servers.follow(shard, database, "shard day", day)
        servers.follow("server", database, "coordinator day", day)


@pytest.fixture(scope="module", params=[2], ids="{} shards".format)
def servers(request: pytest.FixtureRequest) -> Iterator[Servers]:
    with Servers([f"shard_{number}" for number in range(request.param)]) as made:
        divided(made, "calls", days())
        made.fill("calls")
        yield made


@pytest.fixture(scope="module")
def golden(servers: Servers) -> dict[str, str]:
    divided(servers, "golden", golden_days())
    servers.copy_golden("golden")
    return servers.settings("golden")


@pytest.fixture
def layout(servers: Servers, request: pytest.FixtureRequest) -> Layout:
    recorded = "corpus" in request.fixturenames
    return Layout(
        request.getfixturevalue("golden") if recorded else {},
        servers.settings("calls"),
        servers.dsn("calls", "postgres"),
    )


class TestAnswers(Answers):
    pass


def shard_of(servers: Servers, vendor: int) -> str:
    """Which shard holds a vendor's calls, by PostgreSQL's own hash."""
    [(oid,)] = servers.run("server", "calls", f"SELECT 'cdr.{name_of(TODAY)}'::regclass::oid")
    count = len(servers.behind)
    held = [
        servers.run("server", "calls", f"SELECT satisfies_hash_partition({oid}, {count}, {n}, {vendor})") == [(True,)]
        for n in range(count)
    ]
    return servers.behind[held.index(True)]


def plan(servers: Servers, statement: Statement) -> str:
    with closing(psycopg2.connect(servers.dsn("calls"))) as connection, connection.cursor() as cursor:
        cursor.execute("SET enable_sort = off")  # A few rows are otherwise sorted where they arrive.
        cursor.execute(f"EXPLAIN (FORMAT JSON, VERBOSE) {statement.text}", statement.parameters)
        return json.dumps(cursor.fetchall())


def tables_in(text: str) -> set[str]:
    """The foreign tables that a plan reads."""
    return {part.partition('"')[0] for part in text.split('"Relation Name": "')[1:]}


def query(vendor: int, window: Page | CursorPage, first: int, last: int) -> Query:
    """A vendor's calls of some days, counted from the first."""
    resource = configured(UTC, {})["incoming-cdrs"]
    bounds = (
        Filter("time_start", "gteq", (FIRST + first * DAY,)),
        Filter("time_start", "lt", (FIRST + last * DAY,)),
    )
    columns = render.get_renderer(resource).columns
    return Query(resource, columns, Caller(vendor, None, False), bounds, (Sort("time_start"), Sort("id")), window)


def one_of_each(servers: Servers) -> list[int]:
    """A vendor of each shard."""
    by_shard = {shard_of(servers, vendor): vendor for vendor in VENDORS}
    assert set(by_shard) == set(servers.behind)
    return list(by_shard.values())


@TWO_OR_THREE
def test_a_vendors_list_reads_only_its_days_on_its_shard_which_filters_and_sorts(servers: Servers) -> None:
    position = ((FIRST + 2 * DAY).isoformat(), "700")
    for vendor, window in product(one_of_each(servers), (Page(size=50), CursorPage(size=50, after=position))):
        text = plan(servers, select.records(query(vendor, window, 1, 3)))
        number = servers.behind.index(shard_of(servers, vendor))
        expected = {f"{name_of(FIRST + day * DAY)}_{number}" for day in (1, 2)}
        assert set() < tables_in(text) <= expected
        assert f"vendor_id = {vendor}" in text
        assert "ORDER BY" in text
        assert "Sort" not in text.replace("Sort Key", "")


@TWO_OR_THREE
def test_a_vendors_total_reads_only_its_days_on_its_shard(servers: Servers) -> None:
    for vendor in one_of_each(servers):
        number = servers.behind.index(shard_of(servers, vendor))
        text = plan(servers, select.count(query(vendor, Page(), 1, 3)))
        assert tables_in(text) == {f"{name_of(FIRST + day * DAY)}_{number}" for day in (1, 2)}
        assert "time_start >= " in text.partition("Remote SQL")[2]


@TWO_OR_THREE
def test_a_look_up_asks_one_shard_in_whatever_way_it_is_made(servers: Servers) -> None:
    [(oid,)] = servers.run("server", "calls", f"SELECT 'cdr.{name_of(TODAY)}'::regclass::oid")
    day = (TODAY.isoformat(), (TODAY + DAY).isoformat())
    for vendor in one_of_each(servers):
        wanted = query(vendor, Page(), 0, DAYS)
        for statement in (
            select.by_id_in_partition(wanted, 5, f"cdr.{name_of(TODAY)}", oid),
            select.by_id(wanted, 5, [day]),
            select.by_id(wanted, 5, [(day[0], day[0])]),
        ):
            number = servers.behind.index(shard_of(servers, vendor))
            assert tables_in(plan(servers, statement)) == {f"{name_of(TODAY)}_{number}"}


async def statuses(api: Api, vendor: int, identifiers: list[int]) -> set[int]:
    return {(await api.get(f"incoming-cdrs/{identifier}", vendor)).status for identifier in identifiers}


def lucky(servers: Servers, dead: str) -> int:
    """A vendor whose calls are on another shard."""
    return next(vendor for vendor in VENDORS if shard_of(servers, vendor) != dead)


async def test_with_a_dead_shard_calls_of_the_other_are_found(
    serve: Serve, servers: Servers, layout: Layout, capsys: pytest.CaptureFixture[str]
) -> None:
    dead = shard_of(servers, 1)
    other = lucky(servers, dead)
    before = await started(serve, dict(layout.calls))
    with servers.dead(dead):
        for api in (before, await started(serve, dict(layout.calls))):
            for ago in range(DAYS):
                assert await statuses(api, other, calls_of(other, ago)[::13]) == {200}
            assert await statuses(api, 1, calls_of(1, 2)[:3]) == {503}
            for path in ("", "&page[after]=", "&format=csv"):
                assert (await api.get(f"incoming-cdrs?{EVER}{path}", other)).status == 200
                failed = await api.get(f"incoming-cdrs?{EVER}{path}", 1)
                assert failed.error == (503, "503")
                assert "A part of the database is not available." in failed.json["errors"][0]["detail"]
            assert await statuses(api, other, [10**9]) == {503}  # It cannot be said that there is no such call.
            parts = await api.client.app[STATE].services.parts()
            assert [part.problems for part in parts.values()] == [[], []]
    assert "could not connect to server" in capsys.readouterr().out
    assert await statuses(before, 1, calls_of(1, 2)[:3]) == {200}


@pytest.mark.slow
async def test_a_hanging_shard_does_not_occupy_the_slots_of_other_customers(
    serve: Serve, servers: Servers, layout: Layout
) -> None:
    """More customers than slots wait for the shard. Others would get 503 if they had to wait for one of them."""
    hung = max(servers.behind, key=lambda shard: sum(shard_of(servers, vendor) == shard for vendor in VENDORS))
    waiting = [vendor for vendor in VENDORS if shard_of(servers, vendor) == hung]
    other = lucky(servers, hung)
    limits = {
        "DATABASES__STATEMENT_TIMEOUT": "2",
        "DATABASES__CDR__POOL_SIZE": str(len(waiting)),
        "OVERLOAD__WAIT": "1",
    }
    api = await started(serve, layout.calls | limits)
    path = f"incoming-cdrs?{EVER}"
    done = asyncio.Event()

    async def insist(vendor: int) -> set[int]:
        found = set()
        while not done.is_set():
            found.add((await api.get(path, vendor)).status)
        return found

    with servers.hanging(hung):
        assert {answer.status for answer in await asyncio.gather(*(api.get(path, one) for one in waiting))} <= TOO_LATE
        insisting = [asyncio.create_task(insist(vendor)) for vendor in waiting * 2]
        limiter = api.client.app[STATE].limiter
        await until(lambda: limiter.waiting > 0)
        for ago in range(DAYS):
            assert await statuses(api, other, calls_of(other, ago)[::13]) == {200}
            for form in ("", "&page[after]=", "&page[size]=1000", "&format=csv"):
                assert (await api.get(f"{path}{form}", other)).status == 200
        done.set()
        assert set().union(*await asyncio.gather(*insisting)) <= TOO_LATE
        assert await statuses(api, other, [10**9]) <= TOO_LATE  # It cannot be said that there is no such call.
        parts = await api.client.app[STATE].services.parts()
        assert [part.problems for part in parts.values()] == [[], []]
    for vendor in waiting:
        assert (await api.get(path, vendor)).status == 200


@pytest.mark.slow
async def test_the_service_starts_while_a_shard_hangs(serve: Serve, servers: Servers, layout: Layout) -> None:
    servers.follow("server", "calls", "coordinator network")
    hung = shard_of(servers, 1)
    other = lucky(servers, hung)
    with servers.hanging(hung):
        api = await started(serve, {**layout.calls, "DATABASES__STATEMENT_TIMEOUT": "2"})
        for ago in range(DAYS):
            assert await statuses(api, other, calls_of(other, ago)[::13]) == {200}
        assert await statuses(api, 1, calls_of(1, 2)[:1]) <= TOO_LATE
    assert await statuses(api, 1, calls_of(1, 2)[:3]) == {200}


FORMS = ("", "page[size]=1000", "page[size]=1000&page[after]=", "format=csv", "format=csv&count=true")


@pytest.mark.slow
@pytest.mark.parametrize("form", FORMS)
async def test_an_error_of_a_shard_opens_no_new_sessions(
    serve: Serve, servers: Servers, layout: Layout, form: str
) -> None:
    api = await started(serve, dict(layout.calls))
    dead = shard_of(servers, 1)
    path = f"incoming-cdrs?{EVER}&{form}"
    sessions = "SELECT array_agg(pid ORDER BY pid) FROM pg_stat_activity WHERE application_name = 'cdr-api'"
    with servers.dead(dead):
        vendors = [1, lucky(servers, dead)]
        await asyncio.gather(*(api.get(path, vendor) for vendor in vendors * 10))
        before = servers.run("server", "calls", sessions)[0][0]
        for _ in range(5):
            answers = await asyncio.gather(*(api.get(path, vendor) for vendor in vendors))
            assert [answer.status for answer in answers] == [503, 200]
        after = servers.run("server", "calls", sessions)[0][0]
    assert set(before) <= set(after)
    assert len(after) <= len(before) + 4


def test_a_day_beside_sharded_ones_is_not_made_here(servers: Servers) -> None:
    day = (TODAY + 3 * DAY).date()
    with pytest.raises(SchemaError, match="is partitioned itself"):
        schema.create_partitions(servers.dsn("calls", "postgres"), day, day)
    assert servers.run("server", "calls", f"SELECT to_regclass('cdr.cdr_{day:%Y_%m_%d}')") == [(None,)]


def for_customers(text: str) -> str:
    """The guide's statements for a day, for the second table."""
    names = text.replace("cdr.cdr_", "cdr.originated_").replace("table_name 'cdr_", "table_name 'originated_")
    return names.replace("OF cdr.cdr\n", "OF cdr.originated\n").replace("vendor_id", "customer_id")


def test_applying_the_schema_again_changes_nothing(servers: Servers) -> None:
    known = (
        "SELECT array_agg((relname, relkind)::text ORDER BY oid) FROM pg_class WHERE relnamespace = 'cdr'::regnamespace"
    )
    before = servers.run("server", "calls", known)
    schema.apply(servers.dsn("calls", "postgres"), SQL / "schema" / "cdr")
    assert servers.run("server", "calls", known) == before


@pytest.mark.slow
async def test_with_a_second_table_a_customers_calls_are_on_one_shard(
    serve: Serve, servers: Servers, layout: Layout
) -> None:
    servers.follow("server", "calls", "coordinator originated")
    for day in days():
        for shard in servers.behind:
            servers.run(shard, "calls", for_customers(statements("shard day", day)))
        servers.run("server", "calls", for_customers(statements("coordinator day", day)))
        servers.follow("server", "calls", "coordinator originated day", day)
    cdrs = configured(UTC, {}, "cdr.originated")["cdrs"]
    for customer in VENDORS:
        asked = query(customer, Page(size=50), 1, 3)
        asked = replace(asked, resource=cdrs, columns=render.get_renderer(cdrs).columns)
        read = tables_in(plan(servers, select.records(asked))) | tables_in(plan(servers, select.count(asked)))
        assert len({name.rpartition("_")[2] for name in read}) == 1
        assert {name.rpartition("_")[0] for name in read} == {
            name_of(FIRST + day * DAY).replace("cdr", "originated") for day in (1, 2)
        }
    settings = {**layout.calls, "DATABASES__CDR__ORIGINATED_TABLE": "cdr.originated"}
    api = await started(serve, settings)
    for customer in VENDORS:
        answer = await api.get(f"cdrs?{EVER}&sort=id&page[size]=1000", customer)
        assert answer.ids == [str(identifier) for identifier in started_by(customer)]
        assert (await api.get(f"cdrs/{started_by(customer)[50]}", customer)).status == 200
