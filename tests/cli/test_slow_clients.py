"""Clients that open connections and send or read little."""

import json

import pytest

from tests.conftest import SECRET, Connect
from tests.load import once
from tests.programs import on_database, serving

NOWHERE = "postgresql://nobody@127.0.0.1:1/nothing"
KNOWN = on_database(NOWHERE, AUTH__SECRETS=json.dumps([SECRET]))


@pytest.mark.parametrize("begun", ["", "GET / HT", "GET / HTTP/1.1\r\nHost: x\r\nX-Slow: "])
async def test_who_sends_no_whole_request_is_hung_up_on(connect: Connect, begun: str) -> None:
    with serving(**KNOWN, LISTEN__KEEPALIVE_TIMEOUT="0.2") as program:
        connections = [await connect(program.url) for _ in range(200)]
        for connection in connections:
            connection.writer.write(begun.encode())
        assert (await once(program.url, "/"))[0] == 404
        assert [await connection.ended() for connection in connections] == [b""] * 200


async def test_who_has_asked_once_is_hung_up_on_later(connect: Connect) -> None:
    with serving(**KNOWN, LISTEN__KEEPALIVE_TIMEOUT="0.2") as program:
        connection = await connect(program.url)
        assert (await connection.ask("/"))[0] == 404
        assert await connection.ended() == b""


async def test_a_head_without_end_is_refused(connect: Connect) -> None:
    with serving(**KNOWN) as program:
        connection = await connect(program.url)
        connection.writer.write(b"GET / HTTP/1.1\r\nHost: x\r\nX-Long: " + 100000 * b"x")
        assert (await connection.answer())[0] == 431
