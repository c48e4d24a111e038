"""Clients on plain sockets that keep their connections and count the outcome of each request."""

import asyncio
import io
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from http.client import HTTPMessage, parse_headers
from urllib.parse import urlsplit


@dataclass
class Tally:
    """Requests by what became of them; lost is what was sent and not answered completely."""

    sent: int = 0
    lost: int = 0
    answered: Counter[int] = field(default_factory=Counter)


class Connection:
    """One connection, used for one request after the other."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader, self.writer = reader, writer

    async def ask(self, path: str, **headers: str) -> tuple[int, HTTPMessage, bytes]:
        """Sends a GET and reads the answer. Raises OSError, or EOFError where it is not whole."""
        await self.send(path, **headers)
        return await self.answer()

    async def send(self, path: str, **headers: str) -> None:
        lines = [f"GET {path} HTTP/1.1", "Host: example.org", *(f"{name}: {text}" for name, text in headers.items())]
        self.writer.write("\r\n".join([*lines, "", ""]).encode())
        await self.writer.drain()

    async def answer(self) -> tuple[int, HTTPMessage, bytes]:
        status, _, head = (await self._reader.readuntil(b"\r\n\r\n")).partition(b"\r\n")
        headers = parse_headers(io.BytesIO(head))
        body = await self._reader.readexactly(int(headers.get("Content-Length", "0")))
        return int(status.split()[1]), headers, body

    async def ended(self) -> bytes:
        """What the server still sends until it closes the connection."""
        return await self._reader.read()


async def connect(url: str) -> Connection:
    address = urlsplit(url)
    return Connection(*await asyncio.open_connection(address.hostname, address.port))


async def once(url: str, path: str, **headers: str) -> tuple[int, HTTPMessage, bytes]:
    """One request on a connection of its own."""
    connection = await connect(url)
    try:
        return await connection.ask(path, **headers)
    finally:
        connection.writer.close()


@asynccontextmanager
async def asking(url: str, path: str, clients: int, **headers: str) -> AsyncIterator[Tally]:
    """Clients that ask without pause while the block runs, and until nobody listens any more after it."""
    tally, enough = Tally(), asyncio.Event()
    async with asyncio.TaskGroup() as group:
        for _ in range(clients):
            group.create_task(_client(url, path, headers, tally, enough))
        try:
            yield tally
        finally:
            enough.set()


async def until(condition: Callable[[], bool | Awaitable[bool]]) -> None:
    """Waits until the condition holds, at most 60 seconds."""
    async with asyncio.timeout(60):
        while not await _holds(condition):  # noqa: ASYNC110 # There is no event for changes in other processes.
            await asyncio.sleep(0.005)


async def _holds(condition: Callable[[], bool | Awaitable[bool]]) -> bool:
    found = condition()
    return found if isinstance(found, bool) else await found


async def _client(url: str, path: str, headers: dict[str, str], tally: Tally, enough: asyncio.Event) -> None:
    while not enough.is_set():
        try:
            connection = await connect(url)
        except OSError:  # Refused: nothing was sent.
            await asyncio.sleep(0.001)
            continue
        try:
            await _talk(connection, path, headers, tally, enough)
        finally:
            connection.writer.close()


async def _talk(
    connection: Connection, path: str, headers: dict[str, str], tally: Tally, enough: asyncio.Event
) -> None:
    while not enough.is_set():
        tally.sent += 1
        try:
            status, given, _ = await connection.ask(path, **headers)
        except (OSError, EOFError):
            tally.lost += 1
            return
        tally.answered[status] += 1
        if given.get("Connection") == "close":
            return
