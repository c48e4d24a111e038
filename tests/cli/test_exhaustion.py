"""Load by clients without a token: memory is bounded and released, and other clients are served."""

import asyncio
import json
import os
import resource
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.conftest import SECRET
from tests.load import Connection, connect, once
from tests.programs import SERVICE, Program, environment, on_database, serving

pytestmark = pytest.mark.slow

NOWHERE = "postgresql://nobody@127.0.0.1:1/nothing"
KNOWN = on_database(NOWHERE, AUTH__SECRETS=json.dumps([SECRET]))
LIST = "/api/rest/customer/v1/cdrs"
SCRIPT = "/api/rest/customer/v1/docs/swagger-ui-bundle.js"
MOST = 100 * 2**20  # Bytes beyond what the process takes before.


def memory(program: Program) -> int:
    """Bytes in the memory of the process."""
    pages = Path(f"/proc/{program.process.pid}/statm").read_text().split()[1]
    return int(pages) * resource.getpagesize()


async def push(url: str, data: bytes, times: int) -> Connection:
    """A connection that sends without ever reading, until the service takes no more of it."""
    connection = await connect(url)
    try:
        async with asyncio.timeout(1):
            for _ in range(times):
                connection.writer.write(data)
                await connection.writer.drain()
    except (TimeoutError, ConnectionError):
        pass
    return connection


HEAD = f"GET {LIST} HTTP/1.1\r\nHost: x\r\nAuthorization: {'x' * 60000}\r\n"
ABUSES = {
    "pipelined heads of 60 KB, unread": (24, HEAD.encode() + b"\r\n", 500),
    "pipelined small requests, unread": (24, b"GET / HTTP/1.1\r\nHost: x\r\n\r\n" * 1000, 100),
    "pipelined files, unread": (200, f"GET {SCRIPT} HTTP/1.1\r\nHost: x\r\n\r\n".encode() * 5, 1),
    "unfinished heads of 1 MiB": (300, HEAD.encode() + b"X: " + b"x" * 2**20, 1),
    "unfinished heads within the limits": (300, HEAD.encode(), 1),
    "idle after a long head": (300, HEAD.encode() + b"\r\n", 1),
    "Accept headers of 60 KB, each another": (300, HEAD.replace("Authorization", "Accept").encode() + b"\r\n", 3),
    "bodies": (24, b"GET / HTTP/1.1\r\nHost: x\r\nContent-Length: 1000000000\r\n\r\n" + b"x" * 2**20, 20),
}


@pytest.mark.parametrize("abuse", ABUSES)
async def test_memory_is_bounded_and_given_back(abuse: str) -> None:
    clients, data, times = ABUSES[abuse]
    with serving(**KNOWN, LISTEN__WRITE_TIMEOUT="3", LISTEN__HEAD_TIMEOUT="3") as program:
        for _ in range(20):
            await once(program.url, SCRIPT)
        before = memory(program)
        connections = await asyncio.gather(*(push(program.url, data, times) for _ in range(clients)))
        assert (await once(program.url, "/"))[0] == 404
        assert memory(program) - before < MOST
        for connection in connections:
            connection.writer.transport.abort()
        assert (await once(program.url, "/"))[0] == 404
        assert memory(program) - before < MOST


@pytest.mark.parametrize(("limits", "fitted"), [("ulimit -S -n 256", False), ("ulimit -n 256", True)])
async def test_more_idle_connections_than_files_keep_nobody_out(limits: str, fitted: bool) -> None:
    """A soft limit is raised, and to a hard one the bound is fitted."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    connections = []
    with serving(**KNOWN, limits=limits) as program:
        for _ in range(1100):
            connections.append(await connect(program.url))
        assert [(await once(program.url, "/"))[0] for _ in range(10)] == [404] * 10
        assert [event["event"] for event in program.events].count("listen.max_connections lowered") == fitted
        assert not [event for event in program.events if event["level"] == "error"]
    for connection in connections:
        connection.writer.close()


async def test_a_log_that_nobody_reads_stops_nothing() -> None:
    reading, writing = os.pipe()
    with ExitStack() as stack:
        stack.callback(os.close, reading)
        known = {"LISTEN__PORT": "0", "LOG__FORMAT": "json", **KNOWN}
        process = await asyncio.create_subprocess_exec(*SERVICE, "serve", env=environment(**known), stderr=writing)
        os.close(writing)
        url = await asyncio.to_thread(_listening, reading)
        connection = await connect(url)
        for _ in range(12000):  # More than fit into the pipe and wait for the writer.
            assert (await connection.ask("/"))[0] == 404
        connection.writer.close()
        process.terminate()
        assert await asyncio.wait_for(process.wait(), 30) == 0


def _listening(log: int) -> str:
    """The address that the log names; nothing is read after it."""
    text = b""
    while b'"listening"' not in text or not text.endswith(b"\n"):
        text += os.read(log, 1)
    events: list[dict[str, str]] = [json.loads(line) for line in text.splitlines()]
    return next(event["url"] for event in events if event["event"] == "listening")
