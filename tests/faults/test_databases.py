"""Responses of a running service while its database is killed, restarted, hangs or is full.

Run with `-rP` to see the number of requests and responses, and the recovery time.
"""

import asyncio
import json
import os
import signal
import tempfile
import time
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack, asynccontextmanager, closing
from datetime import UTC, datetime, timedelta
from pathlib import Path

import aiohttp
import psycopg2
import pytest

from service.auth.tokens import TokenService
from service.db import schema
from service.demo.postgres import Server
from service.files import SQL
from tests.conftest import MEMORY, SECRET
from tests.load import until
from tests.programs import Program, on_database, serving

pytestmark = pytest.mark.slow

PATHS = ("incoming-cdrs", "incoming-cdrs/1", "incoming-cdrs/404", "cdrs?include=account", "accounts")
LIMITS = {
    "DATABASES__CONNECT_TIMEOUT": "1",
    "DATABASES__ACQUIRE_TIMEOUT": "1",
    "DATABASES__STATEMENT_TIMEOUT": "1",
    "DATABASES__CDR__POOL_SIZE": "4",
    "DATABASES__ROUTING__POOL_SIZE": "4",
}
LONGEST = 15.0  # Seconds, far more than all limits together: past it a request counts as hanging.
CLIENTS = 8
TERMINATE = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'cdr-api'"


class Database:
    """A server of the test's own, which can be taken away and comes back at the same address."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self.server = Server.start(folder)
        self.dsn = self.server.dsn()

    def restart(self) -> None:
        self.server = Server.start(self._folder, port=self.server.port)

    def sessions(self) -> int:
        return int(self.execute("SELECT count(*) FROM pg_stat_activity WHERE application_name = 'cdr-api'")[0][0])

    def execute(self, statement: str) -> list[tuple[object, ...]]:
        with closing(psycopg2.connect(self.dsn)) as connection:
            connection.autocommit = True
            with connection.cursor() as cursor:
                cursor.execute(statement)
                return cursor.fetchall() if cursor.description else []

    def signal(self, number: int) -> None:
        """To the server and to each of its processes."""
        for pid in [self.server.pid, *_children(self.server.pid)]:
            os.kill(pid, number)


def _children(parent: int) -> list[int]:
    stats = [[*path.read_text().rpartition(")")[2].split(), path.parent.name] for path in _stats()]
    return [int(fields[-1]) for fields in stats if int(fields[1]) == parent]


def _stats() -> Iterator[Path]:
    return (path for path in Path("/proc").glob("[0-9]*/stat") if path.exists())


@pytest.fixture
def database() -> Iterator[Database]:
    with tempfile.TemporaryDirectory(dir=MEMORY) as folder:
        yield from prepared(Database(Path(folder)))


def prepared(made: Database) -> Iterator[Database]:
    for part in ("cdr", "routing"):
        schema.apply(made.dsn, SQL / "schema" / part)
    today = datetime.now(UTC).date()
    schema.create_partitions(made.dsn, today - timedelta(days=2), today + timedelta(days=1))
    for statement in (
        "INSERT INTO public.contractors VALUES (7, 'seven', true, true, true)",
        "INSERT INTO sys.customer_portal_access_profiles VALUES (1, 'one', false)",
        "INSERT INTO sys.api_access (id, customer_id, login, password_digest) VALUES (7, 7, 'seven', '')",
        "INSERT INTO cdr.cdr (id, time_start, vendor_id, customer_id, is_last_cdr)"
        " SELECT n, now() - n * interval '1 second', 7, 7, true FROM generate_series(1, 200) AS n",
    ):
        made.execute(statement)
    yield made
    made.server.stop()


@pytest.fixture
def program(database: Database) -> Iterator[Program]:
    dsns = on_database(database.dsn)
    with serving(**dsns, **LIMITS, AUTH__SECRETS=json.dumps([SECRET]), LOG__LEVEL="info") as running:
        running.logged("database answers", times=2)
        yield running
        assert running.end(signal.SIGTERM) == 0


class Load:
    """Clients that ask one question after the other until they are told to stop."""

    def __init__(self, url: str) -> None:
        self._url = url
        self.sent = 0
        self.statuses: Counter[int | str] = Counter()
        self.slowest = 0.0
        self.last: tuple[int | str, float] = ("", 0.0)
        self.stopping = False

    async def client(self, number: int) -> None:
        headers = {"Authorization": TokenService([SECRET.encode()], None).issue(7)}
        async with aiohttp.ClientSession(headers=headers) as session:
            while not self.stopping:
                self.sent += 1
                began = time.monotonic()
                path = PATHS[(number + self.sent) % len(PATHS)]
                status = await self._ask(session, path)
                self.statuses[status] += 1
                self.slowest = max(self.slowest, time.monotonic() - began)
                self.last = (status, time.monotonic())

    async def _ask(self, session: aiohttp.ClientSession, path: str) -> int | str:
        url = f"{self._url}/api/rest/customer/v1/{path}"
        try:
            async with session.get(url, timeout=aiohttp.ClientTimeout(LONGEST)) as response:
                document = await response.json(content_type="application/vnd.api+json")
                assert ("errors" in document) == (response.status >= 400)
                assert response.status not in (503, 504) or response.status == 504 or response.headers["Retry-After"]
                return response.status
        except TimeoutError:
            return "hung"

    async def answered(self, status: int, times: int = 20) -> None:
        """Waits until so many more have been answered so."""
        wanted = self.statuses[status] + times
        await until(lambda: self.statuses[status] >= wanted)

    async def asked(self, times: int) -> None:
        """Waits until so many more have been sent."""
        wanted = self.sent + times
        await until(lambda: self.sent >= wanted)

    def report(self, what: str, **measured: float) -> None:
        figures = ", ".join(f"{name} {value:.2f} s" for name, value in measured.items())
        print(f"{what}: {self.sent} sent, {dict(self.statuses)}, slowest {self.slowest:.2f} s, {figures}")


@asynccontextmanager
async def load(program: Program) -> AsyncIterator[Load]:
    """Runs in the block; afterwards every request that was sent has been answered, and none hung."""
    running = Load(program.url)
    clients = [asyncio.create_task(running.client(number)) for number in range(CLIENTS)]
    try:
        yield running
    finally:
        running.stopping = True
        await asyncio.gather(*clients)
    assert sum(running.statuses.values()) == running.sent
    assert running.statuses.keys() <= {200, 404, 503, 504}, running.statuses


async def recovered(running: Load) -> float:
    """Seconds until all is well again: the next answers of all clients are 200 or 404."""
    began, bad = time.monotonic(), running.statuses[503] + running.statuses[504]
    while True:
        await running.asked(3 * CLIENTS)
        before, bad = bad, running.statuses[503] + running.statuses[504]
        if before == bad:
            return time.monotonic() - began


async def settled(database: Database) -> None:
    """No more connections than the pools may have: two of four, and two for the directory."""
    await until(lambda: database.sessions() <= 10)


@pytest.mark.parametrize("seconds", [0, pytest.param(30, marks=pytest.mark.slow)])
async def test_a_database_killed_and_restarted_three_times(
    program: Program, database: Database, seconds: float
) -> None:
    async with load(program) as running:
        times, began = [], time.monotonic()
        for killed in range(1, 4):
            await running.answered(200)
            await until(lambda killed=killed: time.monotonic() - began >= seconds * killed / 4)
            database.server.kill()
            await running.answered(503)
            database.restart()
            times.append(await recovered(running))
        await running.answered(200)
        await until(lambda: time.monotonic() - began >= seconds)
    running.report("killed three times", recovery=max(times))
    await settled(database)


async def test_a_database_that_hangs(program: Program, database: Database) -> None:
    async with load(program) as running:
        await running.answered(200)
        database.signal(signal.SIGSTOP)
        try:
            await running.answered(503, times=CLIENTS)
        finally:
            database.signal(signal.SIGCONT)
        took = await recovered(running)
    running.report("hanging", recovery=took)
    await settled(database)


async def test_a_database_restarted_in_order(program: Program, database: Database) -> None:
    async with load(program) as running:
        await running.answered(200)
        database.server.stop()
        await running.answered(503)
        database.restart()
        took = await recovered(running)
    running.report("restarted", recovery=took)
    await settled(database)


async def test_every_connection_terminated_again_and_again(program: Program, database: Database) -> None:
    """Idle connections are replaced unnoticed; only a statement under way may be lost, and then it says so."""
    async with load(program) as running:
        for _ in range(20):
            await running.answered(200, times=5)
            database.execute(TERMINATE)
        took = await recovered(running)
    running.report("connections terminated", recovery=took)
    assert running.statuses[200] > running.statuses[503]


async def test_a_database_without_a_connection_to_spare(program: Program, database: Database) -> None:
    database.execute("ALTER SYSTEM SET max_connections = 8")
    database.server.stop()
    database.restart()
    async with load(program) as running, AsyncExitStack() as hogs:
        await running.answered(200)
        with closing(psycopg2.connect(database.dsn)) as administrator, administrator.cursor() as cursor:
            while running.statuses[503] < 10:
                try:
                    hogs.callback(psycopg2.connect(database.dsn).close)
                except psycopg2.OperationalError:
                    cursor.execute(TERMINATE)
                await running.asked(1)
        await hogs.aclose()
        took = await recovered(running)
    running.report("out of connections", recovery=took)


async def test_a_table_that_is_locked_times_out_and_is_read_again(program: Program, database: Database) -> None:
    async with load(program) as running:
        await running.answered(200)
        with closing(psycopg2.connect(database.dsn)) as locking, locking.cursor() as cursor:
            cursor.execute("LOCK TABLE cdr.cdr")
            await running.answered(504, times=4)
        took = await recovered(running)
    running.report("locked", recovery=took)


async def test_clients_that_leave_leave_no_statement_behind(program: Program, database: Database) -> None:
    waiting = "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'cdr-api' AND wait_event_type = 'Lock'"
    headers = {"Authorization": TokenService([SECRET.encode()], None).issue(7)}
    with closing(psycopg2.connect(database.dsn)) as locking, locking.cursor() as cursor:
        cursor.execute("LOCK TABLE cdr.cdr")
        async with aiohttp.ClientSession(headers=headers) as session:
            url = f"{program.url}/api/rest/customer/v1/incoming-cdrs"
            asked = [asyncio.create_task(session.get(url)) for _ in range(4)]  # Two have slots, two are queued.
            await until(lambda: database.execute(waiting)[0][0] == 2)
            for task in asked:
                task.cancel()
        await until(lambda: database.execute(waiting)[0][0] == 0)


SLOW = 200


async def test_two_hundred_clients_that_never_finish_their_request(program: Program) -> None:
    host, port = program.url.removeprefix("http://").split(":")
    lorises = [await asyncio.open_connection(host, int(port)) for _ in range(SLOW)]
    for _, writer in lorises:
        writer.write(b"GET /api/rest/customer/v1/incoming-cdrs HTTP/1.1\r\nHost: x\r\nX-Slow:")
    async with load(program) as running:
        await running.answered(200, times=50)
    assert running.statuses.keys() <= {200, 404}
    running.report("slow-loris")
    for _, writer in lorises:
        writer.close()


async def test_a_client_that_reads_slowly_holds_up_nobody(program: Program) -> None:
    host, port = program.url.removeprefix("http://").split(":")
    token = TokenService([SECRET.encode()], None).issue(7)
    request = (
        f"GET /api/rest/customer/v1/incoming-cdrs?page[size]=1000 HTTP/1.1\r\nHost: x\r\nAuthorization: {token}\r\n\r\n"
    )
    slow = [await asyncio.open_connection(host, int(port), limit=1) for _ in range(20)]
    for _, writer in slow:
        writer.write(request.encode() * 20)
    async with load(program) as running:
        await running.answered(200, times=50)
    running.report("slow readers")
    assert running.statuses.keys() <= {200, 404}
    for _, writer in slow:
        writer.close()
