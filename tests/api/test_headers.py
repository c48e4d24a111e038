"""Headers of all responses, and the effect of request headers (contract 10, 11, D7, D11, D14)."""

import re

import pytest

from service.web.responses import SECURITY
from tests.conftest import Answer, Api, Data

LISTENED = "incoming-cdrs/1/rec"


RECORDED = {"vendor_id": 7, "customer_id": 7, "audio_recorded": True, "local_tag": "a b%ü"}


@pytest.fixture(scope="module")
def api(shared_api: Api, shared_data: Data) -> Api:
    """The service with a call that has a recording, and one that has none."""
    shared_data.customer(7, may_listen=True)
    shared_data.call(1, **RECORDED, duration=5)
    shared_data.call(3, **RECORDED)
    return shared_api


ANSWERS = {
    "incoming-cdrs/1": 200,
    "incoming-cdrs": 200,
    "incoming-cdrs?sort=x": 400,
    "incoming-cdrs/2": 404,
    "/nowhere": 404,
    "/": 404,
    LISTENED: 200,
    "incoming-cdrs/1/rec/x": 404,
}


@pytest.mark.parametrize("path", ANSWERS)
@pytest.mark.parametrize("method", ["GET", "HEAD"])
async def test_every_answer_is_safe_and_named(api: Api, path: str, method: str) -> None:
    answer = await api.get(path, 7, method=method)
    assert answer.status == ANSWERS[path]
    assert {name: answer.headers.get(name) for name in SECURITY} == SECURITY
    assert re.fullmatch(r"\d+\.\d{6}", answer.headers["x-runtime"])
    assert answer.headers.getall("x-request-id") == [answer.headers["x-request-id"]]
    assert "server" not in answer.headers


@pytest.mark.parametrize("path", ANSWERS)
async def test_head_is_get_without_a_body(api: Api, path: str) -> None:
    get, head = await api.get(path, 7), await api.get(path, 7, method="HEAD")
    assert head.body == b""
    assert lasting(head) == lasting(get)


def lasting(answer: Answer) -> dict[str, str]:
    """The headers that do not change from one request to the next; a length of nothing may be left out."""
    changing = ("x-request-id", "x-runtime", "date")
    lengthless = {
        name.lower(): value for name, value in answer.headers.items() if (name, value) != ("Content-Length", "0")
    }
    return {name: value for name, value in lengthless.items() if name not in changing}


@pytest.mark.parametrize(
    ("given", "echoed"),
    [("abc-1_@Z", "abc-1_@Z"), ("a b<c>;d", "abcd"), ("é!", ""), ("x" * 300, "x" * 255)],
)
async def test_the_clients_request_id_is_cleaned_and_echoed(api: Api, given: str, echoed: str) -> None:
    assert (await api.get("/nowhere", headers={"X-Request-Id": given})).headers["x-request-id"] == echoed


@pytest.mark.parametrize("given", [None, "  "])
async def test_without_a_request_id_there_is_a_new_uuid(api: Api, given: str | None) -> None:
    answers = [await api.get("/nowhere", headers={"X-Request-Id": given}) for _ in range(2)]
    first, second = (answer.headers["x-request-id"] for answer in answers)
    assert re.fullmatch(r"[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}", first)
    assert first != second


@pytest.mark.parametrize("method", ["POST", "PUT", "PATCH", "DELETE", "OPTIONS"])
@pytest.mark.parametrize("path", ["incoming-cdrs", "cdrs/1", "accounts", "/nowhere"])
async def test_other_verbs_are_not_routed_and_ask_for_no_token(api: Api, method: str, path: str) -> None:
    answer = await api.get(path, method=method)
    assert (answer.status, answer.headers["content-type"]) == (404, "application/vnd.api+json")
    assert answer.json["errors"] == [{"title": "Not Found", "detail": "Not Found", "code": "404", "status": "404"}]


@pytest.mark.parametrize(
    "path",
    [
        "Incoming-Cdrs",
        "incoming_cdrs",
        "cdrs.json",
        "cdrs/1/account.json",
        "cdrs/1/rec.mp3",
        "cdrs/1/relationships",
        "cdrs/1/foo",
        "accounts/x",
        "accounts/00000000000040008000000000000001",
        "accounts/00000000-0000-4000-8000-000000000001/rec",
        "/api/rest/customer/v2/cdrs",
    ],
)
async def test_what_is_not_a_path_is_not_found_without_a_token(api: Api, path: str) -> None:
    assert (await api.get(path)).status == 404


@pytest.mark.parametrize("path", ["incoming-cdrs/1/", "/api//rest/customer/v1//incoming-cdrs/1", "incoming-cdrs/%31"])
async def test_slashes_and_escapes_do_not_matter(api: Api, path: str) -> None:
    assert (await api.get(path, 7)).json["data"]["id"] == "1"


ACCEPTED = [
    None,
    "",
    "*/*",
    "application/*",
    "application/json, text/plain, */*",
    "application/vnd.api+json",
    "APPLICATION/VND.API+JSON;Q=0.1",
    'application/vnd.api+json; profile="a, b"',
    "text/html, , application/vnd.api+json;ext=x",
    "text/html, image/gif, image/jpeg, *; q=.2, */*; q=.2",
    "application/vnd.api+json;q=.8",
    "application/vnd.api+json ; q=0.5000 ;",
    "<b>, foo, application/*;q=2, application/vnd.api+json",
    'text/html;x=", */*',
]
REFUSED = [
    "application/json",
    "text/*",
    "application/vnd.api+json;charset=utf-8",
    "application/vnd.api+json;q=0",
    "application/vnd.api+json;q=0, */*",
    "*/*;q=0.000",
    "application/vnd.api+json;q=2",
    "foo",
    "<b>",
    "*; q=.2",
    "*/*;q=.0, foo",
    "application/vnd.api+json;q=, application/*;q=1.5, */*;q=-1",
    "text/html" + 5000 * " " + ", */*",
]


@pytest.mark.parametrize("accept", ACCEPTED)
@pytest.mark.parametrize("path", ["incoming-cdrs", "incoming-cdrs/1/relationships/account", "accounts"])
async def test_who_takes_json_api_gets_it(api: Api, path: str, accept: str | None) -> None:
    answer = await api.get(path, 7, headers={"Accept": accept}, skip_auto_headers=["Accept"])
    assert (answer.status, answer.headers["content-type"]) == (200, "application/vnd.api+json")
    assert answer.headers["vary"] == "Accept"


@pytest.mark.parametrize("accept", REFUSED)
async def test_who_does_not_take_it_is_told_so(api: Api, accept: str) -> None:
    answer = await api.get("incoming-cdrs/1", 7, headers={"Accept": accept})
    assert answer.error == (406, "406")
    assert answer.json["errors"][0]["detail"].endswith(f"This request specified '{accept}'.")
    assert answer.headers["vary"] == "Accept"


@pytest.mark.parametrize("query", ["%", "format=xml", "%ff=1", "format=csv&filter=1"])
@pytest.mark.parametrize("path", ["incoming-cdrs", "accounts"])
async def test_the_accept_header_is_read_before_the_query(api: Api, path: str, query: str) -> None:
    status = 406 if "csv" not in query else 400
    assert (await api.get(f"{path}?{query}&a=%20", 7, headers={"Accept": "image/png"})).status == status
    assert (await api.get(f"{path}?{query}&a=%20", 7)).status == 400


@pytest.mark.parametrize("tail", ["", "/account", "/relationships/account", "/rec"])
@pytest.mark.parametrize("identifier", ["%ff", "1%C3", "%ED%A0%80"])
async def test_a_path_that_is_no_utf_8_is_a_bad_request(api: Api, identifier: str, tail: str) -> None:
    answer = await api.get(f"cdrs/{identifier}{tail}", 7)
    assert answer.json["errors"] == [
        {"title": "Bad Request", "detail": "The path is not valid UTF-8.", "code": "400", "status": "400"}
    ]


async def test_a_token_is_asked_for_before_the_accept_header_is_read(api: Api) -> None:
    assert (await api.get("incoming-cdrs/1", headers={"Accept": "text/html"})).status == 401


def matches(answer: Answer) -> list[str]:
    strong = answer.headers["etag"].removeprefix("W/")
    return [answer.headers["etag"], strong, f'"x", W/{strong}', "*", f' W/{strong} , "y"']


@pytest.mark.parametrize("path", ["incoming-cdrs/1", "incoming-cdrs", "accounts"])
async def test_a_matching_tag_in_any_form_answers_304(api: Api, path: str) -> None:
    full = await api.get(path, 7)
    for tag in matches(full):
        answer = await api.get(path, 7, headers={"If-None-Match": tag})
        assert (answer.status, answer.body) == (304, b"")
        assert answer.headers["cache-control"] == full.headers["cache-control"]
        assert answer.headers["vary"] == "Accept"
        assert not {"content-type", "content-length"} & {name.lower() for name in answer.headers}
    assert (await api.get(path, 7, headers={"If-None-Match": 'W/"x"'})).status == 200


async def test_a_recording_is_named_safely_and_only_there(api: Api) -> None:
    answer = await api.get(LISTENED, 7, headers={"Accept": "audio/mpeg"})
    assert (answer.status, answer.body, answer.headers["content-type"]) == (200, b"", "audio/mpeg")
    assert answer.headers["x-accel-redirect"] == "/record/a%20b%25%C3%BC.mp3"
    assert not {"vary", "etag", "content-disposition"} & {name.lower() for name in answer.headers}


@pytest.mark.parametrize(
    ("accept", "echoed"),
    [
        ("*/*", "text/html"),
        ("application/vnd.api+json", "application/vnd.api+json"),
        ("audio/mpeg, application/json", "audio/mpeg"),
        ("foo/bar", "text/html"),
        ("<b>", "text/html"),
    ],
)
async def test_without_a_recording_the_answer_is_empty(api: Api, accept: str, echoed: str) -> None:
    answer = await api.get("incoming-cdrs/3/rec", 7, headers={"Accept": accept})
    assert (answer.status, answer.body, answer.headers["content-type"]) == (404, b"", echoed)
    assert "x-accel-redirect" not in answer.headers
