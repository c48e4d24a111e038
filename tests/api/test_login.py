"""POST, GET and DELETE /auth: the contract's table, refused requests, and information that is never disclosed."""

import asyncio
import io
import json
from http.cookies import SimpleCookie
from itertools import count
from signal import SIGTERM
from typing import Any
from urllib.error import HTTPError
from urllib.parse import urlencode
from urllib.request import Request, urlopen

import bcrypt
import pytest

from service.auth.tokens import DynamicClaims
from tests.conftest import SECRET, Answer, Api, Data, Serve
from tests.load import Connection
from tests.programs import on_database, serving

PLAIN = "application/json; charset=utf-8"
JSON_API = "application/vnd.api+json"
REFUSED = {
    "errors": [
        {
            "title": "Authentication failed",
            "detail": "Incorrect login or password.",
            "code": "401",
            "status": "401",
        }
    ]
}
CASTS = {"allowed_ips": "::inet[]"}
COOKIE = "_yeti_customer_v1_session"
IDS = count(20)  # Of customers that tests add to the shared database.


def digest(password: str | bytes, cost: int = 4, version: str = "2a") -> str:
    text = password if isinstance(password, bytes) else password.encode()
    written = bcrypt.hashpw(text[:72], bcrypt.gensalt(cost)).decode()
    return f"${version}{written[3:]}"


def login(data: Data, id: int, name: str, password: str, **values: Any) -> None:
    """A customer of its own with a login."""
    data.customer(id)
    known = {"login": name, "password_digest": digest(password), **values}
    assignments = ", ".join(f"{column} = %s{CASTS.get(column, '')}" for column in known)
    data.execute(f"UPDATE sys.api_access SET {assignments} WHERE id = {id}", tuple(known.values()))


async def log_in(api: Api, name: Any, password: Any, *, headers: dict[str, str] | None = None, **more: Any) -> Answer:
    body = json.dumps({"auth": {"login": name, "password": password, **more}})
    known = {"Content-Type": "application/json", "Accept": "*/*", **(headers or {})}
    return await api.get("auth", method="POST", data=body, headers=known)


def claims(answer: Answer) -> Any:
    from jose import jwt

    return jwt.get_unverified_claims(answer.json["jwt"])


def fill(data: Data) -> None:
    login(data, 7, "ann", "correct horse")
    data.call(1, customer_id=7)


@pytest.fixture
def known(data: Data) -> Data:
    fill(data)
    return data


@pytest.fixture(scope="module")
async def shown(shared_serve: Serve, shared_data: Data) -> Api:
    """The service with more logins that fail, and without limits of failures."""
    fill(shared_data)
    login(shared_data, 8, "broken", "x", password_digest="")
    login(shared_data, 9, "elsewhere", "correct horse", allowed_ips=["192.0.2.0/24"])
    login(shared_data, 10, "nowhere", "correct horse", allowed_ips=[])
    return await shared_serve(shared_data.dsn, AUTH__FAILED_LOGINS="1000", AUTH__FAILED_LOGINS_BY_ADDRESS="1000")


async def test_a_login_gives_a_token_that_lists(api: Api, known: Data) -> None:
    answer = await log_in(api, "ann", "correct horse")
    assert (answer.status, answer.headers["content-type"]) == (201, PLAIN)
    assert answer.json.keys() == {"jwt"}
    assert {name: value for name, value in claims(answer).items() if name != "exp"} == {
        "aud": ["customer-v1"],
        "sub": 7,
    }
    assert (await api.get("cdrs", headers={"Authorization": answer.json["jwt"]})).ids == ["1"]
    assert answer.headers["cache-control"] == "no-store"
    assert "etag" not in answer.headers


async def test_a_token_without_lifetime_has_no_end(serve: Serve, known: Data) -> None:
    api = await serve(known.dsn, AUTH__TOKEN_LIFETIME="")
    assert claims(await log_in(api, "ann", "correct horse")) == {"aud": ["customer-v1"], "sub": 7}
    cookie = await log_in(api, "ann", "correct horse", cookie_auth=True)
    assert "expires" not in cookie.headers["set-cookie"]


@pytest.mark.parametrize("asked", [True, 1, 0, "false", "0", [], {}])
async def test_a_cookie_is_set_where_it_is_asked_for(shown: Api, asked: Any) -> None:
    answer = await log_in(shown, "ann", "correct horse", cookie_auth=asked)
    assert (answer.status, answer.body) == (201, b"")
    cookie = answer.headers["set-cookie"]
    parts = cookie.split("; ")
    assert parts[0].startswith(f"{COOKIE}=")
    assert parts[1] == "path=/"
    assert parts[2].startswith("expires=")
    assert parts[3:] == ["httponly", "samesite=lax"]
    listed = await shown.get("cdrs", headers={"Cookie": parts[0]})
    assert listed.ids == ["1"]
    assert COOKIE in listed.headers["set-cookie"]


@pytest.mark.parametrize("asked", [None, False, ""])
async def test_a_token_is_given_where_no_cookie_is_asked_for(shown: Api, asked: Any) -> None:
    answer = await log_in(shown, "ann", "correct horse", cookie_auth=asked)
    assert answer.status == 201
    assert "jwt" in answer.json
    assert "set-cookie" not in answer.headers


@pytest.mark.parametrize("accept", ["text/html", "application/json", "nonsense", JSON_API, None])
@pytest.mark.parametrize("type_", ["application/json", "application/json; charset=utf-8", JSON_API])
async def test_accept_does_not_matter(shown: Api, accept: str, type_: str) -> None:
    headers = {"Accept": accept, "Content-Type": type_}
    answer = await log_in(shown, "ann", "correct horse", headers=headers)  # type: ignore[arg-type] # None leaves it out
    assert (answer.status, answer.headers["content-type"]) == (201, PLAIN)


async def test_a_form_logs_in(shown: Api) -> None:
    form = {"auth[login]": "ann", "auth[password]": "correct horse"}
    answer = await shown.get("auth", method="POST", data=form)
    assert answer.status == 201
    assert "jwt" in answer.json
    answer = await shown.get("auth", method="POST", data={**form, "auth[cookie_auth]": "false"})
    assert answer.status == 201
    assert COOKIE in answer.headers["set-cookie"]


@pytest.mark.parametrize(
    ("name", "password"),
    [
        ("ann", "wrong"),
        ("ann", ""),
        ("ann", "correct horse\0"),
        ("ann", "correct horse\0more"),
        ("nobody", "correct horse"),
        ("", ""),
        ("Ann", "correct horse"),
        ("ann ", "correct horse"),
        ("ann\0", "correct horse"),
        ("a'nn\\%", "correct horse"),
        ("broken", ""),
        ("broken", "broken"),
        ("elsewhere", "correct horse"),
        ("nowhere", "correct horse"),
    ],
)
async def test_every_failure_has_one_answer(shown: Api, name: str, password: str) -> None:
    answer = await log_in(shown, name, password)
    assert (answer.status, answer.headers["content-type"], answer.json) == (401, PLAIN, REFUSED)
    assert "set-cookie" not in answer.headers


@pytest.mark.parametrize("cost", range(4, 13))
async def test_digests_of_every_cost_are_read(shown: Api, shared_data: Data, cost: int) -> None:
    name = f"cost {cost}"
    login(shared_data, next(IDS), name, "", password_digest=digest("pass", cost))
    assert (await log_in(shown, name, "pass")).status == 201
    assert (await log_in(shown, name, "password")).status == 401


@pytest.mark.parametrize("version", ["2a", "2b", "2y"])
@pytest.mark.parametrize("password", ["пароль", "密码🔑", "a b\tc", "ß" * 36, "x" * 72, "é" + "x" * 70])
async def test_digests_of_every_version_and_text_are_read(
    shown: Api, shared_data: Data, version: str, password: str
) -> None:
    name = f"{version} {password}"
    login(shared_data, next(IDS), name, "", password_digest=digest(password, version=version))
    assert (await log_in(shown, name, password)).status == 201
    assert (await log_in(shown, name, password[1:])).status == 401


async def test_bcrypt_reads_72_bytes(api: Api, data: Data) -> None:
    login(data, 7, "ann", "x" * 71 + "é")
    assert (await log_in(api, "ann", "x" * 71 + "é" + "whatever")).status == 201
    assert (await log_in(api, "ann", "x" * 71)).status == 401


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{}",
        b"[]",
        b"null",
        b'"auth"',
        b"17",
        b"{",
        b"\xff",
        b'{"auth":null}',
        b'{"auth":[]}',
        b'{"auth":"ann"}',
        b'{"auth":{}}',
        b'{"auth":{"login":"ann"}}',
        b'{"auth":{"password":"x"}}',
        b'{"auth":{"login":1,"password":"x"}}',
        b'{"auth":{"login":"ann","password":null}}',
        b'{"auth":{"login":["ann"],"password":{"a":1}}}',
        b'{"auth":{"login":true,"password":1.5}}',
        b'{"auth":{"login":"\\ud800","password":"x"}}',
        b'{"auth":{"login":"ann","password":"x","login":"bob"}}',
        b'{"auth":{"login":"ann","password":"x"},"auth":{"login":"ann","password":"x"}}',
        b'{"auth":{"login":"ann","password":"x","n":' + b"9" * 9000 + b"}}",
        b"[" * 16000,
        b'{"a":' * 3000,
        b'{"auth":' * 900 + b"1" + b"}" * 900,
        b" " * 2**20,
        b'{"auth":{"login":"ann","password":"' + b"x" * 2**20 + b'"}}',
        '{"auth":{"login":"ann","password":"x"}}'.encode("utf-16"),
        b"auth[login]=ann&auth[password]=x",
    ],
    ids=lambda body: body[:40].decode("ascii", "replace"),
)
async def test_a_hostile_body_is_refused(shown: Api, body: bytes) -> None:
    answer = await shown.get("auth", method="POST", data=io.BytesIO(body), headers={"Content-Type": "application/json"})
    assert (answer.status, answer.headers["content-type"]) == (400, JSON_API)
    assert (answer.json["errors"][0]["title"], answer.json["errors"][0]["code"]) == ("Bad Request", "400")
    assert (await log_in(shown, "ann", "correct horse")).status == 201


@pytest.mark.parametrize(
    "form",
    [
        "",
        "auth=x",
        "auth[]=x",
        "auth[login]=ann",
        "auth[login][]=ann&auth[password]=x",
        "auth[login]=%ff&auth[password]=x",
        "auth[login]=%zz&auth[password]=x",
        "auth[login]&auth[password]",
        "auth" + "[a]" * 5000,
        "auth[login]=a&auth=b",
    ],
)
async def test_a_hostile_form_is_refused(shown: Api, form: str) -> None:
    headers = {"Content-Type": "application/x-www-form-urlencoded"}
    answer = await shown.get("auth", method="POST", data=form, headers=headers)
    assert (answer.status, answer.headers["content-type"], answer.error) == (400, JSON_API, (400, "400"))


@pytest.mark.parametrize("type_", ["text/plain", "multipart/form-data; boundary=x", "", "application/xml", "a/b/c"])
async def test_other_types_of_bodies_are_refused(shown: Api, type_: str) -> None:
    assert (await log_in(shown, "ann", "correct horse", headers={"Content-Type": type_})).error == (400, "400")


@pytest.mark.parametrize("encoding", ["gzip", "deflate"])
async def test_a_body_that_is_not_compressed_as_it_says_is_refused(shown: Api, encoding: str) -> None:
    headers = {"Content-Type": "application/json", "Content-Encoding": encoding}
    answer = await shown.get("auth", method="POST", data=b"\x00nonsense" * 9, headers=headers)
    assert answer.status == 400


async def test_a_password_in_the_query_does_not_count(shown: Api) -> None:
    query = urlencode({"auth[login]": "ann", "auth[password]": "correct horse"})
    assert (await shown.get(f"auth?{query}", method="POST")).error == (400, "400")


async def test_a_session_says_whether_recordings_may_be_heard(api: Api, data: Data) -> None:
    data.customer(7, may_listen=True)
    data.customer(8)
    for caller, allowed in ((7, True), (8, False), (DynamicClaims(8), False), (DynamicClaims(8, 2), True)):
        answer = await api.get("auth", caller, headers={"Accept": "text/html"})
        assert (answer.status, answer.headers["content-type"]) == (200, PLAIN)
        assert answer.json == {"allow-rec": allowed}
        assert "etag" not in answer.headers
        assert "set-cookie" not in answer.headers
    head = await api.get("auth", 7, method="HEAD")
    assert (head.status, head.body) == (200, b"")


async def test_a_session_by_cookie_is_renewed(shown: Api) -> None:
    cookie = f"{COOKIE}={shown.tokens.issue(7)}"
    answer = await shown.get("auth", headers={"Cookie": cookie})
    assert answer.json == {"allow-rec": False}
    assert SimpleCookie(answer.headers["set-cookie"]).keys() == {COOKIE}


@pytest.mark.parametrize("headers", [{}, {"Authorization": "x"}, {"Cookie": f"{COOKIE}=logout"}])
async def test_no_session_is_401(shown: Api, headers: dict[str, str]) -> None:
    answer = await shown.get("auth", headers=headers)
    assert (answer.status, answer.headers["content-type"]) == (401, JSON_API)
    assert answer.json["errors"][0]["title"] == "Authorization failed"


@pytest.mark.parametrize("headers", [{}, {"Authorization": "x"}, {"Cookie": f"{COOKIE}=x"}, {"Accept": "text/html"}])
async def test_a_logout_ends_the_cookie(shown: Api, headers: dict[str, str]) -> None:
    answer = await shown.get("auth/", method="DELETE", headers=headers)
    assert (answer.status, answer.body) == (204, b"")
    ended = f"{COOKIE}=logout; path=/; expires=Thu, 01 Jan 1970 00:00:00 GMT; httponly; samesite=lax"
    assert answer.headers["set-cookie"] == ended


@pytest.mark.parametrize("method", ["PUT", "PATCH", "OPTIONS", "TRACE"])
async def test_other_verbs_are_not_routed(shown: Api, method: str) -> None:
    assert (await shown.get("auth", method=method)).error == (404, "404")


@pytest.mark.parametrize("path", ["cdrs", "accounts", "origination-statistics", "auth/x", "Auth", "auth.json"])
@pytest.mark.parametrize("method", ["POST", "DELETE"])
async def test_writing_verbs_are_routed_nowhere_else(shown: Api, path: str, method: str) -> None:
    assert (await shown.get(path, method=method)).error == (404, "404")


@pytest.mark.parametrize("method", ["POST", "GET", "HEAD", "DELETE"])
async def test_another_service_may_have_the_logins(serve: Serve, known: Data, method: str) -> None:
    api = await serve(known.dsn, AUTH__LOGIN="false")
    assert (await api.get("auth", 7, method=method)).status == 404


@pytest.mark.parametrize(
    ("networks", "address", "status"),
    [
        (["192.0.2.0/24"], "192.0.2.9", 201),
        (["192.0.2.1/24"], "192.0.2.9", 201),
        (["192.0.2.0/24"], "192.0.3.9", 401),
        (["192.0.2.9"], "192.0.2.9", 201),
        (["2001:db8::/32"], "2001:db8:1::1", 201),
        (["2001:db8::/32"], "192.0.2.9", 401),
        (["192.0.2.0/24"], "::ffff:192.0.2.9", 201),
        (["fe80::/10"], "fe80::1%eth0", 201),
        (["127.0.0.0/8"], "nonsense", 401),
        (["0.0.0.0/0", "::/0"], "nonsense", 401),
        (["127.0.0.0/8"], None, 201),
    ],
)
async def test_the_clients_address_must_be_allowed(
    api: Api, data: Data, networks: list[str], address: str | None, status: int
) -> None:
    login(data, 7, "ann", "x")
    data.execute("UPDATE sys.api_access SET allowed_ips = %s::inet[]", (networks,))
    assert (await log_in(api, "ann", "x", headers={"X-Real-IP": address} if address else {})).status == status


async def test_only_a_trusted_proxy_tells_the_address(serve: Serve, data: Data) -> None:
    login(data, 7, "ann", "x")
    data.execute("UPDATE sys.api_access SET allowed_ips = '{192.0.2.0/24}'")
    api = await serve(data.dsn, GATEWAY__TRUSTED_PROXIES="[]")
    assert (await log_in(api, "ann", "x", headers={"X-Real-IP": "192.0.2.9"})).status == 401


async def test_too_many_failures_of_one_login_are_429(serve: Serve, known: Data) -> None:
    api = await serve(known.dsn, AUTH__FAILED_LOGINS="3", AUTH__FAILED_LOGINS_PERIOD="3600")
    here, there = {"X-Real-IP": "192.0.2.1"}, {"X-Real-IP": "192.0.2.2"}
    for _ in range(5):  # A login that succeeds is not counted.
        assert (await log_in(api, "ann", "correct horse", headers=here)).status == 201
    failures = [await log_in(api, "ann", "wrong", headers=here) for _ in range(4)]
    assert [answer.status for answer in failures] == [401, 401, 401, 429]
    refused = await log_in(api, "ann", "correct horse", headers=here)
    assert (refused.status, refused.headers["content-type"]) == (429, JSON_API)
    assert refused.json["errors"][0]["title"] == "Too many requests"
    assert refused.json["errors"][0]["code"] == "429"
    assert 0 < int(refused.headers["retry-after"]) <= 1200
    assert (await log_in(api, "ann", "correct horse", headers=there)).status == 201  # Nobody is locked out by others.
    assert (await log_in(api, "bob", "wrong", headers=here)).status == 401


async def test_too_many_failures_of_one_address_are_429(serve: Serve, known: Data) -> None:
    api = await serve(known.dsn, AUTH__FAILED_LOGINS_BY_ADDRESS="3", AUTH__FAILED_LOGINS_PERIOD="3600")
    inside = [{"X-Real-IP": f"2001:db8::{n}"} for n in range(4)]
    answers = [await log_in(api, f"guess {n}", "x", headers=headers) for n, headers in enumerate(inside)]
    assert [answer.status for answer in answers] == [401, 401, 401, 429]
    assert (await log_in(api, "ann", "correct horse", headers={"X-Real-IP": "2001:db8:0:1::1"})).status == 201


async def test_failures_at_once_are_all_counted(serve: Serve, known: Data) -> None:
    api = await serve(known.dsn, AUTH__FAILED_LOGINS="3", AUTH__FAILED_LOGINS_PERIOD="3600")
    answers = await asyncio.gather(*(log_in(api, "ann", "wrong") for _ in range(20)))
    assert sorted(answer.status for answer in answers) == [401] * 3 + [429] * 17


@pytest.mark.slow
async def test_a_thousand_logins_do_not_keep_look_ups_waiting(serve: Serve, known: Data) -> None:
    """Neither one address nor many get more than the threads of logins, and look-ups need none of these."""
    api = await serve(known.dsn, AUTH__LOGIN_THREADS="1", AUTH__FAILED_LOGINS_BY_ADDRESS="1000")
    known.execute("UPDATE sys.api_access SET password_digest = %s", (digest("correct horse", 12),))
    logins = [
        asyncio.create_task(log_in(api, f"guess {number}", "x", headers={"X-Real-IP": f"192.0.2.{number % 250}"}))
        for number in range(1000)
    ]
    done, waiting = await asyncio.wait(logins, return_when=asyncio.FIRST_COMPLETED)
    for _ in range(20):
        assert (await api.get("cdrs/1", 7)).status == 200
        assert (await api.get("auth", 7)).status == 200
    finished = [login for login in waiting if login.done()]
    assert len(done) + len(finished) < len(logins)  # Look-ups were answered while logins still waited.
    assert {login.result().status for login in (*done, *finished)} <= {401, 503}
    for login in waiting:
        login.cancel()
    await asyncio.wait(logins)


@pytest.mark.slow
async def test_an_address_that_waits_does_not_keep_others_waiting(serve: Serve, known: Data) -> None:
    api = await serve(known.dsn, AUTH__LOGIN_THREADS="1")
    known.execute("UPDATE sys.api_access SET password_digest = %s", (digest("correct horse", 10),))
    many = [asyncio.create_task(log_in(api, f"{n}", "x", headers={"X-Real-IP": "192.0.2.1"})) for n in range(50)]
    await asyncio.wait(many, return_when=asyncio.FIRST_COMPLETED)
    assert (await log_in(api, "ann", "correct horse", headers={"X-Real-IP": "192.0.2.2"})).status == 201
    assert not all(login.done() for login in many)
    assert {login.status for login in await asyncio.gather(*many)} == {401}


async def test_a_broken_database_is_no_failure_of_the_clients(serve: Serve, known: Data) -> None:
    api = await serve(known.dsn, AUTH__FAILED_LOGINS="1", AUTH__FAILED_LOGINS_PERIOD="3600")
    known.execute("ALTER TABLE sys.api_access RENAME TO hidden")
    assert (await log_in(api, "ann", "correct horse")).status == 503
    known.execute("ALTER TABLE sys.hidden RENAME TO api_access")
    assert (await log_in(api, "ann", "correct horse")).status == 201


def test_nothing_that_was_typed_is_logged(known: Data) -> None:
    databases = on_database(known.dsn)
    typed = [("ann", "correct horse"), ("ann", "secret guess"), ("somebody", "x"), ("somebody", "correct horse")]
    with serving(**databases, AUTH__SECRETS=json.dumps([SECRET]), LOG__LEVEL="debug") as program:
        statuses = []
        for number, (name, password) in enumerate(typed):
            if number == 3:
                known.execute("ALTER TABLE sys.api_access RENAME TO hidden")
            statuses.append(posted(f"{program.url}/api/rest/customer/v1/auth", name, password))
        assert statuses == [201, 401, 401, 503]
        program.end(SIGTERM)
    written = json.dumps(program.events)
    assert "/api/rest/customer/v1/auth" in written
    assert "42P01" in written  # The table does not exist.
    assert not [word for word in ("ann", "correct horse", "secret guess", "somebody", "$2a$") if f'"{word}' in written]


def posted(url: str, name: str, password: str) -> int:
    body = json.dumps({"auth": {"login": name, "password": password}}).encode()
    try:
        with urlopen(Request(url, body, {"Content-Type": "application/json"}), timeout=20) as answer:
            return int(answer.status)
    except HTTPError as refused:
        with refused:
            return refused.code


async def test_a_login_of_a_client_who_left_ends_by_itself(serve: Serve, known: Data, connect: Any) -> None:
    """Its thread is free again for the next."""
    api = await serve(known.dsn, AUTH__LOGIN_THREADS="1")
    known.execute("UPDATE sys.api_access SET password_digest = %s", (digest("correct horse", 10),))
    body = b'{"auth":{"login":"ann","password":"wrong"}}'
    head = b"POST /api/rest/customer/v1/auth HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
    for _ in range(5):
        connection: Connection = await connect(str(api.client.make_url("/")))
        connection.writer.write(head + f"Content-Length: {len(body)}\r\n\r\n".encode() + body)
        await connection.writer.drain()
        connection.writer.close()
    assert (await log_in(api, "ann", "correct horse")).status == 201
