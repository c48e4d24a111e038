"""Responses through a real nginx with the gateway's configuration."""

import asyncio
import gzip
import json
import re
import subprocess
from pathlib import Path

import aiohttp
import pytest

from service.web.responses import SECURITY
from tests.conftest import Api, Data, Serve
from tests.gateway.conftest import Gateway, Open, configured
from tests.programs import free_port

AUDIO = bytes(range(256)) * 3
REC = "incoming-cdrs/1/rec"
UUID = r"[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}"


@pytest.fixture(autouse=True)
def rows(data: Data) -> None:
    data.customer(7, may_listen=True)
    data.call(1, vendor_id=7, customer_id=7, duration=5, audio_recorded=True, local_tag="8-REC")
    data.call(2, vendor_id=7, duration=5, audio_recorded=True, local_tag="ü %2F\"'\\.mp3?")
    data.call(3, vendor_id=7, duration=5, audio_recorded=True, local_tag="8-GONE")


def test_nginx_finds_no_fault_with_the_configuration(tmp_path: Path) -> None:
    check = subprocess.run([*configured(tmp_path / "x", free_port(), 1), "-t"], capture_output=True, text=True)
    assert check.returncode == 0, check.stderr
    assert "[warn]" not in check.stderr


ANSWERS = [
    ("GET", "incoming-cdrs", 200),
    ("HEAD", "cdrs/1", 200),
    ("GET", "accounts", 200),
    ("GET", "cdrs?sort=x", 400),
    ("GET", "/nowhere", 404),
    ("POST", "cdrs", 404),
    ("GET", REC, 200),
    ("GET", "incoming-cdrs/3/rec", 404),
]


async def test_every_answer_has_each_header_once(gateway: Gateway) -> None:
    (gateway.recordings / "8-REC.mp3").write_bytes(AUDIO)
    for method, path, status in ANSWERS:
        answer = await gateway.get(path, 7, method=method, headers={"X-Request-Id": "mine-1_@"})
        assert (path, answer.status) == (path, status)
        assert answer.headers.getall("x-request-id") == ["mine-1_@"]
        assert [answer.headers.getall(name) for name in SECURITY] == [[text] for text in SECURITY.values()]
        assert answer.headers.getall("access-control-allow-origin") == ["*"]
        assert answer.headers["server"] == "nginx"


async def test_a_request_id_that_is_not_clean_is_replaced_by_a_new_one(gateway: Gateway) -> None:
    (gateway.recordings / "8-REC.mp3").write_bytes(AUDIO)
    seen = []
    for headers in ({}, *({"X-Request-Id": given} for given in ("a b", "<x>", "x" * 256, ""))):
        for path in ("cdrs", REC):
            (named,) = (await gateway.get(path, 7, headers=headers)).headers.getall("x-request-id")
            assert re.fullmatch(UUID, named)
            seen.append(named)
    assert len(set(seen)) == len(seen)


async def test_bodies_and_tags_are_the_services_and_a_304_passes(gateway: Gateway) -> None:
    through = await gateway.get("cdrs/1", 7, headers={"Host": "example.org"})
    direct = await gateway.api.get("cdrs/1", 7)
    assert (through.body, through.headers["etag"]) == (direct.body, direct.headers["etag"])
    again = await gateway.get("cdrs/1", 7, headers={"Host": "example.org", "If-None-Match": through.headers["etag"]})
    assert (again.status, again.body, again.headers["etag"]) == (304, b"", through.headers["etag"])
    assert again.headers["vary"] == "Accept"


async def test_brackets_arrive_as_they_are_sent(gateway: Gateway) -> None:
    for query in ("filter[id_eq]=1&page[size]=1", "filter%5Bid_eq%5D=1&page%5Bsize%5D=1"):
        assert (await gateway.get(f"cdrs?{query}", 7)).ids == ["1"]


async def test_a_query_longer_than_nginx_takes_by_itself_arrives(gateway: Gateway) -> None:
    ids = ",".join(["1"] * 4072)  # One more, and the service of a test, with aiohttp's own bounds, would not take it.
    assert (await gateway.get(f"incoming-cdrs?filter[id]={ids}", 7)).ids == ["1"]


async def test_an_escaped_slash_stays_part_of_an_id(gateway: Gateway) -> None:
    answer = await gateway.get("cdrs/1%2Faccount", 7)
    assert answer.error == (400, "103")
    assert answer.json["errors"][0]["detail"] == "1/account is not a valid value for id."


async def test_links_are_what_the_client_asked_for_whatever_else_it_claims(gateway: Gateway) -> None:
    claims = {
        "X-Forwarded-Host": "evil.example",
        "X-Forwarded-Proto": "https",
        "X-Forwarded-Scheme": "https",
        "X-Forwarded-Ssl": "on",
        "Forwarded": "proto=https;host=evil.example",
    }
    for host in ("cdr.example", "cdr.example:8443"):
        answer = await gateway.get("cdrs/1", 7, headers={"Host": host, **claims})
        assert answer.json["data"]["links"]["self"] == f"http://{host}/api/rest/customer/v1/cdrs/1"


async def test_the_log_has_the_clients_address_and_not_what_it_says_of_it(
    gateway: Gateway, capsys: pytest.CaptureFixture[str]
) -> None:
    await gateway.get("cdrs", 7, headers={"X-Real-IP": "192.0.2.66"})
    log = capsys.readouterr().out
    assert "client=127.0.0.1" in log
    assert "192.0.2.66" not in log


async def test_other_routes_stay_where_they_were(opened: Open, api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    """The parts, as an nginx includes them that has a Yeti behind it, and keeps the accounts there."""
    yeti = [
        *(("nginx.conf", f"include cdr-api/{part}.conf;", "") for part in ("accounts", "auth", "statistics")),
        ("nginx.conf", "include cdr-api/proxy.conf;", "return 200 yeti;"),
    ]
    monkeypatch.setattr("tests.gateway.conftest.ALSO", yeti)
    gateway = await opened(api)
    for path in ("accounts", "auth", "cdrs-of-others", "incoming-cdrs2", "cdrs/../auth", "/", "/api/rest/admin/cdrs"):
        assert (await gateway.get(path, 7)).body == b"yeti"
    for path in ("cdrs", "incoming-cdrs", "cdrs/", "cdrs/1", "/api/rest//customer/v1/cdrs/1"):
        assert (await gateway.get(path, 7)).headers["content-type"] == "application/vnd.api+json"


async def test_a_proxy_in_front_is_believed_once_it_is_named(
    opened: Open, api: Api, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        "tests.gateway.conftest.ALSO", [("cdr-api/http.conf", "default 0;", "default 0; 127.0.0.0/8 1;")]
    )
    gateway = await opened(api)
    claims = {"X-Forwarded-Host": "outer.example", "X-Forwarded-Proto": "https"}
    answer = await gateway.get("cdrs/1", 7, headers=claims)
    assert answer.json["data"]["links"]["self"] == "https://outer.example/api/rest/customer/v1/cdrs/1"
    plain = await gateway.get("cdrs/1", 7, headers={"Host": "inner.example"})
    assert plain.json["data"]["links"]["self"] == "http://inner.example/api/rest/customer/v1/cdrs/1"


async def test_a_recording_is_sent_by_nginx_with_ranges(gateway: Gateway) -> None:
    (gateway.recordings / "8-REC.mp3").write_bytes(AUDIO)
    full = await gateway.get(REC, 7)
    assert (full.status, full.body, full.headers["content-type"]) == (200, AUDIO, "audio/mpeg")
    assert full.headers["accept-ranges"] == "bytes"
    assert full.headers["cache-control"] == "no-cache"
    assert "x-accel-redirect" not in full.headers
    part = await gateway.get(REC, 7, headers={"Range": "bytes=10-19"})
    assert (part.status, part.body, part.headers["content-range"]) == (206, AUDIO[10:20], "bytes 10-19/768")
    beyond = await gateway.get(REC, 7, headers={"Range": "bytes=768-"})
    assert (beyond.status, beyond.headers["content-range"]) == (416, "bytes */768")
    for condition, status in ((full.headers["etag"], 206), ('"x"', 200)):
        answer = await gateway.get(REC, 7, headers={"Range": "bytes=10-19", "If-Range": condition})
        assert (answer.status, answer.body) == (status, AUDIO[10:20] if status == 206 else AUDIO)
    assert (await gateway.get(REC, 7, headers={"If-None-Match": full.headers["etag"]})).status == 304
    head = await gateway.get(REC, 7, method="HEAD")
    assert (head.status, head.body, head.headers["content-length"]) == (200, b"", "768")


async def test_a_recording_with_an_odd_name_is_found(gateway: Gateway) -> None:
    (gateway.recordings / "ü %2F\"'\\.mp3?.mp3").write_bytes(b"odd")
    assert (await gateway.get("incoming-cdrs/2/rec", 7)).body == b"odd"


async def test_a_recording_that_is_not_there_is_an_empty_404(gateway: Gateway) -> None:
    answer = await gateway.get("incoming-cdrs/3/rec", 7)
    assert (answer.status, answer.body, answer.headers["cache-control"]) == (404, b"", "no-cache")


async def test_a_symbolic_link_is_not_followed(gateway: Gateway, tmp_path: Path) -> None:
    (tmp_path / "secret.mp3").write_bytes(AUDIO)
    (gateway.recordings / "8-REC.mp3").symlink_to(tmp_path / "secret.mp3")
    answer = await gateway.get(REC, 7)
    assert (answer.status, answer.body) == (404, b"")


async def test_a_client_of_http_1_0_gets_no_export_through_a_proxy(gateway: Gateway) -> None:
    """Lists have a length, so that one which breaks off is noticed."""
    token = gateway.api.tokens.issue(7)
    for path, status in (("cdrs?format=csv", b"400"), ("cdrs", b"200")):
        reader, writer = await asyncio.open_connection("127.0.0.1", gateway.port)
        request = f"GET /api/rest/customer/v1/{path} HTTP/1.0\r\nHost: x\r\nAuthorization: {token}\r\n\r\n"
        writer.write(request.encode())
        assert (await reader.read()).split()[1] == status
        writer.close()
    assert (await gateway.get("cdrs?format=csv", 7)).status == 200


async def test_recordings_are_not_to_be_had_without_the_service(gateway: Gateway) -> None:
    (gateway.recordings / "8-REC.mp3").write_bytes(AUDIO)
    for path in ("/record/8-REC.mp3", "/%72ecord/8-REC.mp3", "//record/8-REC.mp3", "/x/../record/8-REC.mp3"):
        answer = await gateway.get(path, 7)
        assert answer.status == 404
        assert AUDIO[:8] not in answer.body


async def test_a_recording_that_the_service_sends_passes_in_parts_too(
    opened: Open, serve: Serve, data: Data, tmp_path: Path
) -> None:
    (tmp_path / "8-REC.mp3").write_bytes(AUDIO)
    settings = {"RECORDINGS__MODE": "directory", "RECORDINGS__DIRECTORY": str(tmp_path)}
    gateway = await opened(await serve(data.dsn, **settings))
    answer = await gateway.get(REC, 7, headers={"Range": "bytes=-10"})
    assert (answer.status, answer.body, answer.headers["content-range"]) == (206, AUDIO[-10:], "bytes 758-767/768")


async def test_pages_of_other_origins_are_told_what_they_may_do_without_a_token(gateway: Gateway) -> None:
    asked = {"Origin": "https://portal.example", "Access-Control-Request-Headers": "authorization"}
    answer = await gateway.get("cdrs?page[size]=1", method="OPTIONS", headers=asked)
    assert (answer.status, answer.body) == (204, b"")
    assert answer.headers["access-control-allow-origin"] == "*"
    assert answer.headers["access-control-allow-methods"] == "GET, HEAD, POST, DELETE, OPTIONS"
    assert answer.headers["access-control-allow-credentials"] == "true"
    allowed = answer.headers["access-control-allow-headers"]
    assert allowed.startswith("Origin, X-Requested-With, Content-Type, Accept, api_key, Authorization, ")
    read = await gateway.get("cdrs", 7)
    assert read.headers["access-control-allow-origin"] == "*"
    assert read.headers["access-control-allow-credentials"] == "true"
    assert "ETag" in read.headers["access-control-expose-headers"]
    assert "access-control-allow-methods" not in read.headers


async def test_an_absent_service_is_a_503_that_says_when_to_come_again(gateway: Gateway) -> None:
    assert (await gateway.get("cdrs", 7)).status == 200
    await gateway.api.client.close()
    for path in ("cdrs", "incoming-cdrs/1", "accounts", REC, "/nowhere"):
        answer = await gateway.get(path, 7, headers={"X-Request-Id": "mine"})
        assert answer.error == (503, "503")
        assert answer.json["errors"][0]["title"] == "Service unavailable"
        assert answer.headers["content-type"] == "application/vnd.api+json"
        assert (answer.headers["retry-after"], answer.headers["vary"]) == ("1", "Accept")
        assert answer.headers.getall("x-request-id") == ["mine"]
        assert {name: answer.headers[name] for name in SECURITY} == SECURITY
    head = await gateway.get("cdrs", 7, method="HEAD")
    assert (head.status, head.body) == (503, b"")


async def test_the_services_own_503_passes(opened: Open, serve: Serve) -> None:
    gateway = await opened(await serve("host=127.0.0.1 port=1"))
    answer = await gateway.get("cdrs", 7)
    assert answer.error == (503, "503")
    assert answer.json["errors"][0]["detail"] == "The database is not available."


async def test_connections_to_the_service_are_kept(gateway: Gateway) -> None:
    server = gateway.api.client.server.runner.server  # type: ignore[attr-defined]
    for _ in range(20):
        assert (await gateway.get("cdrs/1", 7)).status == 200
    assert len(server.connections) == 1


async def test_a_recording_that_breaks_off_is_not_ended_by_nginx_as_if_complete(
    opened: Open, serve: Serve, data: Data, tmp_path: Path
) -> None:
    body = bytes(2**20) * 24
    (tmp_path / "8-REC.mp3").write_bytes(body)
    settings = {"RECORDINGS__MODE": "directory", "RECORDINGS__DIRECTORY": str(tmp_path)}
    gateway = await opened(await serve(data.dsn, **settings))
    url = f"http://127.0.0.1:{gateway.port}/api/rest/customer/v1/{REC}"
    headers = {"Authorization": gateway.api.tokens.issue(7)}
    async with aiohttp.ClientSession() as session, session.get(url, headers=headers) as response:
        (tmp_path / "8-REC.mp3").write_bytes(b"")
        with pytest.raises(aiohttp.ClientError):
            await response.read()


async def test_an_export_passes_compressed_and_one_that_breaks_off_is_seen_to_do_so(
    opened: Open, serve: Serve, data: Data
) -> None:
    data.execute(
        "INSERT INTO cdr.cdr (id, time_start, vendor_id, legb_user_agent)"
        " SELECT n, now() - interval '1 minute', 7, md5(n::text) FROM generate_series(101, 5000) AS n"
    )
    gateway = await opened(await serve(data.dsn))
    whole = await gateway.get("incoming-cdrs?format=csv&count=true", 7, headers={"Accept-Encoding": "gzip"})
    assert (whole.status, whole.headers["content-encoding"]) == (200, "gzip")
    assert gzip.decompress(whole.body).count(b"\r\n") == int(whole.headers["x-total-count"]) + 1 == 4904
    limited = await opened(await serve(data.dsn, EXPORT__MAX_ROWS="4900"))
    with pytest.raises(aiohttp.ClientError):
        await limited.get("incoming-cdrs?format=csv", 7)


def test_no_log_line_of_the_gateway_can_hold_a_query() -> None:
    text = (Path(__file__).parents[2] / "config" / "gateway" / "nginx.conf").read_text()
    (format_,) = re.findall(r"log_format.*?;\n", text, re.DOTALL)
    assert not re.search(r"\$(request|args|query_string|request_uri|http_referer)\b", format_)
    json.loads(
        "".join(re.findall(r"'([^']*)'", format_))
        .replace("$status", "1")
        .replace("$bytes_sent", "1")
        .replace("$request_time", "1")
    )
