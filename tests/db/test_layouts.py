"""More than one server behind the same SQL: shards by hash of the vendor, and old days on an archive."""

import asyncio
import json
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import psycopg2
import pytest

from service.db import schema, select
from service.db.partitions import PartitionDirectory
from service.db.pool import Limits, Pool
from service.db.schema import SchemaError
from service.db.search import PartitionSearch
from service.db.statement import Statement
from service.demo.postgres import Server
from service.files import SQL
from service.jsonapi import render
from service.query import Caller, Query
from service.schemas.resource import configured
from service.web.keys import STATE
from tests.conftest import Api, Serve
from tests.load import until

pytestmark = pytest.mark.slow

DAY = timedelta(days=1)
TODAY = datetime.now(UTC).replace(hour=0, minute=0, second=0, microsecond=0)
DAYS = 6
SHARDS = 2
CALLS_A_DAY = 40  # Of each vendor; ids follow the time.
VENDORS = range(1, 9)


def execute(server: Server, *statements: str) -> list[Any]:
    with closing(psycopg2.connect(server.dsn())) as connection:
        connection.autocommit = True
        with connection.cursor() as cursor:
            for statement in statements:
                cursor.execute(statement)
            return cursor.fetchall() if cursor.description else []


def name_of(day: datetime) -> str:
    return f"cdr_{day:%Y_%m_%d}"


def foreign_server(name: str, server: Server) -> tuple[str, str]:
    return (
        f"CREATE SERVER {name} FOREIGN DATA WRAPPER postgres_fdw OPTIONS"
        f" (host '127.0.0.1', port '{server.port}', dbname 'postgres', use_remote_estimate 'true')",
        f"CREATE USER MAPPING FOR PUBLIC SERVER {name} OPTIONS (user 'postgres')",
    )


def bounds(day: datetime) -> str:
    return f"FOR VALUES FROM ('{day.isoformat()}') TO ('{(day + DAY).isoformat()}')"


def prepared(server: Server) -> None:
    """The schema without the primary key, which foreign partitions cannot have, and a login for each vendor."""
    for part in ("cdr", "routing"):
        schema.apply(server.dsn(), SQL / "schema" / part)
    indexes = execute(server, "SELECT indexrelid::regclass FROM pg_index WHERE indrelid = 'cdr.cdr'::regclass")
    execute(
        server,
        "ALTER TABLE cdr.cdr DROP CONSTRAINT cdr_pkey",
        *(f"DROP INDEX {index}" for (index,) in indexes if not index.endswith("cdr_pkey")),
        "CREATE EXTENSION postgres_fdw",
        "INSERT INTO sys.customer_portal_access_profiles VALUES (1, 'one', false)",
    )
    for vendor in VENDORS:
        execute(
            server,
            f"INSERT INTO public.contractors VALUES ({vendor}, 'vendor {vendor}', true, true, true)",
            "INSERT INTO sys.api_access (id, customer_id, login, password_digest)"
            f" VALUES ({vendor}, {vendor}, 'login {vendor}', '')",
        )


def table(server: Server, name: str) -> None:
    """The rows of one day on another server, with the indexes that a partition has."""
    execute(
        server,
        f"CREATE TABLE cdr.{name} (LIKE cdr.cdr INCLUDING DEFAULTS)",
        f"CREATE INDEX ON cdr.{name} (id)",
        f"CREATE INDEX ON cdr.{name} (vendor_id, time_start)",
        f"CREATE INDEX ON cdr.{name} (time_start)",
    )


INSERT = f"""
INSERT INTO cdr.cdr (id, time_start, vendor_id, is_last_cdr)
SELECT n, '{(TODAY - (DAYS - 1) * DAY).isoformat()}'::timestamptz
          + (n / {len(VENDORS)}) * (interval '1 day' / {CALLS_A_DAY}),
       1 + n %% {len(VENDORS)}, true
  FROM generate_series(0, {DAYS * CALLS_A_DAY * len(VENDORS) - 1}) AS n
""".replace("%%", "%")


def calls_of(vendor: int, days_ago: int) -> list[int]:
    """The ids of a vendor's calls of one day."""
    first = (DAYS - 1 - days_ago) * CALLS_A_DAY
    return [call * len(VENDORS) + vendor - 1 for call in range(first, first + CALLS_A_DAY)]


@dataclass
class Layout:
    """The server that is asked, and the ones behind it."""

    coordinator: Server
    others: list[Server]

    def shard_of(self, vendor: int) -> int:
        """Which shard holds a vendor's calls, by PostgreSQL's own hash."""
        [(oid,)] = execute(self.coordinator, f"SELECT 'cdr.{name_of(TODAY)}'::regclass::oid")
        for number in range(SHARDS):
            held = f"SELECT satisfies_hash_partition({oid}, {SHARDS}, {number}, {vendor})"
            if execute(self.coordinator, held) == [(True,)]:
                return number
        raise AssertionError("no shard holds the vendor")


@pytest.fixture
def shards(tmp_path: Path) -> Iterator[Layout]:
    """RANGE by day, then HASH by vendor, each half on a server of its own."""
    others = [Server.start(tmp_path / f"shard {number}") for number in range(SHARDS)]
    with Server.start(tmp_path / "coordinator") as server:
        prepared(server)
        for number, other in enumerate(others):
            schema.apply(other.dsn(), SQL / "schema" / "cdr")
            execute(server, *foreign_server(f"shard_{number}", other))
        for day in (TODAY - ago * DAY for ago in range(-1, DAYS)):
            execute(
                server,
                f"CREATE TABLE cdr.{name_of(day)} PARTITION OF cdr.cdr {bounds(day)} PARTITION BY HASH (vendor_id)",
            )
            for number, other in enumerate(others):
                leaf = f"{name_of(day)}_{number}"
                table(other, leaf)
                execute(
                    server,
                    f"CREATE FOREIGN TABLE cdr.{leaf} PARTITION OF cdr.{name_of(day)}"
                    f" FOR VALUES WITH (MODULUS {SHARDS}, REMAINDER {number}) SERVER shard_{number}"
                    f" OPTIONS (schema_name 'cdr', table_name '{leaf}')",
                )
        execute(server, INSERT)
        yield Layout(server, others)
    for other in others:
        other.stop()


@pytest.fixture
def archive(tmp_path: Path) -> Iterator[Layout]:
    """The three oldest days on another server."""
    other = Server.start(tmp_path / "archive")
    with Server.start(tmp_path / "server") as server:
        prepared(server)
        schema.apply(other.dsn(), SQL / "schema" / "cdr")
        execute(server, *foreign_server("archive", other))
        for ago in range(-1, DAYS):
            day = TODAY - ago * DAY
            if ago < DAYS - 3:
                schema.create_partitions(server.dsn(), day.date(), day.date())
                continue
            table(other, name_of(day))
            execute(
                server,
                f"CREATE FOREIGN TABLE cdr.{name_of(day)} PARTITION OF cdr.cdr {bounds(day)} SERVER archive"
                f" OPTIONS (schema_name 'cdr', table_name '{name_of(day)}')",
            )
        execute(server, "CREATE INDEX ON ONLY cdr.cdr (id)", INSERT)
        for (leaf,) in execute(
            server, "SELECT oid::regclass FROM pg_class WHERE relkind = 'r' AND relname LIKE 'cdr_2%'"
        ):
            execute(server, f"CREATE INDEX ON {leaf} (id)", f"CREATE INDEX ON {leaf} (vendor_id, time_start)")
        yield Layout(server, [other])
    other.stop()


async def started(serve: Serve, layout: Layout) -> Api:
    """The service, once its directory has been read."""
    api = await serve(layout.coordinator.dsn())
    directory = api.client.app[STATE].services.directory
    await until(lambda: directory.refreshed is not None)
    return api


async def statuses(api: Api, vendor: int, identifiers: list[int]) -> set[int]:
    return {(await api.get(f"incoming-cdrs/{identifier}", vendor)).status for identifier in identifiers}


def plan(layout: Layout, statement: Statement) -> str:
    with closing(psycopg2.connect(layout.coordinator.dsn())) as connection, connection.cursor() as cursor:
        cursor.execute(f"EXPLAIN (FORMAT JSON) {statement.text}", statement.parameters)
        return json.dumps(cursor.fetchall())


async def test_a_look_up_asks_one_shard_in_whatever_way_it_is_made(shards: Layout) -> None:
    resource = configured(UTC, {})["incoming-cdrs"]
    query = Query(resource, render.get_renderer(resource).columns, Caller(1, None, False))
    [(oid,)] = execute(shards.coordinator, f"SELECT 'cdr.{name_of(TODAY)}'::regclass::oid")
    day = (TODAY.isoformat(), (TODAY + DAY).isoformat())
    for statement in (
        select.by_id_in_partition(query, 5, f"cdr.{name_of(TODAY)}", oid),
        select.by_id(query, 5, [day]),
        select.by_id(query, 5, [(day[0], day[0])]),
    ):
        text = plan(shards, statement)
        assert text.count('"Foreign Scan"') == 1
        assert f"{name_of(TODAY)}_{shards.shard_of(1)}" in text


async def test_with_a_dead_shard_calls_of_the_other_are_found(
    serve: Serve, shards: Layout, capsys: pytest.CaptureFixture[str]
) -> None:
    dead = shards.shard_of(1)
    lucky = next(vendor for vendor in VENDORS if shards.shard_of(vendor) != dead)
    for restarted in (False, True):
        api = None if restarted else await started(serve, shards)
        if restarted:
            api = await started(serve, shards)
        else:
            shards.others[dead].kill()
        assert api is not None
        for ago in range(DAYS):
            assert await statuses(api, lucky, calls_of(lucky, ago)[::13]) == {200}
        assert await statuses(api, 1, calls_of(1, 2)[:3]) == {503}
        assert (await api.get("incoming-cdrs", lucky)).status == 200
        failed = await api.get("incoming-cdrs", 1)
        assert failed.error == (503, "503")
        assert "A part of the database is not available." in failed.json["errors"][0]["detail"]
        assert await statuses(api, lucky, [10**9]) == {503}  # It cannot be said that there is no such call.
    assert "could not connect to server" in capsys.readouterr().out


async def test_an_error_of_a_shard_opens_no_new_sessions(serve: Serve, shards: Layout) -> None:
    api = await started(serve, shards)
    dead = shards.shard_of(1)
    shards.others[dead].kill()
    lucky = next(vendor for vendor in VENDORS if shards.shard_of(vendor) != dead)
    await asyncio.gather(*(api.get("incoming-cdrs", vendor) for vendor in [1, lucky] * 10))
    sessions = "SELECT array_agg(pid ORDER BY pid) FROM pg_stat_activity WHERE application_name = 'cdr-api'"
    before = execute(shards.coordinator, sessions)[0][0]
    for _ in range(5):
        await asyncio.gather(*(api.get("incoming-cdrs", vendor) for vendor in [1, lucky] * 4))
    after = execute(shards.coordinator, sessions)[0][0]
    assert set(before) <= set(after)
    assert len(after) <= len(before) + 4


async def test_a_dead_archive_does_not_keep_what_is_here_from_being_found(
    serve: Serve, archive: Layout, capsys: pytest.CaptureFixture[str]
) -> None:
    archive.others[0].kill()
    api = await started(serve, archive)
    for ago in range(DAYS - 3):
        assert await statuses(api, 1, calls_of(1, ago)[::13]) == {200}
    assert await statuses(api, 1, calls_of(1, DAYS - 1)[:2]) == {503}
    execute(
        archive.coordinator,
        f"INSERT INTO cdr.cdr (id, time_start, vendor_id) VALUES (3, '{(TODAY - DAY).isoformat()}', 2)",
    )
    assert (await api.get("incoming-cdrs/3", 2)).status == 200  # Late, with an id of the archive's days.
    assert "statement=id_range" in capsys.readouterr().out


async def test_a_new_call_of_the_past_is_found_at_once(serve: Serve, archive: Layout) -> None:
    api = await started(serve, archive)
    for number, ago in enumerate(range(DAYS)):
        identifier, moment = 10**7 + number, (TODAY - ago * DAY).isoformat()
        assert (await api.get(f"incoming-cdrs/{identifier}", 3)).status == 404
        execute(
            archive.coordinator,
            f"INSERT INTO cdr.cdr (id, time_start, vendor_id) VALUES ({identifier}, '{moment}', 3)",
        )
        assert (await api.get(f"incoming-cdrs/{identifier}", 3)).status == 200


@pytest.mark.parametrize("layout", ["shards", "archive"])
async def test_late_calls_stretch_no_typical_range(layout: str, request: pytest.FixtureRequest) -> None:
    """Foreign tables have no statistics unless somebody analyses them; then some of their rows stand for all."""
    made: Layout = request.getfixturevalue(layout)
    last = DAYS * CALLS_A_DAY * len(VENDORS)
    for ago in range(1, DAYS):
        moment = (TODAY - ago * DAY + timedelta(hours=12, minutes=7)).isoformat()
        execute(
            made.coordinator,
            "INSERT INTO cdr.cdr (id, time_start, vendor_id)"
            f" SELECT {last} + n, '{moment}', n FROM generate_series(1, 8) AS n",
        )
    pool = Pool("search", made.coordinator.dsn(), Limits(2, 10, 10, 60))
    search = PartitionSearch(pool)
    directory = PartitionDirectory(pool, search, 86400)
    await directory.refresh()
    right = 0
    for ago in range(1, DAYS):
        for identifier in calls_of(4, ago):
            first = next(iter(directory.candidates(identifier)))
            right += [partition.name for partition in first] == [f"cdr.{name_of(TODAY - ago * DAY)}"]
    assert right >= 0.75 * (DAYS - 1) * CALLS_A_DAY
    await search.close()
    await pool.close()


async def test_a_day_beside_sharded_ones_is_not_made_here(shards: Layout) -> None:
    day = (TODAY + 3 * DAY).date()
    with pytest.raises(SchemaError, match="is partitioned itself"):
        schema.create_partitions(shards.coordinator.dsn(), day, day)
    assert execute(shards.coordinator, f"SELECT to_regclass('cdr.cdr_{day:%Y_%m_%d}')") == [(None,)]


async def test_a_day_among_archived_ones_is_not_made_here_but_a_new_one_is(archive: Layout) -> None:
    old, new = (TODAY - DAYS * DAY).date(), (TODAY + 3 * DAY).date()
    with pytest.raises(SchemaError, match="is a foreign table"):
        schema.create_partitions(archive.coordinator.dsn(), old, old)
    assert schema.create_partitions(archive.coordinator.dsn(), new, new)
