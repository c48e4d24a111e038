"""Invalid bytes on real sockets: no 5xx, and a JSON:API document if the response is the service's own."""

import json
import socket
from collections.abc import Iterator
from dataclasses import dataclass
from http.client import HTTPMessage, HTTPResponse
from urllib.parse import urlsplit

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from service.schemas.base import PREFIX
from service.web.responses import SECURITY
from tests.conftest import Databases
from tests.corpus import GOLDEN_SECRET
from tests.programs import Program, on_database, run, serving

bounded = settings(max_examples=300, deadline=None, derandomize=True)
LIST = f"{PREFIX}/incoming-cdrs".encode()


@dataclass(frozen=True)
class Reply:
    """A response as it came over the wire."""

    status: int
    headers: HTTPMessage
    body: bytes


class Wire:
    """Sends bytes to the service."""

    def __init__(self, program: Program, token: str) -> None:
        self._address = urlsplit(program.url)
        self.token = token.encode()

    def send(self, request: bytes) -> Reply:
        """One connection for each request."""
        with socket.create_connection((self._address.hostname, self._address.port), timeout=20) as connection:
            connection.sendall(request)
            response = HTTPResponse(connection)
            response.begin()
            reply = Reply(response.status, response.headers, response.read())
            connection.shutdown(socket.SHUT_WR)  # Or the service would wait for a body that was announced.
            assert connection.recv(1) == b""
            return reply

    def get(self, target: bytes, headers: bytes = b"", body: bytes = b"") -> Reply:
        """GET with a valid token, unless the headers bring one."""
        token = b"" if b"authorization:" in headers.lower() else b"Authorization: " + self.token + b"\r\n"
        start = b"GET " + target + b" HTTP/1.1\r\nHost: example.org\r\nConnection: close\r\n"
        return self.send(start + token + headers + b"\r\n" + body)


@pytest.fixture(scope="module")
def wire(postgres: Databases, golden_database: str) -> Iterator[Wire]:
    dsn = postgres.dsn(golden_database)
    known = on_database(dsn, AUTH__SECRETS=json.dumps([GOLDEN_SECRET]))
    token = run(["token", "--api-access", "1"], **known).stdout.strip()
    with serving(**known) as program:
        yield Wire(program, token)


def ours(reply: Reply) -> None:
    """An answer of the service, not of the HTTP library below it."""
    assert reply.status in (200, 304, 400, 401, 404, 406, 431)
    assert {name: reply.headers[name] for name in SECURITY} == SECURITY
    assert reply.headers["x-request-id"] is not None
    if reply.status == 304:
        assert reply.body == b""
        return
    assert reply.headers["content-type"] == "application/vnd.api+json"
    document = json.loads(reply.body)
    if reply.status == 200:
        assert "data" in document
    else:
        assert all(set(error) == {"title", "detail", "code", "status"} for error in document["errors"])
        assert document["errors"][0]["status"] == str(reply.status)


def safe(reply: Reply) -> None:
    """Ours, or the HTTP library's refusal of what is no HTTP."""
    if reply.headers["content-type"] == "text/plain; charset=utf-8":
        assert reply.status == 400
    else:
        ours(reply)


# Whatever may stand in the first line of a request without ending it.
targets = st.binary(max_size=60).map(lambda text: bytes(byte for byte in text if byte > 32 and byte != 127))
WORDS = (
    b"filter page sort include fields duration_in id account [ ] [] [a][b] = & % %5B %5d %00 %ff %C3%A9 + ; - , # ? 1"
)
tokens = st.sampled_from([*WORDS.split(), b'"'])
queries = st.one_of(targets, st.lists(tokens, max_size=14).map(b"".join), st.lists(targets | tokens).map(b"".join))


@given(query=queries)
@example(query=b"filter" + b"[a]" * 200 + b"=1")
@example(query=b"filter[id_in]=" + b",".join([b"5000157"] * 4000))
@bounded
def test_any_query_string(wire: Wire, query: bytes) -> None:
    check = ours if query.isascii() else safe
    check(wire.get(LIST + b"?" + query))


@given(path=targets)
@example(path=b"/" * 5000)
@example(path=b"%2e%2e/%2e%2e/etc/passwd")
@example(path=b"docs/%00")
@bounded
def test_any_path(wire: Wire, path: bytes) -> None:
    reply = wire.get(PREFIX.encode() + b"/" + path)
    safe(reply)
    assert reply.status != 200 or reply.body


NAMES = (
    b"Accept Authorization Cookie If-None-Match If-Modified-Since X-Request-Id Range Expect X-Forwarded-Proto Upgrade "
    b"X-Forwarded-Host X-Forwarded-Ssl Forwarded Accept-Encoding Content-Type X-HTTP-Method-Override Content-Encoding "
    b"Transfer-Encoding Content-Length Host"
)
names = st.sampled_from(NAMES.split())
values = st.one_of(
    st.binary(max_size=40).map(lambda text: bytes(byte for byte in text if byte >= 32 and byte != 127)),
    st.lists(tokens, max_size=8).map(b"".join),
    st.sampled_from([b"*/*;q=1e9", b"a/b;q=" + b"1" * 300, b'W/"', b"*", b"a.b.c", b"Bearer ", b"100-continue", b"0"])
    | st.sampled_from([b"gzip", b"websocket", b"h2c", b"chunked", b"-1", b"99999999999999999999", b"a" * 9000]),
)
headers = st.lists(st.tuples(names, values).map(lambda pair: b": ".join(pair) + b"\r\n"), max_size=5).map(b"".join)


@given(headers=headers)
@example(headers=b"X-Forwarded-Host: a\xff\xfe, \x80\r\n")
@example(headers=b"Authorization: " + b"a" * 8000 + b"\r\n")
@bounded
def test_any_headers(wire: Wire, headers: bytes) -> None:
    safe(wire.get(LIST + b"/5000157", headers))


@given(body=st.binary(max_size=200), kind=st.sampled_from([b"application/json", b"application/vnd.api+json", b"a"]))
@bounded
def test_any_body_of_a_get(wire: Wire, body: bytes, kind: bytes) -> None:
    length = str(len(body)).encode()
    reply = wire.get(LIST + b"/5000157", b"Content-Type: " + kind + b"\r\nContent-Length: " + length + b"\r\n", body)
    ours(reply)
    assert reply.status == 200


@given(text=st.binary(max_size=80))
@bounded
def test_anything_that_is_no_http(wire: Wire, text: bytes) -> None:
    safe(wire.send(b"X" + text + b"\r\n\r\n"))


@pytest.mark.parametrize(
    "request_",
    [
        b"GET / HTTP/9.9\r\n\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n",
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        b"GET /" + b"a" * 70000 + b" HTTP/1.1\r\n\r\n",
        b"GET /a b HTTP/1.1\r\nHost: x\r\n\r\n",
        b"OPTIONS * HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n",
        b"GET http://[::1 HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n",
        b"GET / HTTP/1.1\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nab",
        b"GET / HTTP/1.1\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        b"GET / HTTP/1.1\r\nTransfer-Encoding: chunked\r\nConnection: close\r\n\r\nzz\r\n",
    ],
    ids=["version", "tls", "http2", "long", "space", "asterisk", "address", "lengths", "smuggled", "chunk"],
)
def test_bad_http(wire: Wire, request_: bytes) -> None:
    safe(wire.send(request_))


def test_it_goes_on_serving(wire: Wire) -> None:
    assert wire.get(LIST).status == 200
