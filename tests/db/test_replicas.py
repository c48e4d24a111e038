"""Calls are read from a healthy replica, and otherwise from the primary without errors: real servers."""

import asyncio
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from service.db import scan, schema
from service.db.partition_changes import PartitionChanges
from service.db.pool import Limits, Pool
from service.db.replicas import Replica, ReplicaRouter
from service.db.search_times import SearchTimes
from service.db.statement import Statement
from service.demo.postgres import Server
from service.files import SQL
from service.query import Caller, Query, Sort
from service.schemas.resource import configured
from service.web.keys import STATE
from tests.conftest import Serve
from tests.load import until
from tests.standby import Standby, execute

WHERE = "SELECT pg_is_in_recovery()"
LIMITS = Limits(4, 5, 5, 30)


@pytest.fixture
async def both(primary: Server, standby: Standby) -> AsyncIterator[ReplicaRouter]:
    """Watched, and the replica in use."""
    made = ReplicaRouter(Pool("cdr", primary.dsn(), LIMITS), [Replica(Pool("replica 1", standby.dsn, LIMITS))], 5)
    watching = asyncio.create_task(made.watch())
    await until(lambda: made.replicas[0].healthy)
    yield made
    watching.cancel()
    await asyncio.gather(watching, return_exceptions=True)
    await made.close()


async def test_reads_go_to_the_replica(both: ReplicaRouter) -> None:
    assert await both.fetch(Statement(WHERE)) == [(True,)]
    assert await both.primary.fetch(Statement(WHERE)) == [(False,)]


async def test_a_replica_that_died_is_replaced_by_the_primary(both: ReplicaRouter, standby: Standby) -> None:
    assert await both.fetch(Statement(WHERE)) == [(True,)]
    standby.server.kill()

    async def replaced() -> bool:  # Its backends outlive it for a moment.
        return await both.fetch(Statement(WHERE)) == [(False,)]

    await until(replaced)
    await until(lambda: not both.replicas[0].healthy)


async def test_a_statement_that_conflicts_with_replay_is_run_again(
    both: ReplicaRouter, primary: Server, standby: Standby
) -> None:
    execute(primary.dsn(), "CREATE TABLE IF NOT EXISTS contested (n int)")
    known = "SELECT to_regclass('contested') IS NOT NULL"
    await until(lambda: bool(execute(standby.dsn, known) == [(True,)]))
    slow = asyncio.create_task(
        both.fetch(Statement("SELECT count(*), max(pg_sleep(3)::text) FROM generate_series(1, 1), contested"))
    )
    reading = "SELECT count(*) FROM pg_locks WHERE relation = 'contested'::regclass"
    await until(lambda: execute(standby.dsn, reading) != [(0,)] or slow.done())
    execute(primary.dsn(), "ALTER TABLE contested ADD COLUMN IF NOT EXISTS m int")
    assert (await slow)[0][0] == 0


async def test_a_replica_too_far_behind_is_left_out_until_it_has_caught_up(
    both: ReplicaRouter, primary: Server, standby: Standby
) -> None:
    both.max_lag = 0.001
    execute(standby.dsn, "SELECT pg_wal_replay_pause()")
    execute(primary.dsn(), "CREATE TABLE IF NOT EXISTS written (n int)")
    execute(primary.dsn(), "INSERT INTO written VALUES (1)")
    await until(lambda: not both.replicas[0].healthy)
    assert await both.fetch(Statement(WHERE)) == [(False,)]
    execute(standby.dsn, "SELECT pg_wal_replay_resume()")
    await until(lambda: both.replicas[0].healthy)
    assert await both.fetch(Statement(WHERE)) == [(True,)]


async def test_a_call_that_the_replica_does_not_know_yet_is_found(
    serve: Serve, primary: Server, standby: Standby
) -> None:
    api = await serve(
        primary.dsn(),
        DATABASES__CDR__REPLICAS=f'["{standby.dsn}"]',
        DATABASES__CDR__REPLICA_MAX_LAG="3600",
    )
    await until_ready(api)
    execute(standby.dsn, "SELECT pg_wal_replay_pause()")
    execute(primary.dsn(), "DELETE FROM cdr.cdr")
    execute(primary.dsn(), "INSERT INTO cdr.cdr (id, time_start, vendor_id) VALUES (41, now(), 7)")
    assert execute(standby.dsn, "SELECT count(*) FROM cdr.cdr WHERE id = 41") == [(0,)]
    assert (await api.get("incoming-cdrs/41", 7)).status == 200
    assert (await api.get("incoming-cdrs/42", 7)).status == 404
    execute(standby.dsn, "SELECT pg_wal_replay_resume()")


async def test_calls_that_another_replica_has_found_are_read_from_the_primary(
    both: ReplicaRouter, primary: Server, standby: Standby
) -> None:
    """A list reads the keys of its calls first, and the calls perhaps from a replica that is behind."""
    execute(primary.dsn(), "DELETE FROM cdr.cdr")
    execute(standby.dsn, "SELECT pg_wal_replay_pause()")
    try:
        execute(primary.dsn(), "INSERT INTO cdr.cdr (id, time_start, vendor_id) VALUES (43, now(), 7), (44, now(), 8)")
        keys = [
            (id, time) for id, time in execute(primary.dsn(), "SELECT id, time_start::text FROM cdr.cdr ORDER BY id")
        ]
        query = Query(configured(UTC, {})["incoming-cdrs"], ("id",), Caller(7, None, False), sorts=(Sort("id"),))
        calls = scan.Calls(both, lambda _: (), SearchTimes())
        assert await scan._by_keys(calls, query, keys) == [(43,)]
    finally:
        execute(standby.dsn, "SELECT pg_wal_replay_resume()")


async def test_sums_of_a_replica_that_was_behind_are_read_again(
    serve: Serve, primary: Server, standby: Standby
) -> None:
    """The primary had counted the change before the sums were read."""
    account = "00000000-0000-4000-8000-000000000071"
    execute(
        primary.dsn(),
        "INSERT INTO billing.accounts (id, contractor_id, uuid, name, balance, min_balance, max_balance, currency_id,"
        f" currency_name) VALUES (71, 7, '{account}', 'account', 0, 0, 0, 1, 'USD') ON CONFLICT DO NOTHING",
    )
    execute(primary.dsn(), "DELETE FROM cdr.cdr")
    api = await serve(
        primary.dsn(),
        DATABASES__CDR__REPLICAS=f'["{standby.dsn}"]',
        DATABASES__CDR__REPLICA_MAX_LAG="3600",
        STATISTICS__CACHE_SECONDS="0.01",
    )
    await until_ready(api)
    since = datetime.now(UTC).date() - timedelta(days=1)

    async def total() -> int:
        query = f"account-id={account}&from-time={since}T00:00Z&sampling=day"
        return int((await api.get(f"termination-statistics?{query}", 7)).json["totals"]["total_calls"])

    async with asyncio.timeout(30):
        while await total():
            pass
        execute(standby.dsn, "SELECT pg_wal_replay_pause()")
        values = f"(61, '{since}T12:00Z', 7, 71)"
        execute(primary.dsn(), f"INSERT INTO cdr.cdr (id, time_start, vendor_id, vendor_acc_id) VALUES {values}")
        assert [await total() for _ in range(3)] == [0, 0, 0]
        execute(standby.dsn, "SELECT pg_wal_replay_resume()")
        while not await total():
            pass


async def test_no_changes_are_counted_by_a_replica(primary: Server, standby: Standby) -> None:
    for dsn, counted in ((primary.dsn(), True), (standby.dsn, False)):
        pool = Pool("cdr", dsn, LIMITS)
        assert bool(await PartitionChanges(pool, "cdr.cdr").read()) == counted
        await pool.close()


async def test_lists_go_on_when_the_primary_is_gone(serve: Serve, tmp_path: Path) -> None:
    """A list is answered by the replica; that there is no such call only the primary can say."""
    with Server.start(tmp_path / "a") as routing, Server.start(tmp_path / "b") as primary:
        for server in (routing, primary):
            for part in ("cdr", "routing"):
                schema.apply(server.dsn(), SQL / "schema" / part)
        today = datetime.now(UTC).date()
        schema.create_partitions(primary.dsn(), today - timedelta(days=1), today + timedelta(days=1))
        execute(routing.dsn(), "INSERT INTO sys.customer_portal_access_profiles VALUES (1, 'one', false)")
        execute(
            routing.dsn(), "INSERT INTO sys.api_access (id, customer_id, login, password_digest) VALUES (7, 7, 'a', '')"
        )
        execute(primary.dsn(), "INSERT INTO cdr.cdr (id, time_start, vendor_id) VALUES (41, now(), 7)")
        standby = Standby(primary, tmp_path / "c")
        try:
            replicas = f'["{standby.dsn}"]'
            api = await serve(primary.dsn(), DATABASES__ROUTING__DSN=routing.dsn(), DATABASES__CDR__REPLICAS=replicas)
            await until_ready(api)
            primary.kill()
            assert (await api.get("incoming-cdrs", 7)).ids == ["41"]
            assert (await api.get("incoming-cdrs/42", 7)).status == 503
        finally:
            standby.server.stop()


async def until_ready(api: Any) -> None:
    """Waits until the service reads from its replica."""
    [replica] = api.client.app[STATE].services.replicas
    await until(lambda: replica.healthy)
