"""Responses to one customer during heavy load by another: real processes, counted responses, no time measurement.

A lock on one old partition, which only customer A reads, blocks the statements of customer A.
"""

import asyncio
import json
import signal
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, closing, suppress
from pathlib import Path

import aiohttp
import psycopg2
import pytest

from service.auth.tokens import TokenService
from tests.conftest import SECRET, Data
from tests.load import connect, until
from tests.programs import Program, on_database, serving

pytestmark = pytest.mark.slow

A, B, C = 7, 8, 9
SHOWS = 40
SESSIONS = (
    "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'cdr-api' AND datname = current_database()"
    " AND state <> 'idle'"
)


@pytest.fixture
def calls(data: Data) -> Data:
    """A few calls of everybody's today, and one of A's nine days ago."""
    for customer in (A, B, C):
        data.customer(customer, may_listen=True)
        for number in range(5):
            data.call(customer * 100 + number, vendor_id=customer, customer_id=customer)
    data.call(1, vendor_id=A, customer_id=A, hours_ago=9 * 24)
    return data


@pytest.fixture
def workers() -> str:
    """Processes of the service."""
    return "1"


@pytest.fixture
def program(calls: Data, tmp_path: Path, workers: str) -> Iterator[Program]:
    settings = on_database(
        calls.dsn,
        AUTH__SECRETS=json.dumps([SECRET]),
        RECORDINGS__MODE="directory",
        RECORDINGS__DIRECTORY=str(tmp_path),
        LISTEN__MAX_CONNECTIONS_PER_ADDRESS="1000",
        OVERLOAD__QUEUE="40",
        OVERLOAD__CUSTOMER_QUEUE="20",
    )
    with serving(**settings) as running:
        yield running
        assert running.end(signal.SIGTERM) == 0


def url(program: Program, path: str) -> str:
    return f"{program.url}/api/rest/customer/v1/{path}"


def session(customer: int) -> aiohttp.ClientSession:
    headers = {"Authorization": TokenService([SECRET.encode()], None).issue(customer)}
    return aiohttp.ClientSession(headers=headers, connector=aiohttp.TCPConnector(limit=0))


async def statuses(program: Program, customer: int, *paths: str) -> Counter[int]:
    """The statuses of requests, one after the other."""
    found: Counter[int] = Counter()
    async with session(customer) as client:
        for path in paths:
            async with client.get(url(program, path)) as response:
                await response.read()
                found[response.status] += 1
    return found


def shows(customer: int) -> list[str]:
    return [f"incoming-cdrs/{customer * 100 + number % 5}" for number in range(SHOWS)]


@asynccontextmanager
async def flood(
    program: Program, customer: int, path: str, clients: int, leave: float | None = None
) -> AsyncIterator[None]:
    """So many clients ask for a path without pause, each time for at most `leave` seconds."""

    async def ask(client: aiohttp.ClientSession) -> None:
        while True:
            with suppress(aiohttp.ClientError, TimeoutError):
                async with client.get(url(program, path), timeout=aiohttp.ClientTimeout(leave or 60)) as response:
                    await response.read()
                    if response.status == 503:
                        await asyncio.sleep(0.01)

    async with session(customer) as client:
        tasks = [asyncio.create_task(ask(client)) for _ in range(clients)]
        try:
            yield
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)


@asynccontextmanager
async def endless_lists(program: Program, calls: Data, clients: int, leave: float | None = None) -> AsyncIterator[None]:
    """Lists of A's that never end, more than it has slots."""
    [(partition,)] = calls.execute("SELECT tableoid::regclass::text FROM cdr.cdr WHERE id = 1")
    old = "incoming-cdrs?filter[time_start_lt]={1}&filter[time_start_gteq]={0}".format(
        *calls.execute(
            "SELECT date_trunc('day', time_start, 'UTC')::date::text,"
            " (date_trunc('day', time_start, 'UTC') + interval '1 day')::date::text FROM cdr.cdr WHERE id = 1"
        )[0]
    )
    with closing(psycopg2.connect(calls.dsn)) as connection, connection.cursor() as cursor:
        cursor.execute(f"LOCK TABLE {partition}")
        async with flood(program, A, old, clients, leave):
            waiting = f"SELECT count(*) FROM pg_locks WHERE NOT granted AND relation = '{partition}'::regclass"
            await until(lambda: calls.execute(waiting)[0][0] >= 5)
            yield


@pytest.mark.parametrize("workers", ["1", "2"])
async def test_endless_lists_of_one_customer_leave_the_others_what_they_ask_for(program: Program, calls: Data) -> None:
    async with endless_lists(program, calls, clients=64):
        for customer in (B, C):
            asked = [*shows(customer), "incoming-cdrs", "cdrs?include=account", "accounts", "incoming-cdrs?format=csv"]
            assert await statuses(program, customer, *asked) == {200: len(asked)}


async def test_clients_that_leave_do_not_pile_up_statements(program: Program, calls: Data) -> None:
    """What nobody waits for any more ends, and works in the slots of the customer that asked for it until then."""
    most = 0
    async with endless_lists(program, calls, clients=32, leave=0.6):
        while sum(event.get("status") == 499 for event in program.events) < 150:  # So many clients have left.
            assert await statuses(program, B, *shows(B)) == {200: SHOWS}
            most = max(most, calls.execute(SESSIONS)[0][0])
    assert most <= 10 + 5 + 2


async def test_two_customers_that_fill_the_queue_leave_room_for_a_third(program: Program, calls: Data) -> None:
    async with (
        endless_lists(program, calls, clients=40),
        flood(program, B, "incoming-cdrs?filter[local_tag_cont]=a&sort=local-tag", clients=40),
    ):
        assert await statuses(program, C, *shows(C)) == {200: SHOWS}


@pytest.mark.parametrize(
    "path", ["incoming-cdrs/700/rec", "incoming-cdrs?format=csv&filter[id]=" + ",".join(map(str, range(1500)))]
)
async def test_exports_and_recordings_need_slots_as_well(program: Program, calls: Data, path: str) -> None:
    async with flood(program, A, path, clients=60):
        assert await statuses(program, B, *shows(B)) == {200: SHOWS}


async def test_streams_that_are_not_read_leave_room_for_those_of_others(
    program: Program, calls: Data, tmp_path: Path
) -> None:
    """Exports without readers hold no connection, and neither they nor recordings take all streams there are."""
    calls.execute(
        "INSERT INTO cdr.cdr (id, time_start, vendor_id, legb_user_agent)"
        " SELECT 10000 + n, now() - interval '1 hour', 7, repeat('x', 200) FROM generate_series(1, 60000) AS n"
    )
    for id in (700, 800):
        calls.execute(
            "UPDATE cdr.cdr SET audio_recorded = true, duration = 1, local_tag = %s WHERE id = %s", (f"tag{id}", id)
        )
        (tmp_path / f"tag{id}.mp3").write_bytes(bytes(20_000_000))
    token = TokenService([SECRET.encode()], None).issue(A)
    host, port = program.url.removeprefix("http://").split(":")
    writers = []
    for path in ["incoming-cdrs?format=csv"] * 60 + ["incoming-cdrs/700/rec"] * 60:
        _, writer = await asyncio.open_connection(host, int(port))
        writer.write(f"GET /api/rest/customer/v1/{path} HTTP/1.1\r\nHost: x\r\nAuthorization: {token}\r\n\r\n".encode())
        writers.append(writer)
    asked = ["incoming-cdrs?format=ndjson", "incoming-cdrs/800/rec", *shows(B)] * 2
    assert await statuses(program, B, *asked) == {200: len(asked)}
    for writer in writers:
        writer.close()


async def test_connections_that_stay_after_long_lists_keep_no_memory(program: Program, calls: Data) -> None:
    """Half of them read all of each list; the others send five requests and read nothing."""
    calls.execute(
        "INSERT INTO cdr.cdr (id, time_start, vendor_id, legb_user_agent)"
        " SELECT 10000 + n, now() - interval '1 hour', 7, repeat('x', 200) FROM generate_series(1, 1000) AS n"
    )
    assert await statuses(program, B, *shows(B)) == {200: SHOWS}
    before = memory(program)
    request = {"Authorization": TokenService([SECRET.encode()], None).issue(A)}
    path = "/api/rest/customer/v1/incoming-cdrs?page[size]=1000"
    connections = [await connect(program.url) for _ in range(60)]
    for connection in connections[:30]:
        assert (await connection.ask(path, **request))[0] == 200
    for connection in connections[30:] * 5:
        await connection.send(path, **request)
    assert await statuses(program, B, *shows(B), "incoming-cdrs") == {200: SHOWS + 1}
    assert memory(program) - before < 100 * 2**20
    for connection in connections:
        connection.writer.transport.abort()


async def test_wide_records_do_not_fill_the_memory(program: Program, calls: Data) -> None:
    calls.execute(
        "INSERT INTO cdr.cdr (id, time_start, vendor_id, legb_user_agent)"
        " SELECT 10000 + n, now() - interval '1 hour', 7, string_agg(md5(n::text || k::text), '')"
        " FROM generate_series(1, 400) AS n, generate_series(1, 1900) AS k GROUP BY n"
    )
    assert await statuses(program, B, *shows(B)) == {200: SHOWS}
    before = memory(program)
    path = "incoming-cdrs?page[size]=1000"
    found = sum(await asyncio.gather(*(statuses(program, A, path, path) for _ in range(12))), Counter())
    assert found == {400: 24}
    assert memory(program) - before < 100 * 2**20


def memory(program: Program) -> int:
    """The most bytes that the process has had in memory at once."""
    status = Path(f"/proc/{program.process.pid}/status").read_text()
    [line] = [line for line in status.splitlines() if line.startswith("VmHWM:")]
    return int(line.split()[1]) * 1024
