"""The description of the API is valid and complete, and responses match it."""

import asyncio
import json
import os
import re
import socket
from collections.abc import Iterator
from contextlib import closing
from datetime import UTC
from functools import cache
from pathlib import Path
from typing import Any

import bcrypt
import psycopg2
import pytest
from openapi_schema_validator import OAS31Validator
from openapi_spec_validator import OpenAPIV31SpecValidator

from service.files import DOCS
from service.schemas.base import PREFIX
from service.schemas.resource import configured as resources
from service.web import openapi
from tests.conftest import Answer, Api, Data, Databases, Serve, configured
from tests.corpus import GOLDEN
from tests.example_data import ACCOUNTS, CUSTOMER, fill
from tests.storage import Storage

SPECIFICATION = openapi.document(resources(UTC, {}), configured("unused"))
RECORDED = DOCS / "examples.json"
EXAMPLES = json.loads(RECORDED.read_text())
MEDIA_TYPE = "application/vnd.api+json"
JSON = (MEDIA_TYPE, "application/json")
OF_HTTP = ("content-type", "content-length", "transfer-encoding", "date")


def operations(specification: Any) -> dict[str, tuple[str, str, Any]]:
    """Path, verb and description by the operation's name."""
    return {
        operation["operationId"]: (path, verb, operation)
        for path, item in specification["paths"].items()
        for verb, operation in item.items()
        if verb in ("get", "head", "post", "delete")
    }


OPERATIONS = operations(SPECIFICATION)


@pytest.fixture(scope="module")
def filled(postgres: Databases, prepared: str) -> Iterator[Data]:
    """Only read, so all tests share it."""
    data = fill(postgres, prepared)
    digest = bcrypt.hashpw(b"x", bcrypt.gensalt(4)).decode()
    data.execute("UPDATE sys.api_access SET password_digest = %s", (digest,))
    yield data
    postgres.drop(data.name)


@pytest.fixture(scope="module")
async def shown(shared_serve: Serve, filled: Data) -> Api:
    """The service on the rows of the examples."""
    return await shared_serve(filled.dsn)


def resolved(node: Any, specification: Any = SPECIFICATION) -> Any:
    """What a reference points to."""
    while "$ref" in node:
        found = specification
        for name in node["$ref"].removeprefix("#/").split("/"):
            found = found[name]
        node = found
    return node


def valid(instance: Any, schema: Any, specification: Any = SPECIFICATION) -> None:
    """Whether it fits a schema of the specification, formats included."""
    rooted = {**schema, "components": specification["components"]}
    OAS31Validator(rooted, format_checker=OAS31Validator.FORMAT_CHECKER).validate(instance)


def described(name: str, answer: Answer, specification: Any = SPECIFICATION) -> None:
    """Whether the answer is as the specification says: the status, each header, and the body."""
    _, verb, operation = operations(specification)[name]
    response = resolved(operation["responses"][str(answer.status)], specification)
    known = {name: resolved(header, specification) for name, header in response["headers"].items()}
    for name, header in known.items():
        assert name in answer.headers or not header["required"], name
        if name in answer.headers:
            valid(answer.headers[name], header["schema"])
    assert {name.lower() for name in answer.headers} <= {*known, *OF_HTTP}
    if "content" in response and verb != "head":
        content = content_of(response, answer)
        if "schema" in content:
            valid(body_of(answer), content["schema"], specification)
    else:
        assert answer.body == b""


def content_of(response: Any, answer: Answer) -> Any:
    """What is said of the answer's media type, with its parameters or else without them."""
    type_ = answer.headers["content-type"]
    return response["content"].get(type_) or response["content"][type_.partition(";")[0]]


def body_of(answer: Answer) -> Any:
    """A document or a text."""
    return answer.json if answer.headers["content-type"].startswith(JSON) else answer.body.decode()


def bad_requests() -> Iterator[Any]:
    """Each refusal of an operation that is made by its path and query alone."""
    for name, (path, verb, operation) in OPERATIONS.items():
        for status, response in operation["responses"].items():
            if verb == "get" and status in ("400", "404") and "$ref" not in response:
                for content in response["content"].values():
                    for label, example in content.get("examples", {}).items():
                        yield pytest.param(name, path, status, example, id=f"{name}-{label}")


def test_it_is_openapi_3_1() -> None:
    OpenAPIV31SpecValidator(SPECIFICATION).validate()


def test_every_example_fits_its_schema() -> None:
    found = [
        (example["value"], content["schema"])
        for _, _, operation in OPERATIONS.values()
        for response in map(resolved, operation["responses"].values())
        for content in response.get("content", {}).values()
        for example in content.get("examples", {}).values()
    ]
    assert len(found) > 100
    for value, schema in found:
        valid(value, schema)


@pytest.mark.parametrize("type_", ["incoming-cdrs", "cdrs", "accounts"])
def test_every_filter_is_a_parameter(type_: str) -> None:
    names = [parameter.get("name", "") for parameter in SPECIFICATION["paths"][f"/{type_}"]["parameters"]]
    filters = [name.removeprefix("filter[").removesuffix("]") for name in names if name.startswith("filter[")]
    assert filters == list(resources(UTC, {})[type_].filters)


@pytest.mark.parametrize("type_", ["incoming-cdrs", "cdrs", "accounts"])
def test_every_column_is_described_as_null_where_it_may_be(type_: str) -> None:
    resource = resources(UTC, {})[type_]
    shown = SPECIFICATION["components"]["schemas"][f"{type_}-attributes"]["properties"]
    assert [name for name, schema in shown.items() if "null" not in schema["type"]] == [
        name.replace("_", "-") for name, field in resource.attributes.items() if not field.allow_none
    ]
    assert list(shown) == [name.replace("_", "-") for name in resource.attributes]


@pytest.mark.parametrize("name", EXAMPLES)
async def test_a_recorded_example_is_what_is_answered(shown: Api, name: str) -> None:
    """With RECORD_EXAMPLES set, it is recorded anew instead."""
    recorded, operation = EXAMPLES[name], name.partition("/")[0]
    answer = await shown.get(recorded["path"], CUSTOMER, headers={"Accept": recorded.get("accept", MEDIA_TYPE)})
    if os.environ.get("RECORD_EXAMPLES"):
        recorded["body"] = body_of(answer)
        RECORDED.write_text(json.dumps(EXAMPLES, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    assert body_of(answer) == recorded["body"]
    described(operation, answer)
    (example,) = content_of(OPERATIONS[operation][2]["responses"]["200"], answer)["examples"].values()
    assert body_of(answer) == example["value"] or os.environ.get("RECORD_EXAMPLES")


def test_every_document_has_a_recorded_example() -> None:
    documents = {
        name
        for name, (_, verb, operation) in OPERATIONS.items()
        if verb == "get" and MEDIA_TYPE in operation["responses"]["200"]["content"]
    }
    assert documents == {name.partition("/")[0] for name in EXAMPLES}


@pytest.mark.parametrize("name", [name for name in OPERATIONS if name.startswith("list") and "Head" not in name])
def test_every_way_to_read_a_list_has_a_recorded_example(name: str) -> None:
    content = OPERATIONS[name][2]["responses"]["200"]["content"]
    assert [len(media_type["examples"]) for media_type in content.values()] == [1, 1, 1, 1]


@pytest.mark.parametrize(("name", "path", "status", "example"), list(bad_requests()))
async def test_a_refusal_is_what_is_answered(shown: Api, name: str, path: str, status: str, example: Any) -> None:
    summary = example["summary"]
    identifier = ACCOUNTS[101] if path.startswith("/accounts") else "902"
    target = f"{path.format(id=identifier)}{summary}".replace("ACCOUNT", ACCOUNTS[101])
    if summary.startswith("/"):
        target = path.replace(path[: path.find("}") + 1], summary)
    answer = await shown.get(target.removeprefix("/"), CUSTOMER)
    assert (str(answer.status), answer.json) == (status, example["value"])
    described(name, answer)


def test_every_document_that_the_reference_answered_fits_its_schema() -> None:
    """The recorded corpus, which the service answers with the same bytes."""
    patterns = {
        name: re.compile(PREFIX + path.replace("{id}", "[^/]+"))
        for name, (path, verb, _) in OPERATIONS.items()
        if verb == "get"
    }
    fitting = 0
    for line in (GOLDEN / "golden_dev.jsonl").read_text(encoding="utf-8").strip().split("\n"):
        pair = json.loads(line)
        path = pair["path"].partition("?")[0]
        name = next((name for name, pattern in patterns.items() if pattern.fullmatch(path)), None)
        if name and pair["method"] == "GET" and pair.get("body"):
            validator(name, str(pair["status"])).validate(json.loads(pair["body"]))
            fitting += 1
    assert fitting > 1500


@cache
def validator(operation: str, status: str) -> OAS31Validator:
    content = resolved(OPERATIONS[operation][2]["responses"][status])["content"][MEDIA_TYPE]
    rooted = {**content["schema"], "components": SPECIFICATION["components"]}
    return OAS31Validator(rooted, format_checker=OAS31Validator.FORMAT_CHECKER)


STATISTIC = f"?account-id={ACCOUNTS[101]}&from-time=2026-03-02&to-time=2026-03-02T12:00&sampling=5minutes"
FUTURE = STATISTIC.replace("2026-03-02&", "2999-01-01&")  # Every minute, there is more quality to tell of the past.
READS = {name: found for name, found in OPERATIONS.items() if found[1] in ("get", "head")}
PATHS = {
    name: path.format(id=ACCOUNTS[101] if path.startswith("/accounts") else "902").removeprefix("/")
    + (FUTURE if "quality" in path else STATISTIC if "statistics" in path else "")
    for name, (path, _, _) in READS.items()
}
METHODS = {name: verb.upper() for name, (_, verb, _) in READS.items()}


@pytest.mark.parametrize("name", READS)
async def test_every_operation_answers_as_described(shown: Api, name: str) -> None:
    answer = await shown.get(PATHS[name], CUSTOMER, method=METHODS[name])
    assert answer.status == 200
    described(name, answer)
    if "etag" in answer.headers:
        known = {"If-None-Match": answer.headers["etag"]}
        again = await shown.get(PATHS[name], CUSTOMER, method=METHODS[name], headers=known)
        assert again.status == 304
        described(name, again)


@pytest.mark.parametrize("name", READS)
async def test_only_what_describes_the_rest_is_open_to_everybody(shown: Api, name: str) -> None:
    answer = await shown.get(PATHS[name], method=METHODS[name], headers={"Authorization": "x"})
    assert answer.status == (200 if OPERATIONS[name][2].get("security") == [] else 401)
    described(name, answer)


LOGIN = {"login": f"login {CUSTOMER}", "password": "x"}


@pytest.mark.parametrize(
    ("body", "status"),
    [
        ({"auth": LOGIN}, 201),
        ({"auth": {**LOGIN, "cookie_auth": True}}, 201),
        ({"auth": {**LOGIN, "password": "y"}}, 401),
        ({}, 400),
    ],
)
async def test_a_login_is_as_described(shown: Api, body: Any, status: int) -> None:
    answer = await shown.get("auth", method="POST", json=body)
    assert answer.status == status
    if "cookie_auth" in body.get("auth", {}):
        assert (answer.body, "content-type" in answer.headers) == (b"", False)
        return
    described("logIn", answer)
    (example,) = content_of(OPERATIONS["logIn"][2]["responses"][str(status)], answer)["examples"].values() or ({},)
    assert status == 201 or answer.json == example["value"]


async def test_too_many_failed_logins_are_as_described(serve: Serve, filled: Data) -> None:
    api = await serve(filled.dsn, AUTH__FAILED_LOGINS="1")
    for status in (401, 429):
        answer = await api.get("auth", method="POST", json={"auth": {"login": "nobody", "password": "y"}})
        assert answer.status == status
        described("logIn", answer)


async def test_a_logout_is_as_described(shown: Api) -> None:
    answer = await shown.get("auth", method="DELETE")
    assert answer.status == 204
    described("logOut", answer)


async def test_what_another_service_answers_is_not_described(serve: Serve, filled: Data) -> None:
    api = await serve(filled.dsn, AUTH__LOGIN="false")
    paths = (await api.get("openapi.json")).json["paths"]
    assert "/auth" not in paths
    assert "/origination-statistics" in paths


async def test_a_renewed_cookie_is_described(shown: Api) -> None:
    cookie = f"_yeti_customer_v1_session={shown.tokens.issue(CUSTOMER)}"
    answer = await shown.get("cdrs/902", headers={"Cookie": cookie})
    assert "set-cookie" in answer.headers
    described("getCdr", answer)


def example(status: str, name: str = "refused") -> Any:
    """An example of a response that all operations share."""
    return SPECIFICATION["components"]["responses"][status]["content"][MEDIA_TYPE]["examples"][name]["value"]


def same(answer: Answer, status: int, name: str = "refused") -> None:
    assert (answer.status, answer.json) == (status, example(str(status), name))
    described("listCdrs", answer)


async def test_the_shared_refusals_are_what_is_answered(shown: Api) -> None:
    same(await shown.get("cdrs"), 401)
    same(await shown.get("cdrs", CUSTOMER, headers={"Accept": "text/html"}), 406)
    missing = await shown.get("docs/nosuch", CUSTOMER)
    assert (missing.status, missing.json) == (404, example("404"))
    described("getDocs", missing)


async def test_a_database_that_does_not_answer_is_as_described(serve: Serve) -> None:
    api = await serve("host=127.0.0.1 port=1", LOG__LEVEL="error")
    same(await api.get("cdrs", CUSTOMER), 503, "unavailable")


async def test_too_much_to_do_is_as_described(serve: Serve, data: Data) -> None:
    data.customer(CUSTOMER)
    api = await serve(data.dsn, OVERLOAD__CONCURRENCY="1", OVERLOAD__QUEUE="0")
    with data.locked("billing.accounts"):
        slow = asyncio.create_task(api.get("accounts", CUSTOMER))
        await data.blocked(1)
        same(await api.get("cdrs", CUSTOMER), 503, "busy")
    described("listAccounts", await slow)


@pytest.mark.parametrize("path", ["cdrs", "cdrs?page[after]=", "cdrs?format=csv", "cdrs?sort=x"])
async def test_a_rate_limit_and_timings_are_as_described(serve: Serve, filled: Data, path: str) -> None:
    api = await serve(filled.dsn, RATE_LIMIT__REQUESTS="1", RATE_LIMIT__PERIOD="20", LISTEN__SERVER_TIMING="true")
    answer = await api.get(path, CUSTOMER)
    assert answer.status in (200, 400)
    for name in ("ratelimit-limit", "ratelimit-remaining", "ratelimit-reset", "server-timing"):
        assert name in answer.headers
    described("listCdrs", answer)
    refused = await api.get(path, CUSTOMER)
    assert refused.status == 429
    assert refused.json["errors"][0] | {"detail": ""} == example("429")["errors"][0] | {"detail": ""}
    described("listCdrs", refused)


@pytest.mark.parametrize(
    "query", ["page[after]=", "page[before]=&page[size]=1", "page[after]=&page[before]=&page[size]=1"]
)
async def test_pages_by_cursors_are_as_described(shown: Api, query: str) -> None:
    for accept in (MEDIA_TYPE, f'{MEDIA_TYPE}; profile="http://jsonapi.org/profiles/ethanresnick/cursor-pagination/"'):
        for total in ("", "&page[total]=true"):
            path = f"incoming-cdrs?filter[time_start_gteq]=2026-03-01&{query}{total}"
            answer = await shown.get(path, CUSTOMER, headers={"Accept": accept})
            assert "cursor" in answer.json["data"][0]["meta"]["page"]
            described("listIncomingCdrs", answer)


async def test_an_order_that_cursors_cannot_have_is_as_described(serve: Serve, filled: Data) -> None:
    api = await serve(filled.dsn, RESOURCES__OUTGOING_CDR_HIDE_FIELDS='["customer_price"]')
    answer = await api.get("cdrs?page[after]=&sort=customer-price", CUSTOMER)
    assert answer.json["errors"][0]["links"]["type"]
    described("listCdrs", answer)


@pytest.mark.parametrize("format_", ["csv", "ndjson"])
@pytest.mark.parametrize("encoding", ["gzip", "identity"])
@pytest.mark.parametrize("method", ["GET", "HEAD"])
async def test_tables_are_as_described(shown: Api, format_: str, encoding: str, method: str) -> None:
    query = "filter[time_start_gteq]=2026-03-01&filter[time_start_lt]=2026-03-10&count=true"
    path, accepted = f"cdrs?{query}&format={format_}", {"Accept-Encoding": encoding}
    answer = await shown.get(path, CUSTOMER, method=method, headers=accepted)
    assert answer.headers["x-total-count"] == "2"
    assert answer.headers.get("content-encoding", "identity") == encoding
    described("listCdrs" if method == "GET" else "listCdrsHead", answer)


SOUND = bytes(range(256))
TAKEN: list[tuple[int, dict[str, str]]] = [
    (200, {}),
    (206, {"Range": "bytes=1-9"}),
    (416, {"Range": "bytes=999-"}),
    (304, {"If-None-Match": "*"}),
]


def recordings(mode: str, folder: Path, bucket: Storage) -> dict[str, str]:
    """Settings of a mode in which only call 902 has its recording."""
    if mode == "s3":
        bucket.put("/record/8-1A2B3C4D.mp3", SOUND)
        return bucket.settings()
    (folder / "8-1A2B3C4D.mp3").write_bytes(SOUND)
    return {"RECORDINGS__MODE": mode} | ({"RECORDINGS__DIRECTORY": str(folder)} if mode == "directory" else {})


@pytest.mark.parametrize("mode", ["x-accel", "directory", "s3"])
async def test_recordings_are_as_described(
    serve: Serve, filled: Data, tmp_path: Path, bucket: Storage, mode: str
) -> None:
    api = await serve(filled.dsn, **recordings(mode, tmp_path, bucket))
    specification = (await api.get("openapi.json")).json
    for status, asked in TAKEN:
        if mode == "s3" and status == 304:
            asked = {"If-None-Match": (await api.get("cdrs/902/rec", CUSTOMER)).headers["etag"]}
        answer = await api.get("cdrs/902/rec", CUSTOMER, headers=asked)
        assert answer.status == (200 if mode == "x-accel" else status)
        described("getCdrRecording", answer, specification)
    missing = await api.get("cdrs/901/rec", CUSTOMER, headers={"Accept": "audio/mpeg"})
    assert (missing.status, missing.body) == (404, b"")
    described("getCdrRecording", missing, specification)


@pytest.mark.parametrize("mode", ["directory", "s3"])
async def test_recordings_that_cannot_be_read_are_as_described(
    serve: Serve, filled: Data, tmp_path: Path, bucket: Storage, mode: str
) -> None:
    known = recordings(mode, tmp_path, bucket)
    file = tmp_path / "8-1A2B3C4D.mp3"
    file.unlink(missing_ok=True)
    api = await serve(filled.dsn, **known | ({"RECORDINGS__S3__BUCKET": "nosuch"} if mode == "s3" else {}))
    with socket.socket(socket.AF_UNIX) as unreadable:
        unreadable.bind(str(file))
        answer = await api.get("cdrs/902/rec", CUSTOMER)
    assert answer.status == 500
    described("getCdrRecording", answer, (await api.get("openapi.json")).json)


async def test_a_query_that_takes_too_long_is_as_described(serve: Serve, data: Data) -> None:
    data.customer(CUSTOMER)
    api = await serve(data.dsn, DATABASES__STATEMENT_TIMEOUT="0.2")
    with closing(psycopg2.connect(data.dsn)) as connection, connection.cursor() as cursor:
        cursor.execute("LOCK TABLE cdr.cdr")
        same(await api.get("cdrs", CUSTOMER), 504)


async def test_a_database_without_a_column_is_no_unexpected_failure(serve: Serve, data: Data) -> None:
    data.customer(CUSTOMER)
    data.execute("ALTER TABLE cdr.cdr RENAME COLUMN local_tag TO tag")
    api = await serve(data.dsn)
    assert (await api.get("cdrs", CUSTOMER)).error == (503, "503")


async def test_what_is_hidden_is_not_described(serve: Serve, filled: Data) -> None:
    api = await serve(filled.dsn, RESOURCES__OUTGOING_CDR_HIDE_FIELDS='["src_name_in", "account"]')
    specification = (await api.get("openapi.json")).json
    members = specification["components"]["schemas"]["cdrs"]["properties"]
    assert "src-name-in" not in specification["components"]["schemas"]["cdrs-attributes"]["properties"]
    assert "relationships" not in members
    listed = specification["paths"]["/cdrs"]["get"]["responses"]["200"]["content"]
    assert "relationships" not in specification["components"]["schemas"]["cdrs-placed"]["properties"]
    assert [len(media_type["examples"]) for media_type in listed.values()] == [1, 1, 0, 0]
    content = specification["paths"]["/cdrs/{id}"]["get"]["responses"]["200"]["content"]
    answer = await api.get("cdrs/902", CUSTOMER)
    assert content[MEDIA_TYPE]["examples"]["recorded"]["value"] == answer.json
