"""HTTP before a request is parsed: limits, rejected bytes, and clients that do not send HTTP."""

import json
import re
import socket
import ssl
from collections.abc import Iterator
from http.client import HTTPResponse
from urllib.parse import urlsplit

import pytest

from service.web.request_head import MAX_HEADERS, MAX_HEADERS_SIZE, MAX_LINE_SIZE
from service.web.responses import SECURITY
from tests.conftest import SECRET, Connect
from tests.load import once
from tests.programs import Program, on_database, serving

NOWHERE = "postgresql://nobody@127.0.0.1:1/nothing"
KNOWN = on_database(NOWHERE, AUTH__SECRETS=json.dumps([SECRET]))
HOST = b"Host: x\r\n"


@pytest.fixture(scope="module")
def program() -> Iterator[Program]:
    with serving(**KNOWN) as running:
        yield running


def ask(program: Program, *parts: bytes) -> tuple[int, dict[str, str], bytes]:
    """The answer to bytes on a connection of their own, which the service must have closed where it says so."""
    url = urlsplit(program.url)
    with socket.create_connection((url.hostname, url.port), timeout=30) as connection:
        for part in parts:
            connection.sendall(part)
        response = HTTPResponse(connection)
        response.begin()
        body = response.read()
        if response.headers["connection"] == "close":
            assert connection.recv(1) == b""
        return response.status, {name.lower(): value for name, value in response.headers.items()}, body


def closed(program: Program, reason: str = r"\w+") -> int:
    """How many connections the service has closed, for a reason or for any."""
    url = urlsplit(program.admin)
    with socket.create_connection((url.hostname, url.port), timeout=30) as connection:
        connection.sendall(b"GET /metrics HTTP/1.0\r\n\r\n")
        text = b"".join(iter(lambda: connection.recv(65536), b"")).decode()
    found = re.findall(rf'^cdr_api_connections_closed_total{{reason="{reason}"}} (\S+)$', text, re.MULTILINE)
    assert found
    return int(sum(map(float, found)))


def head(line_size: int = 0, headers_size: int = 0) -> bytes:
    """A head with a request line and headers of so many bytes, without the last empty line's."""
    line = b"GET / HTTP/1.1\r\n"
    line = line.replace(b"/ ", b"/" + b"x" * max(line_size + 2 - len(line), 0) + b" ")
    padding = max(headers_size - len(HOST) - len(b"X: \r\n"), 0)
    return line + HOST + b"X: " + b"x" * padding + b"\r\n\r\n"


@pytest.mark.parametrize("sizes", [(MAX_LINE_SIZE, 0), (0, MAX_HEADERS_SIZE), (MAX_LINE_SIZE, MAX_HEADERS_SIZE)])
def test_heads_up_to_the_limits_are_read(program: Program, sizes: tuple[int, int]) -> None:
    status, _, _ = ask(program, head(*sizes))
    assert status == 404


TOO_LONG = {
    "request line": [head(MAX_LINE_SIZE + 1)],
    "headers": [head(0, MAX_HEADERS_SIZE + 1)],
    "request line without end": [b"GET /" + b"x" * 200000],
    "header without end": [b"GET / HTTP/1.1\r\n" + HOST + b"X: " + b"x" * 200000],
    "many headers": [b"GET / HTTP/1.1\r\n" + HOST + b"".join(b"X-%d: 1\r\n" % n for n in range(MAX_HEADERS)) + b"\r\n"],
}


@pytest.mark.parametrize("case", TOO_LONG)
def test_longer_ones_are_refused_with_a_document(program: Program, case: str) -> None:
    before = closed(program, "head_too_large")
    status, headers, body = ask(program, *TOO_LONG[case])
    (error,) = json.loads(body)["errors"]
    assert (status, error["status"], error["code"]) == (431, "431", "431")
    assert error["title"] == "Request header fields too large"
    assert headers["content-type"] == "application/vnd.api+json"
    assert headers["connection"] == "close"
    assert SECURITY.items() <= headers.items()
    assert headers["x-request-id"]
    assert closed(program, "head_too_large") == before + 1


GARBAGE = {
    "a TLS hello": b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
    "a line of text": b"HELP\r\n",
    "SSH": b"SSH-2.0-OpenSSH_9.2\r\n",
    "bytes": bytes(range(256)) * 10,
    "HTTP/0.9": b"GET /\r\n",
    "bare line feeds": b"GET / HTTP/1.1\nHost: x\n\n",
    "a bare line feed": b"GET / HTTP/1.1\r\nHost: x\nA: b\r\n\r\n",
    "no host": b"GET / HTTP/1.1\r\n\r\n",
    "two lengths": b"GET / HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n",
    "HTTP/2": b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    "an unknown method": b"FOO / HTTP/1.1\r\nHost: x\r\n\r\n",
}


@pytest.mark.parametrize("case", GARBAGE)
def test_what_is_no_http_is_one_line_of_the_log(program: Program, case: str) -> None:
    before = closed(program, "not_http")
    status, headers, body = ask(program, GARBAGE[case])
    assert (status, json.loads(body)["errors"][0]["code"]) == (400, "400")
    assert (headers["content-type"], headers["connection"]) == ("application/vnd.api+json", "close")
    assert b"aiohttp" not in body
    assert closed(program, "not_http") == before + 1
    event = program.logged("connection closed", closed(program))
    assert (event["level"], event["reason"], event["client"]) == ("info", "not_http", "127.0.0.1")
    assert not any("exception" in event for event in program.events)


def test_a_tls_client_learns_at_once_that_there_is_none(program: Program) -> None:
    url = urlsplit(program.url)
    context = ssl.create_default_context()
    with (
        socket.create_connection((url.hostname, url.port), timeout=30) as connection,
        pytest.raises(ssl.SSLError, match=r"(?i)wrong.version.number|record.layer"),
    ):
        context.wrap_socket(connection, server_hostname="x").close()


def test_requests_in_one_packet_are_answered_in_order(program: Program) -> None:
    url = urlsplit(program.url)
    with socket.create_connection((url.hostname, url.port), timeout=30) as connection:
        one = b"\r\nGET / HTTP/1.1\r\nHost: x\r\nX-Request-Id: %d\r\nContent-Length: %d\r\n\r\n%s"
        sent = b"".join(one % (n, n % 3 * 1000, b"GET / HTTP" * (n % 3 * 100)) for n in range(500))
        connection.sendall(sent + b"GET / HTTP/1.0\r\n\r\n")
        received = b"".join(iter(lambda: connection.recv(65536), b""))
    assert re.findall(rb"x-request-id: (\d+)\r\n", received, re.IGNORECASE) == [b"%d" % n for n in range(500)]
    assert received.count(b"HTTP/1.1 404") + received.count(b"HTTP/1.0 404") == 501


def test_a_body_of_unknown_length_ends_its_connection(program: Program) -> None:
    chunked = b"GET / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n"
    status, headers, _ = ask(program, chunked)
    assert (status, headers["connection"]) == (404, "close")


def test_only_http_1_1_is_told_to_continue(program: Program) -> None:
    expecting = b"GET / HTTP/1.%d\r\nHost: x\r\nExpect: 100-continue\r\nContent-Length: 0\r\n\r\n"
    assert raw(program, expecting % 1).startswith(b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 404")
    assert raw(program, expecting % 0).startswith(b"HTTP/1.0 404")


def raw(program: Program, request: bytes) -> bytes:
    """Everything that is answered to bytes until there is nothing more for a moment."""
    url = urlsplit(program.url)
    with socket.create_connection((url.hostname, url.port), timeout=30) as connection:
        connection.sendall(request + b"GET / HTTP/1.0\r\n\r\n")
        return b"".join(iter(lambda: connection.recv(65536), b""))


def test_a_head_takes_only_so_long(connect: Connect) -> None:
    with serving(**KNOWN, LISTEN__HEAD_TIMEOUT="0.3") as program:
        url = urlsplit(program.url)
        with socket.create_connection((url.hostname, url.port), timeout=30) as connection:
            connection.sendall(b"GET / HTTP/1.1\r\n")
            assert connection.recv(1) == b""
        assert program.logged("connection closed")["reason"] == "head_timeout"
        assert closed(program, "head_timeout") == 1


async def test_the_longest_idle_connection_gives_way(connect: Connect) -> None:
    with serving(**KNOWN, LISTEN__MAX_CONNECTIONS="3") as program:
        connections = [await connect(program.url) for _ in range(3)]
        for connection in (connections[1], connections[0], connections[2]):
            assert (await connection.ask("/"))[0] == 404
        assert (await once(program.url, "/"))[0] == 404
        assert await connections[1].ended() == b""
        assert [(await connections[n].ask("/"))[0] for n in (0, 2)] == [404, 404]
        assert closed(program, "evicted") == 1


async def test_one_address_has_only_its_share(connect: Connect) -> None:
    """Proxies are exempt, because they speak for many."""
    bounded = {"LISTEN__MAX_CONNECTIONS_PER_ADDRESS": "2"}
    with serving(**KNOWN, **bounded, GATEWAY__TRUSTED_PROXIES="[]") as program:
        connections = [await connect(program.url) for _ in range(2)]
        for connection in connections:
            assert (await connection.ask("/"))[0] == 404
        third = await connect(program.url)
        assert (await third.ask("/"))[0] == 404
        assert await connections[0].ended() == b""
    with serving(**KNOWN, **bounded) as program:
        connections = [await connect(program.url) for _ in range(10)]
        assert [(await connection.ask("/"))[0] for connection in connections] == [404] * 10
