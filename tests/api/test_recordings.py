"""Recordings, sent by the gateway, from a folder, or from an S3 bucket (contract 13)."""

import os
import socket
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from tests.conftest import Answer, Api, Data, Serve
from tests.storage import Storage, Wire, wire

AUDIO = bytes(range(256)) * 3
REC = "incoming-cdrs/1/rec"
OWN = ("directory", "s3")  # The modes in which the service itself sends the bytes.
MODES = ("x-accel", *OWN)


def fill(data: Data) -> Data:
    data.customer(7, may_listen=True)
    data.customer(8)
    call(data, 1, "8-REC")
    return data


@pytest.fixture
def data(data: Data) -> Data:
    return fill(data)


@pytest.fixture(scope="module")
def filled(shared_data: Data) -> Data:
    return fill(shared_data)


def call(data: Data, id: int, tag: str | None, **values: Any) -> None:
    known = {"vendor_id": 7, "customer_id": 7, "duration": 5, "audio_recorded": True}
    data.call(id, local_tag=tag, **{**known, **values})


class Place:
    """Where recordings lie in a mode, and the settings that say so."""

    def __init__(self, mode: str, folder: Path, bucket: Storage) -> None:
        self.folder = folder
        self._mode = mode
        self._bucket = bucket

    def put(self, name: str, body: bytes) -> None:
        if self._mode == "s3":
            self._bucket.put(f"/record/{name}", body)
        else:
            (self.folder / name).write_bytes(body)

    @property
    def settings(self) -> dict[str, str]:
        if self._mode == "s3":
            return self._bucket.settings()
        directory = {"RECORDINGS__DIRECTORY": str(self.folder)} if self._mode == "directory" else {}
        return {"RECORDINGS__MODE": self._mode, **directory}


def placed(mode: str, folder: Path, bucket: Storage) -> Place:
    made = Place(mode, folder, bucket)
    made.put("8-REC.mp3", AUDIO)
    return made


@pytest.fixture
def place(request: pytest.FixtureRequest, tmp_path: Path, bucket: Storage) -> Place:
    return placed(request.param, tmp_path, bucket)


@pytest.fixture
async def api(serve: Serve, data: Data, place: Place) -> Api:
    return await serve(data.dsn, **place.settings)


@pytest.fixture(scope="module")
async def shown(
    request: pytest.FixtureRequest,
    shared_serve: Serve,
    filled: Data,
    tmp_path_factory: pytest.TempPathFactory,
    bucket: Storage,
) -> Api:
    """The service in a mode, for tests that only read."""
    place = placed(request.param, tmp_path_factory.mktemp("recordings"), bucket)
    return await shared_serve(filled.dsn, **place.settings)


own = pytest.mark.parametrize("place", OWN, indirect=True)
every = pytest.mark.parametrize("place", MODES, indirect=True)
files = pytest.mark.parametrize("place", ["directory"], indirect=True)
objects = pytest.mark.parametrize("place", ["s3"], indirect=True)
shown_own = pytest.mark.parametrize("shown", OWN, indirect=True)
shown_every = pytest.mark.parametrize("shown", MODES, indirect=True)


@shown_own
@pytest.mark.parametrize("path", [REC, "cdrs/1/rec"])
async def test_the_whole_recording_is_sent(shown: Api, path: str) -> None:
    answer = await shown.get(path, 7, headers={"Accept": "audio/mpeg"})
    assert (answer.status, answer.body) == (200, AUDIO)
    assert answer.headers["content-length"] == str(len(AUDIO))
    assert answer.headers["accept-ranges"] == "bytes"
    assert answer.headers["cache-control"] == "no-cache"
    assert answer.headers["x-frame-options"] == "SAMEORIGIN"
    assert "vary" not in answer.headers


@objects
async def test_an_object_is_sent_as_an_attachment(api: Api) -> None:
    answer = await api.get(REC, 7)
    assert answer.headers["content-type"] == "application/octet-stream"
    assert answer.headers["content-disposition"] == 'attachment; filename="8-REC.mp3"'


@files
async def test_a_file_is_sent_as_audio_in_the_format_that_is_set(serve: Serve, data: Data, place: Place) -> None:
    place.put("8-REC.wav", b"RIFF")
    api = await serve(data.dsn, **place.settings, RECORDINGS__FORMAT="wav")
    answer = await api.get(REC, 7)
    assert (answer.body, answer.headers["content-type"]) == (b"RIFF", "audio/wav")
    assert "content-disposition" not in answer.headers


RANGES = {
    "bytes=0-0": (0, 1),
    "bytes=10-19": (10, 20),
    "bytes=700-": (700, 768),
    "bytes=-10": (758, 768),
    "bytes=-5000": (0, 768),
    "bytes=760-5000": (760, 768),
    "BYTES=1-2": (1, 3),
}


@shown_own
async def test_a_range_is_sent_to_the_byte(shown: Api) -> None:
    for range_, (start, end) in RANGES.items():
        answer = await shown.get(REC, 7, headers={"Range": range_})
        assert (range_, answer.status, answer.body) == (range_, 206, AUDIO[start:end])
        assert answer.headers["content-range"] == f"bytes {start}-{end - 1}/768"
        assert answer.headers["content-length"] == str(end - start)


@shown_own
async def test_a_range_beyond_the_end_is_416(shown: Api) -> None:
    for range_ in ("bytes=768-", "bytes=5000-6000"):
        answer = await shown.get(REC, 7, headers={"Range": range_})
        assert (answer.status, answer.body, answer.headers["content-range"]) == (416, b"", "bytes */768")


NO_RANGES = ["bytes=0-1,4-5", "bytes=5-2", "bytes=", "bytes=a-b", "items=0-1", "0-1", "bytes=٣-", "bytes=-" + "9" * 99]


@shown_own
async def test_a_range_that_means_nothing_is_ignored(shown: Api) -> None:
    for range_ in NO_RANGES:
        answer = await shown.get(REC, 7, headers={"Range": range_})
        assert (range_, answer.status, answer.body) == (range_, 200, AUDIO)


STILL = ["{tag}", "{time}"]
NO_TIMES = [
    "Mon, 99 Foo",
    "Mon, 01 Jan 99999999999999999999 00:00:00 GMT",
    "Mon, 01 Jan 2015 99999999999:00:00 GMT",
    "Fri, 31 Dec 9999 23:59:59 -2300",
]
NO_LONGER = ['"x"', "W/{tag}", "Thu, 01 Jan 2015 00:00:00 GMT", "Sat, 01 Jan 0999 00:00:00 GMT", "?", "é", *NO_TIMES]


@shown_own
async def test_a_part_is_sent_only_of_what_the_client_knows(shown: Api) -> None:
    full = await shown.get(REC, 7)
    for condition in STILL + NO_LONGER:
        known = condition.format(tag=full.headers["etag"], time=full.headers["last-modified"])
        inside = await shown.get(REC, 7, headers={"Range": "bytes=1-3", "If-Range": known})
        beyond = await shown.get(REC, 7, headers={"Range": "bytes=900-", "If-Range": known})
        found = (inside.status, inside.body, beyond.status)
        assert (condition, *found) == (
            condition,
            *((206, AUDIO[1:4], 416) if condition in STILL else (200, AUDIO, 200)),
        )


@shown_own
@pytest.mark.parametrize("name", ["If-None-Match", "If-Modified-Since"])
async def test_who_has_the_recording_already_is_told_so(shown: Api, name: str) -> None:
    full = await shown.get(REC, 7)
    known = full.headers["etag" if name == "If-None-Match" else "last-modified"]
    answer = await shown.get(REC, 7, headers={name: known})
    assert (answer.status, answer.body, answer.headers["etag"]) == (304, b"", full.headers["etag"])
    assert not {"content-type", "content-length"} & {header.lower() for header in answer.headers}
    for other in ('"x"', "Thu, 01 Jan 2015 00:00:00 GMT", "é", "W/", ",", '"', *NO_TIMES):
        assert (await shown.get(REC, 7, headers={name: other})).status == 200


@shown_every
async def test_head_is_get_without_a_body(shown: Api) -> None:
    for headers in ({}, {"Range": "bytes=5-9"}, {"Range": "bytes=5000-"}):
        get = await shown.get(REC, 7, headers=headers)
        head = await shown.get(REC, 7, headers=headers, method="HEAD")
        assert (head.status, head.body) == (get.status, b"")
        assert lasting(head) == lasting(get)


def lasting(answer: Answer) -> dict[str, str]:
    changing = ("x-request-id", "x-runtime", "date", "content-length" if answer.status == 416 else "")
    kept = {name.lower(): value for name, value in answer.headers.items() if name.lower() not in changing}
    if answer.status == 416:  # To a HEAD, S3 does not say how much there is.
        kept.pop("content-range", None)
    return {name: value for name, value in kept.items() if (name, value) != ("content-length", "0")}


@every
async def test_the_callers_scope_decides_before_any_recording_is_looked_for(api: Api, data: Data) -> None:
    call(data, 2, "8-REC", vendor_id=8, customer_id=8)
    call(data, 3, " ")
    call(data, 4, "8-REC", duration=0)
    assert (await api.get(REC)).status == 401
    assert (await api.get("incoming-cdrs/abc/rec", 7)).error == (400, "103")
    assert (await api.get("incoming-cdrs/2/rec", 7)).error == (404, "404")
    for path, caller in (("incoming-cdrs/2/rec", 8), ("incoming-cdrs/3/rec", 7), ("incoming-cdrs/4/rec", 7)):
        answer = await api.get(path, caller, headers={"Accept": "audio/mpeg"})
        assert (answer.status, answer.body, answer.headers["content-type"]) == (404, b"", "audio/mpeg")
        assert not {"x-accel-redirect", "content-disposition", "vary"} & {name.lower() for name in answer.headers}


@own
async def test_a_recording_that_is_not_there_is_an_empty_404(api: Api, data: Data, place: Place) -> None:
    call(data, 2, "8-GONE")
    attached = ("application/octet-stream", 'attachment; filename="8-GONE.mp3"')
    for method in ("GET", "HEAD"):
        answer = await api.get("incoming-cdrs/2/rec", 7, method=method, headers={"Accept": "*/*"})
        assert (answer.status, answer.body) == (404, b"")
        said = answer.headers["content-type"], answer.headers.get("content-disposition")
        assert said == (attached if place.settings["RECORDINGS__MODE"] == "s3" else ("text/html", None))


HOSTILE = {
    'a"b': "attachment; filename=\"a_b.mp3\"; filename*=UTF-8''a%22b.mp3",
    "a\\": "attachment; filename=\"a_.mp3\"; filename*=UTF-8''a%5C.mp3",
    "ü 1": "attachment; filename=\"_ 1.mp3\"; filename*=UTF-8''%C3%BC%201.mp3",
    "..": 'attachment; filename="...mp3"',
    "a;b=c,%2F": 'attachment; filename="a;b=c,%2F.mp3"',
    "\u2028\u202e😀": "attachment; filename=\"___.mp3\"; filename*=UTF-8''%E2%80%A8%E2%80%AE%F0%9F%98%80.mp3",
    "x" * 251: f'attachment; filename="{"x" * 251}.mp3"',
}


@own
async def test_an_odd_tag_is_a_name_and_nothing_else(api: Api, data: Data, place: Place) -> None:
    for number, (tag, attachment) in enumerate(HOSTILE.items(), 2):
        call(data, number, tag)
        place.put(f"{tag}.mp3", tag.encode())
        answer = await api.get(f"incoming-cdrs/{number}/rec", 7)
        assert (answer.status, answer.body) == (200, tag.encode())
        assert answer.headers.get("content-disposition", attachment) == attachment


IMPOSSIBLE = [
    "../8-REC",
    "/etc/passwd",
    "a/8-REC",
    "8-REC.mp3\r\nSet-Cookie: a=b\r\n",
    "a\nb",
    "a\x7f",
    "x" * 252,
    "ü" * 126,
]


@every
async def test_a_tag_that_is_no_file_name_has_no_recording(api: Api, data: Data, place: Place) -> None:
    for secret in (place.folder / "a", place.folder.parent):
        secret.mkdir(exist_ok=True)
        (secret / "8-REC.mp3").write_bytes(b"secret")
    for number, tag in enumerate(IMPOSSIBLE, 2):
        call(data, number, tag)
        answer = await api.get(f"incoming-cdrs/{number}/rec", 7)
        assert (tag, answer.status, answer.body) == (tag, 404, b"")
        assert not {"set-cookie", "x-accel-redirect", "content-disposition"} & {name.lower() for name in answer.headers}


@pytest.mark.parametrize("place", ["x-accel"], indirect=True)
async def test_the_gateway_is_told_an_odd_name_escaped(api: Api, data: Data) -> None:
    call(data, 2, 'a b%ü"\\?')
    answer = await api.get("incoming-cdrs/2/rec", 7)
    assert answer.headers["x-accel-redirect"] == "/record/a%20b%25%C3%BC%22%5C%3F.mp3"


@files
async def test_nothing_outside_the_folder_and_nothing_but_a_file_is_opened(api: Api, data: Data, place: Place) -> None:
    secret = place.folder.parent / "secret"
    secret.write_bytes(b"secret")
    (place.folder / "out.mp3").symlink_to(secret)
    (place.folder / "loop.mp3").symlink_to(place.folder / "loop.mp3")
    (place.folder / "folder.mp3").mkdir()
    os.mkfifo(place.folder / "pipe.mp3")
    (place.folder / "in.mp3").symlink_to(place.folder / "8-REC.mp3")
    found = {}
    for number, tag in enumerate(("out", "folder", "pipe", "in", "loop"), 2):
        call(data, number, tag)
        answer = await api.get(f"incoming-cdrs/{number}/rec", 7)
        found[tag] = answer.status, answer.body
    nothing = (404, b"")
    assert found == {"out": nothing, "folder": nothing, "pipe": nothing, "in": (200, AUDIO), "loop": nothing}


@files
async def test_a_file_that_cannot_be_read_is_a_500_without_a_word_of_the_path(
    api: Api, data: Data, place: Place
) -> None:
    call(data, 2, "sock")
    with socket.socket(socket.AF_UNIX) as sock:
        sock.bind(str(place.folder / "sock.mp3"))
        answer = await api.get("incoming-cdrs/2/rec", 7)
    assert answer.error == (500, "500")
    assert str(place.folder).encode() not in answer.body


@pytest.mark.parametrize("changed", [{"bucket": "nosuch"}, {"endpoint": "http://127.0.0.1:1"}])
async def test_a_bucket_that_fails_is_a_500_that_keeps_the_file_name(
    serve: Serve, data: Data, bucket: Storage, changed: dict[str, str]
) -> None:
    api = await serve(data.dsn, **bucket.settings(**changed))
    cookie = {"Cookie": f"_yeti_customer_v1_session={api.tokens.issue(7)}"}
    answer = await api.get(REC, headers=cookie)
    assert answer.error == (500, "500")
    assert answer.headers["content-type"] == "application/vnd.api+json"
    assert answer.headers["content-disposition"] == 'attachment; filename="8-REC.mp3"'
    assert "set-cookie" in answer.headers


@shown_own
async def test_a_session_that_came_by_cookie_is_renewed_with_a_recording_only(shown: Api) -> None:
    cookie = {"Cookie": f"_yeti_customer_v1_session={shown.tokens.issue(7)}"}
    assert "set-cookie" in (await shown.get(REC, headers=cookie)).headers
    assert "set-cookie" in (await shown.get(REC, headers={**cookie, "Range": "bytes=0-1"})).headers
    assert "set-cookie" not in (await shown.get("incoming-cdrs/9/rec", headers=cookie)).headers


LONG = os.urandom(2**20) * 12  # More than all the buffers on the way take.


@pytest.fixture
async def cable(bucket: Storage) -> AsyncIterator[Wire]:
    bucket.put("/record/8-LONG.mp3", LONG)
    async with wire(bucket.url) as made:
        yield made


@pytest.fixture
async def far(cable: Wire, serve: Serve, data: Data, bucket: Storage) -> Api:
    """The service, whose bucket is at the end of a wire."""
    call(data, 2, "8-LONG")
    timeouts = {"RECORDINGS__S3__READ_TIMEOUT": "0.5", "RECORDINGS__S3__POOL_SIZE": "4"}
    return await serve(data.dsn, **bucket.settings(cable.url), **timeouts)


@pytest.mark.parametrize("silent", [False, True])
async def test_a_recording_that_breaks_off_breaks_the_connection(far: Api, cable: Wire, silent: bool) -> None:
    cable.most, cable.silent = 3 * 2**20, silent
    with pytest.raises(aiohttp.ClientError):
        await far.get("incoming-cdrs/2/rec", 7)
    await cable.closed()
    cable.most = None
    assert (await far.get("incoming-cdrs/2/rec", 7)).body == LONG


async def test_a_bucket_that_keeps_silent_from_the_start_is_a_500(far: Api, cable: Wire) -> None:
    cable.most, cable.silent = 0, True
    assert (await far.get("incoming-cdrs/2/rec", 7)).error == (500, "500")


async def test_a_client_that_leaves_frees_the_buckets_connection(far: Api, cable: Wire) -> None:
    for _ in range(5):  # More often than there are connections.
        async with await listening(far) as response:
            assert await response.content.readexactly(1000) == LONG[:1000]
            await cable.used(1)
            response.close()
        await cable.closed()
    assert (await far.get("incoming-cdrs/2/rec", 7, headers={"Range": "bytes=-1"})).body == LONG[-1:]


async def test_more_listeners_than_one_customer_may_have_are_503(far: Api, cable: Wire) -> None:
    listeners = [await listening(far) for _ in range(2)]
    answer = await far.get("incoming-cdrs/2/rec", 7)
    assert (answer.error, answer.headers["retry-after"]) == ((503, "503"), "1")
    assert [await response.read() == LONG for response in listeners] == [True, True]
    assert (await far.get("incoming-cdrs/2/rec", 7)).body == LONG


async def listening(api: Api) -> aiohttp.ClientResponse:
    """An answer of which only the headers have been read."""
    url = api.client.make_url("/api/rest/customer/v1/incoming-cdrs/2/rec")
    response = await api.client.session.get(url, headers={"Authorization": api.tokens.issue(7)})
    assert response.status == 200
    return response


@files
async def test_a_file_that_becomes_shorter_on_the_way_breaks_the_connection(api: Api, data: Data, place: Place) -> None:
    call(data, 2, "8-LONG")
    place.put("8-LONG.mp3", LONG)
    async with await listening(api) as response:
        os.truncate(place.folder / "8-LONG.mp3", 10)
        with pytest.raises(aiohttp.ClientError):
            await response.read()
