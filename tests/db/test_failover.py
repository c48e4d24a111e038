"""Standbys that are promoted, hang, or do not report their lag; hosts by target_session_attrs."""

import asyncio
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import psycopg2
import pytest

from service.db.connection import TARGETS, Connection, Limits
from service.db.pool import Pool
from service.db.replicas import Replica, ReplicaRouter
from service.db.statement import Statement
from service.demo.postgres import Server
from service.errors import DatabaseUnavailableError
from service.web.keys import STATE
from tests.conftest import Serve
from tests.load import until
from tests.programs import hanging
from tests.standby import Standby, execute

pytestmark = pytest.mark.slow

WHERE = "SELECT pg_is_in_recovery()"
LIMITS = Limits(4, 5, 5, 30)


def host(dsn: str) -> str:
    return dsn.rpartition("@")[2].partition("/")[0]


class Watched:
    """A router with its checks running."""

    def __init__(self, primary: str, replica: str, limits: Limits = LIMITS, check_timeout: float = 2.0) -> None:
        self.replica = Replica(Pool("replica 1", replica, limits))
        self.router = ReplicaRouter(Pool("cdr", primary, limits), [self.replica], 5, 0.05, check_timeout)
        self._watching: asyncio.Task[None] | None = None

    async def __aenter__(self) -> "Watched":
        self._watching = asyncio.create_task(self.router.watch())
        return self

    async def __aexit__(self, *_: object) -> None:
        assert self._watching
        self._watching.cancel()
        await asyncio.gather(self._watching, return_exceptions=True)
        await self.router.close()


async def test_a_promoted_standby_is_no_longer_read_from(
    primary: Server,
    standby: Standby,
    capsys: pytest.CaptureFixture[str],
) -> None:
    async with Watched(primary.dsn(), standby.dsn) as watched:
        await until(lambda: watched.replica.healthy)
        execute(standby.dsn, "SELECT pg_promote()")
        await until(lambda: not watched.replica.healthy)
        assert watched.replica.reason == "the server is neither a standby nor the primary"
        assert await watched.router.fetch(Statement("SELECT inet_server_port()")) == [(primary.port,)]
    assert "neither a standby" in capsys.readouterr().out


async def test_a_replica_that_is_the_primary_itself_is_read_from(primary: Server) -> None:
    async with Watched(primary.dsn(), primary.dsn()) as watched:
        await until(lambda: watched.replica.healthy)


async def test_another_server_is_not_a_replica(primary: Server, tmp_path: Path) -> None:
    with Server.start(tmp_path) as other:
        async with Watched(primary.dsn(), other.dsn()) as watched:
            await until(lambda: watched.replica.reason == "the server is neither a standby nor the primary")


async def test_a_replica_whose_lag_cannot_be_asked_for_is_left_out_and_says_why(
    primary: Server,
    standby: Standby,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """As on managed databases that do not support the functions; here the role may not call one."""
    execute(primary.dsn(), "CREATE ROLE nobody_special LOGIN")
    execute(primary.dsn(), "REVOKE EXECUTE ON FUNCTION pg_last_wal_receive_lsn() FROM PUBLIC")
    try:
        dsn = standby.dsn.replace("postgres@", "nobody_special@")
        await until(lambda: bool(execute(standby.dsn, "SELECT 1 FROM pg_roles WHERE rolname = 'nobody_special'")))
        async with Watched(primary.dsn(), dsn) as watched:
            await until(lambda: "pg_last_wal_receive_lsn" in (watched.replica.reason or ""))
            assert not watched.replica.healthy
            assert await watched.router.fetch(Statement(WHERE)) == [(False,)]
            execute(primary.dsn(), "GRANT EXECUTE ON FUNCTION pg_last_wal_receive_lsn() TO PUBLIC")
            await until(lambda: watched.replica.healthy)
    finally:
        execute(primary.dsn(), "GRANT EXECUTE ON FUNCTION pg_last_wal_receive_lsn() TO PUBLIC")
        execute(primary.dsn(), "DROP ROLE nobody_special")
    assert "replica out of use" in capsys.readouterr().out


async def test_a_serializable_role_reads_from_a_standby(primary: Server, standby: Standby) -> None:
    execute(primary.dsn(), "ALTER ROLE postgres SET default_transaction_isolation = 'serializable'")
    try:
        setting = "SELECT 1 FROM pg_db_role_setting WHERE 'default_transaction_isolation=serializable' = ANY(setconfig)"
        usual = standby.dsn + "?options=-c%20default_transaction_isolation%3Dread%5C%20committed"
        await until(lambda: bool(execute(usual, setting)))
        async with Watched(primary.dsn(), standby.dsn) as watched:
            await until(lambda: watched.replica.healthy)
            assert await watched.router.fetch(Statement(WHERE)) == [(True,)]
    finally:
        execute(primary.dsn(), "ALTER ROLE postgres RESET default_transaction_isolation")


async def test_while_replicas_are_not_checked_none_is_read_from(primary: Server, standby: Standby) -> None:
    watched = Watched(primary.dsn(), standby.dsn)
    async with watched:
        await until(lambda: watched.replica.healthy)
    assert not watched.replica.healthy


@pytest.fixture
def hang(standby: Standby) -> Iterator[Callable[[], None]]:
    """Stops every process of the standby."""
    with ExitStack() as stack:
        yield lambda: stack.enter_context(hanging(standby.server.pid))


async def test_statements_on_a_standby_that_hangs_are_run_on_the_primary(
    primary: Server,
    standby: Standby,
    hang: Callable[[], None],
) -> None:
    limits = Limits(4, 300, 300, 300)
    async with Watched(primary.dsn(), standby.dsn, limits, check_timeout=3.0) as watched:
        await until(lambda: watched.replica.healthy)
        await asyncio.gather(*(watched.router.fetch(Statement("SELECT pg_sleep(0.1)")) for _ in range(3)))
        hang()
        began = time.monotonic()
        answers = await asyncio.gather(*(watched.router.fetch(Statement(WHERE)) for _ in range(12)))
        assert answers == [[(False,)]] * 12
        assert time.monotonic() - began < 100  # Far below the time limits of statements and connections.
        assert not watched.replica.healthy


async def test_a_standby_that_hangs_does_not_make_the_service_unready(
    serve: Serve,
    primary: Server,
    standby: Standby,
    hang: Callable[[], None],
) -> None:
    api = await serve(primary.dsn(), DATABASES__CDR__REPLICAS=f'["{standby.dsn}"]')
    services = api.client.app[STATE].services
    await until(lambda: services.replicas[0].healthy)
    hang()
    parts = await services.parts()
    assert not parts["database cdr"].problems
    await until(lambda: not services.replicas[0].healthy)
    parts = await services.parts()
    assert parts["replica 1"].problems == ["did not answer in 2 seconds"]
    assert not parts["replica 1"].required
    assert (await api.get("incoming-cdrs", 7)).status == 200


async def test_a_busy_replica_is_not_waited_for(primary: Server, standby: Standby) -> None:
    async with Watched(primary.dsn(), standby.dsn, Limits(1, 30, 30, 60)) as watched:
        await until(lambda: watched.replica.healthy)
        slow = asyncio.create_task(watched.router.fetch(Statement("SELECT pg_sleep(1), pg_is_in_recovery()")))
        await until(lambda: watched.replica.pool.busy)
        assert await watched.router.fetch(Statement(WHERE)) == [(False,)]
        assert (await slow)[0][1] is True
        assert watched.replica.healthy


@pytest.mark.parametrize("standby_first", [True, False])
@pytest.mark.parametrize("target", TARGETS)
async def test_of_two_hosts_the_one_that_is_asked_for_is_taken(
    primary: Server,
    standby: Standby,
    target: str,
    standby_first: bool,
) -> None:
    names = [host(standby.dsn), host(primary.dsn())]
    order = names if standby_first else names[::-1]
    dsn = f"postgresql://postgres@{','.join(order)}/postgres?target_session_attrs={target}"
    connection = await Connection.open(dsn, LIMITS)
    [(in_recovery,)] = await connection.fetch(Statement(WHERE))
    expected = {
        "any": standby_first,
        "read-write": False,
        "primary": False,
        "read-only": True,
        "standby": True,
        "prefer-standby": True,
    }
    assert in_recovery is expected[target]
    connection.close()


async def test_a_promoted_host_takes_over_as_primary(primary: Server, standby: Standby, tmp_path: Path) -> None:
    dead = Server.start(tmp_path / "dead")
    dsn = f"postgresql://postgres@{host(dead.dsn())},{host(standby.dsn)}/postgres?target_session_attrs=read-write"
    pool = Pool("cdr", dsn, LIMITS)
    assert await pool.fetch(Statement("SELECT inet_server_port()")) == [(dead.port,)]
    dead.kill()
    with pytest.raises(DatabaseUnavailableError):
        await pool.fetch(Statement("SELECT 1"))
    execute(standby.dsn, "SELECT pg_promote()")
    assert await pool.fetch(Statement("SELECT inet_server_port()")) == [(standby.server.port,)]
    await pool.close()


async def test_a_target_in_the_environment_is_kept_and_an_unknown_one_refused(
    primary: Server,
    standby: Standby,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    dsn = f"postgresql://postgres@{host(standby.dsn)},{host(primary.dsn())}/postgres"
    monkeypatch.setenv("PGTARGETSESSIONATTRS", "primary")
    connection = await Connection.open(dsn, LIMITS)
    assert await connection.fetch(Statement(WHERE)) == [(False,)]
    connection.close()
    monkeypatch.setenv("PGTARGETSESSIONATTRS", "sometimes")
    with pytest.raises(psycopg2.OperationalError, match="target_session_attrs=sometimes"):
        await Connection.open(dsn, LIMITS)
