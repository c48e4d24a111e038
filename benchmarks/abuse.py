"""Benchmarks of fairness: the median duration of a customer's look-ups, alone and during heavy load by another client.

`python -m benchmarks.abuse [--quick] [--seconds S] [--workers N]` measures on the database of the other benchmarks. In
each scenario, clients in a separate process send heavy load while four connections of another customer look up calls.
Loads are bounded, and are sent to this machine only.
"""

import argparse
import asyncio
import multiprocessing
import sys
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from urllib.parse import urlencode, urlsplit

from benchmarks import load, programs
from benchmarks.__main__ import FULL_130, KEPT, QUICK_130
from benchmarks.databases import OPTIONS, Databases, ids
from benchmarks.load import Job, Measured
from service.auth.tokens import DynamicClaims, TokenService
from service.schemas.base import PREFIX

LARGE, SMALL = 1, 2  # A customer with 70 % of the calls, and one with few.
CONNECTIONS = 4  # Of the measured customer.
SHARE = 5  # The maximum ratio of durations, with and without the load.

Address = tuple[str, int]


@dataclass(frozen=True, slots=True)
class Abuse:
    """Connections that send a request repeatedly. Each waits at most `read` seconds for the response, then closes; if
    `rate` is set, it reads that many bytes per second. `pipelined` requests are sent at once.
    """

    name: str
    request: bytes
    connections: int
    read: float = 60.0
    rate: int = 0
    pipelined: int = 1


def main(words: list[str] | None = None) -> int:
    options = _options(words)
    with ExitStack() as stack:
        dsn = options.dsn or stack.enter_context(_own(options.quick))
        settings = {"LISTEN__WORKERS": options.workers, "LISTEN__MAX_CONNECTIONS_PER_ADDRESS": "2000"}
        program = programs.service("abuse", dsn, KEPT / "logs", **settings)
        stack.callback(program.stop)
        print(f"\n| scenario, workers: {options.workers} | ms alone | ms beside it | times | unexpected |")
        print("|---|---|---|---|---|")
        for victim, attacker in ((SMALL, LARGE), (LARGE, SMALL)):
            for abuse in _scenarios(attacker) if victim == SMALL else _swapped(attacker):
                alone, beside = _measured(program.url, _shows(dsn, victim), victim, abuse, options.seconds)
                times = beside.p50 / alone.p50
                print(
                    f"| {abuse.name} | {alone.p50:.1f} | {beside.p50:.1f} | {times:.1f} | {beside.errors} |", flush=True
                )
    return 0


def _options(words: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.abuse", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="use a smaller database, for development")
    parser.add_argument("--seconds", type=float, default=8, help="duration of each measurement (default: 8)")
    parser.add_argument("--dsn", help="DSN of an existing benchmark database")
    parser.add_argument("--workers", default="1", help="processes of the service (default: 1)")
    return parser.parse_args(words)


@contextmanager
def _own(quick: bool) -> Iterator[str]:
    with Databases.open(KEPT / "postgres", lambda text: print(text, file=sys.stderr), OPTIONS) as databases:
        yield databases.dsn(QUICK_130 if quick else FULL_130)


def _token(customer: int) -> str:
    return TokenService([programs.SECRET.encode()], 86400).issue(DynamicClaims(customer))


def _shows(dsn: str, customer: int) -> Sequence[str]:
    return [f"{PREFIX}/incoming-cdrs/{identifier}" for identifier in ids(dsn, 200, customer)]


def _scenarios(customer: int) -> list[Abuse]:
    """The load of one customer, or of a client without a token."""
    token, days = _token(customer), {"filter[time_start_gteq]": _since(90)}
    substring = _list(days | {"filter[dst_prefix_routing_cont]": "x9999"})
    uuids = ",".join(f"0e1d9a70-6c1b-4f6e-9b6a-{number:012d}" for number in range(1500))
    export = _list({"filter[account_id_in]": uuids, "format": "csv"})
    return [
        Abuse("64 lists of 90 days by a substring", _get(substring, token), 64),
        Abuse("the same, whose clients leave after 0.6 s", _get(substring, token), 64, read=0.6),
        Abuse("64 lists of 1,000 records", _get(_list({"page[size]": "1000"}), token), 64),
        Abuse("200 exports with 1,500 uuids", _get(export, token), 200),
        Abuse("200 recordings", _get("/incoming-cdrs/1/rec", token), 200),
        Abuse("200 unknown ids", _get("/incoming-cdrs/999999999999", token), 200),
        Abuse("20 exports read at 30 KB/s", _get(_list(days | {"format": "csv"}), token), 20, rate=30_000),
        Abuse("64 Accept headers of 60 KB", _get("/accounts", token, accept="a/b;c=d, " * 6_600), 64),
        Abuse("24 pipelines that read nothing", _get("/docs"), 24, read=5, pipelined=500),
        Abuse("64 clients of the documentation page", _get("/docs"), 64),
        Abuse("64 wrong tokens", _get("/incoming-cdrs", "x"), 64),
        Abuse("64 failed logins", _post("/auth", b'{"auth":{"login":"x","password":"y"}}'), 64),
    ]


def _swapped(customer: int) -> list[Abuse]:
    """The same scenarios with the two customers exchanged."""
    return [replace(abuse, name=f"swapped: {abuse.name}") for abuse in _scenarios(customer)[:4]]


def _list(parameters: dict[str, str]) -> str:
    return f"/incoming-cdrs?{urlencode(parameters)}"


def _since(days: int) -> str:
    return (datetime.now(UTC) - timedelta(days=days)).strftime("%Y-%m-%d")


def _get(path: str, token: str = "", accept: str = "*/*") -> bytes:
    authorization = f"Authorization: {token}\r\n" if token else ""
    return f"GET {PREFIX}{path} HTTP/1.1\r\nHost: x\r\nAccept: {accept}\r\n{authorization}\r\n".encode()


def _post(path: str, body: bytes) -> bytes:
    head = f"POST {PREFIX}{path} HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
    return f"{head}Content-Length: {len(body)}\r\n\r\n".encode() + body


def _measured(url: str, paths: Sequence[str], victim: int, abuse: Abuse, seconds: float) -> tuple[Measured, Measured]:
    """The measured customer's requests, alone and during the load."""
    job = Job(url, paths, _token(victim), CONNECTIONS, seconds, warm=min(1.0, seconds))
    alone = load.finished(load.started(job))
    address = urlsplit(url)
    process = multiprocessing.Process(target=_abuse, args=((address.hostname, address.port), abuse), daemon=True)
    process.start()
    try:
        return alone, load.finished(load.started(job))
    finally:
        process.kill()
        process.join()


def _abuse(address: Address, abuse: Abuse) -> None:
    asyncio.run(_all(lambda: _client(address, abuse), abuse.connections))


async def _all(client: Callable[[], Awaitable[None]], number: int) -> None:
    await asyncio.gather(*(client() for _ in range(number)))


async def _client(address: Address, abuse: Abuse) -> None:
    while True:
        with suppress(OSError, EOFError, TimeoutError, asyncio.LimitOverrunError):
            reader, writer = await asyncio.open_connection(*address, limit=2**20)
            try:
                await _talk(reader, writer, abuse)
            finally:
                writer.transport.abort()


async def _talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, abuse: Abuse) -> None:
    """Sends requests until the connection ends or the read times out."""
    while True:
        async with asyncio.timeout(abuse.read):
            writer.write(abuse.request * abuse.pipelined)
            await writer.drain()
            if abuse.pipelined > 1:
                await asyncio.sleep(abuse.read)
            await _read(reader, abuse.rate)


async def _read(reader: asyncio.StreamReader, rate: int) -> None:
    """Reads one response. A response without a length is read to the end of the connection. Raises EOFError then."""
    head = (await reader.readuntil(b"\r\n\r\n")).lower()
    length = load.LENGTH.search(head)
    if length is not None and not rate:
        await reader.readexactly(int(length[1]))
        return
    while await reader.read(rate // 4 or 2**16):  # noqa: ASYNC110
        await asyncio.sleep(0.25 if rate else 0)  # Limits the rate.
    raise EOFError


if __name__ == "__main__":
    raise SystemExit(main())
