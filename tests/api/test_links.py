"""Links have the scheme and host of the client's request, as far as proxies are trusted (contract 14, D12)."""

import json
import signal
import urllib.error
import urllib.request

import pytest

from tests.conftest import Api, Connect, Data, Serve
from tests.programs import on_database, serving

TRUSTING = {"GATEWAY__TRUSTED_PROXIES": '["10.0.0.0/8"]'}


@pytest.fixture(scope="module")
def data(shared_data: Data) -> Data:
    shared_data.customer(7)
    shared_data.call(1, vendor_id=7)
    return shared_data


@pytest.fixture(scope="module")
async def api(shared_serve: Serve, data: Data) -> Api:
    return await shared_serve(data.dsn)


async def base(api: Api, headers: list[tuple[str, str]]) -> str:
    """The scheme and host of a record's own link."""
    url = api.client.make_url("/api/rest/customer/v1/incoming-cdrs/1")
    known = [("Authorization", api.tokens.issue(7)), *headers]
    async with api.client.session.get(url, headers=known) as response:
        document = await response.json(content_type=None)
        link = document["data"]["links"]["self"] if response.status == 200 else f"{response.status}"
        return str(link).removesuffix("/api/rest/customer/v1/incoming-cdrs/1")


BELIEVED = {
    (): "http://asked.example",
    (("X-Forwarded-Host", "a.example"),): "http://a.example",
    (("X-Forwarded-Host", "a.example, b.example:81"),): "http://b.example:81",
    (("X-Forwarded-Host", "a.example"), ("X-Forwarded-Host", "b.example")): "http://b.example",
    (("X-Forwarded-Host", "[2001:db8::1]:8443"),): "http://[2001:db8::1]:8443",
    (("X-Forwarded-Host", 'a.example/"><script>'),): "http://asked.example",
    (("X-Forwarded-Host", "user@a.example"),): "http://asked.example",
    (("X-Forwarded-Host", "a.example,"),): "http://asked.example",
    (("X-Forwarded-Proto", "https"),): "https://asked.example",
    (("X-Forwarded-Proto", "http"), ("X-Forwarded-Proto", "HTTPS")): "https://asked.example",
    (("X-Forwarded-Proto", "javascript"),): "http://asked.example",
    (("X-Forwarded-Proto", "https"), ("X-Forwarded-Host", "h:443")): "https://h",
    (("X-Forwarded-Proto", "https"), ("X-Forwarded-Host", "h:80")): "https://h:80",
    (("X-Forwarded-Ssl", "on"),): "https://asked.example",
    (("X-Forwarded-Scheme", "https"),): "https://asked.example",
    (("Forwarded", 'for=1.2.3.4;proto="https";host=evil.example'),): "https://asked.example",
}


async def test_a_trusted_proxy_says_what_the_client_asked_for(api: Api) -> None:
    for headers, expected in BELIEVED.items():
        assert (headers, await base(api, [("Host", "asked.example"), *headers])) == (headers, expected)


async def test_nobody_else_can_turn_links_elsewhere(serve: Serve, data: Data) -> None:
    api = await serve(data.dsn, **TRUSTING)
    for headers in BELIEVED:
        assert await base(api, [("Host", "asked.example"), *headers]) == "http://asked.example"


@pytest.mark.parametrize(
    "host", ["a/b", "a b", "a.example:port", "user@a.example", '"', "", "é", "a.example, b.example"]
)
async def test_a_host_that_is_none_is_refused(api: Api, host: str) -> None:
    assert await base(api, [("Host", host)]) == "400"


@pytest.mark.parametrize("trusting", [True, False])
def test_the_log_names_the_client_behind_a_trusted_proxy(data: Data, trusting: bool) -> None:

    known = on_database(data.dsn, AUTH__SECRETS=json.dumps(["x" * 32]))
    with serving(**known, **({} if trusting else TRUSTING)) as program:
        for number, (said, named) in enumerate({"192.0.2.7": "192.0.2.7", "no address": "127.0.0.1"}.items(), 1):
            with pytest.raises(urllib.error.HTTPError) as refused:
                urllib.request.urlopen(urllib.request.Request(program.url, headers={"X-Real-IP": said}))
            refused.value.close()
            assert program.logged("request", times=number)["client"] == (named if trusting else "127.0.0.1")
        assert program.end(signal.SIGTERM) == 0


@pytest.mark.parametrize(
    ("target", "host", "expected"),
    [
        ("", "api.example:", "http://api.example"),
        ("", "[::1]:", "http://[::1]"),
        ("http://api.example:8080", "other.example", "http://api.example:8080"),
        ("http://api.example:80", "other.example", "http://api.example"),
        ("http://api.example:", "other.example:81", "http://api.example"),
        ("http://[::1]", "other.example", "http://[::1]"),
        ("HTTP://user@[::1]:8080", "other.example", "http://[::1]:8080"),
    ],
)
async def test_an_absolute_target_counts_with_its_port(
    api: Api, connect: Connect, target: str, host: str, expected: str
) -> None:
    connection = await connect(str(api.client.make_url("/")))
    path = f"{target}/api/rest/customer/v1/incoming-cdrs/1"
    head = f"GET {path} HTTP/1.1\r\nHost: {host}\r\nAuthorization: {api.tokens.issue(7)}\r\n\r\n"
    connection.writer.write(head.encode())
    status, _, body = await connection.answer()
    assert (status, json.loads(body)["data"]["links"]["self"]) == (
        200,
        f"{expected}/api/rest/customer/v1/incoming-cdrs/1",
    )
