"""A real S3 server on loopback, and a proxy to it that can interrupt connections."""

import asyncio
import logging
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from typing import Any
from urllib.parse import urlsplit

import botocore.session
from moto.server import ThreadedMotoServer

BUCKET = "recordings"
KEYS = {"access_key_id": "somebody", "secret_access_key": "a word that must not be shown"}


class Storage:
    """A bucket."""

    def __init__(self, url: str) -> None:
        self.url = url
        self._client: Any = botocore.session.get_session().create_client(
            "s3",
            endpoint_url=url,
            region_name="us-east-1",
            aws_access_key_id=KEYS["access_key_id"],
            aws_secret_access_key=KEYS["secret_access_key"],
        )
        self._client.create_bucket(Bucket=BUCKET)

    def put(self, key: str, body: bytes) -> None:
        self._client.put_object(Bucket=BUCKET, Key=key, Body=body)

    def settings(self, url: str | None = None, **changed: str) -> dict[str, str]:
        known = {"bucket": BUCKET, "endpoint": url or self.url, "force_path_style": "true", **KEYS, **changed}
        named = {f"RECORDINGS__S3__{name.upper()}": value for name, value in known.items()}
        return {"RECORDINGS__MODE": "s3", **named}


@contextmanager
def storage() -> Iterator[Storage]:
    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0)
    server.start()
    try:
        host, port = server.get_host_and_port()
        yield Storage(f"http://{host}:{port}")
    finally:
        server.stop()


class Wire:
    """Passes bytes between clients and a server, at most `most` of each answer, and then cuts or keeps silent."""

    def __init__(self, host: str, port: int) -> None:
        self._to = host, port
        self._changed = asyncio.Condition()
        self.open = 0
        self.most: int | None = None
        self.silent = False
        self.url = ""

    async def closed(self) -> None:
        """Waits until nobody uses the wire."""
        async with asyncio.timeout(10), self._changed:
            await self._changed.wait_for(lambda: self.open == 0)

    async def used(self, connections: int) -> None:
        async with asyncio.timeout(10), self._changed:
            await self._changed.wait_for(lambda: self.open >= connections)

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await self._count(1)
        to_reader, to_writer = await asyncio.open_connection(*self._to)
        asking = asyncio.create_task(_pass(reader, to_writer, None))
        try:
            with suppress(OSError):
                await _pass(to_reader, writer, self.most)
                if self.silent:
                    await asking
        finally:
            asking.cancel()
            to_writer.close()
            writer.transport.abort()
            await self._count(-1)

    async def _count(self, step: int) -> None:
        async with self._changed:
            self.open += step
            self._changed.notify_all()


async def _pass(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, most: int | None) -> None:
    passed = 0
    while most is None or passed < most:
        chunk = await reader.read(65536 if most is None else min(65536, most - passed))
        if not chunk:
            return
        passed += len(chunk)
        writer.write(chunk)
        await writer.drain()


@asynccontextmanager
async def wire(url: str) -> AsyncIterator[Wire]:
    address = urlsplit(url)
    passing = Wire(str(address.hostname), int(address.port or 0))
    server = await asyncio.start_server(passing.serve, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    passing.url = f"http://127.0.0.1:{port}"
    try:
        yield passing
        await passing.closed()
    finally:
        server.close()
