"""Authentication by header and cookie, accepted and rejected tokens, and renewal of sessions (contract 4)."""

import base64
import hmac
import json
import re
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

import hypothesis
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from jose import jwt
from multidict import CIMultiDict

from service import settings
from service.auth.tokens import DynamicClaims, TokenService
from service.errors import UnauthorizedError, unavailable
from service.web import cookies, keys, session
from tests.conftest import SECRET, Answer, Api, Data, Serve, cache_requests

bounded = hypothesis.settings(deadline=None, derandomize=True)
OTHER = "another secret, of more than 32 bytes as well"
COOKIE = "_yeti_customer_v1_session"
VALID = {"aud": ["customer-v1"], "sub": 7}
CFG = {"aud": ["customer-v1"], "sub": "D"}
PATHS = ["incoming-cdrs", "incoming-cdrs/1", "cdrs", "cdrs/1", "accounts"]
UNAUTHORIZED = (
    b'{"errors":[{"title":"Authorization failed","detail":"Authorization token expired or incorrect.",'
    b'"code":"401","status":"401"}]}'
)


def fill(data: Data) -> None:
    data.customer(7)
    data.call(1, vendor_id=7, customer_id=7)


@pytest.fixture
def data(data: Data) -> Data:
    fill(data)
    return data


@pytest.fixture(scope="module")
def shown(shared_api: Api, shared_data: Data) -> Api:
    fill(shared_data)
    return shared_api


def signed(claims: dict[str, Any], secret: str = SECRET, algorithm: str = "HS256") -> str:
    return str(jwt.encode(claims, secret, algorithm=algorithm))


async def with_header(api: Api, text: str | None, path: str = "incoming-cdrs/1") -> Answer:
    return await api.get(path, headers={"Authorization": text})


async def with_cookie(api: Api, token: str, path: str = "incoming-cdrs/1", **headers: str) -> Answer:
    return await api.get(path, headers={"Cookie": f"a=b; {COOKIE}={token}", **headers})


GOOD = {
    "as issued": VALID,
    "an audience as text": {**VALID, "aud": "customer-v1"},
    "several audiences": {**VALID, "aud": ["x", "customer-v1"]},
    "digits as text": {**VALID, "sub": "7"},
    "issued in the future": {**VALID, "iat": 4102444800},
    "valid since long": {**VALID, "nbf": 1},
    "not ended yet": {**VALID, "exp": 4102444800},
    "dynamic": {**CFG, "cfg": {"customer_id": 7}},
    "dynamic without limit": {**CFG, "cfg": {"customer_id": 7, "account_ids": None}},
    "dynamic with addresses": {**CFG, "cfg": {"customer_id": 7, "allowed_ips": ["10.0.0.0/8"]}},
    "dynamic without addresses": {**CFG, "cfg": {"customer_id": 7, "allowed_ips": None}},
    "dynamic with the legacy key": {**CFG, "cfg": {"customer_id": 7, "allow_listen_recording": True}},
}
BAD = {
    "no audience": {"sub": 7},
    "another audience": {**VALID, "aud": ["customer-v10"]},
    "no subject": {"aud": ["customer-v1"]},
    **{
        f"subject {subject!r}": {**VALID, "sub": subject} for subject in (None, True, 1.0, 7.0, "7a", "", "d", "٧", [7])
    },
    **{
        f"unknown subject {subject}": {**VALID, "sub": subject} for subject in (0, -7, 8, 99999999999, 10**30, "9" * 30)
    },
    **{f"end {end!r}": {**VALID, "exp": end} for end in (1577836800, None, "x", True, [4102444800], float("-inf"))},
    "not yet valid": {**VALID, "nbf": 4070908800},
    "dynamic without cfg": CFG,
    **{
        f"cfg {cfg!r}": {**CFG, "cfg": cfg}
        for cfg in (
            [7],
            "customer_id",
            {},
            {"customer_id": None},
            {"customer_id": "7"},
            {"customer_id": True},
            {"customer_id": 10**30},
            {"customer_id": 8},
            {"customer_id": 7, "customer_portal_access_profile_id": 9},
            {"customer_id": 7, "login": "x"},
            {"customer_id": 7, "api_access_id": 1},
            {"customer_id": 7, "account_ids": [1.5]},
            {"customer_id": 7, "account_ids": "1"},
            {"customer_id": 7, "allowed_ips": "0.0.0.0/0"},
            {"customer_id": 7, "allowed_ips": [1]},
            {"customer_id": 7, "allowed_ips": {"0.0.0.0/0": True}},
            {"customer_id": 7, "account_ids": [10**30]},
        )
    },
}


@pytest.mark.parametrize("name", GOOD)
async def test_a_good_token_is_let_in_and_gets_no_cookie(shown: Api, name: str) -> None:
    answer = await with_header(shown, signed(GOOD[name]))
    assert (answer.status, answer.headers.get("set-cookie")) == (200, None)


@pytest.mark.parametrize("name", BAD)
async def test_a_bad_token_gets_the_one_answer_for_all(shown: Api, name: str) -> None:
    answer = await with_header(shown, signed(BAD[name]))
    assert (answer.status, answer.body) == (401, UNAUTHORIZED)
    assert answer.headers["cache-control"] == "no-cache"
    assert "www-authenticate" not in answer.headers
    assert (await with_cookie(shown, signed(BAD[name]))).headers.get("set-cookie") is None


HEADER = "eyJhbGciOiJIUzI1NiJ9"
HOSTILE = {
    "nothing at all": None,
    "a word": "invalid",
    "two parts": ".".join(signed(VALID).split(".")[:2]),
    "dots": "..",
    "many dots": "." * 50,
    "foreign key": signed(VALID, OTHER),
    "HS512": signed(VALID, algorithm="HS512"),
    "none": "eyJhbGciOiJub25lIn0." + signed(VALID).split(".")[1] + ".",
    "payload of another": ".".join([HEADER, signed({**VALID, "sub": 8}).split(".")[1], signed(VALID).split(".")[2]]),
    "no object": signed(VALID).split(".")[0] + ".WzFd." + signed(VALID).split(".")[2],
    "cut": signed(VALID)[:-3],
    "not ASCII": "tökén.é.ü",
    "Token token=": f"Token token={signed(VALID)}",
    "glued": f"Bearer{signed(VALID)}",
}


@pytest.mark.parametrize("name", HOSTILE)
@pytest.mark.parametrize("path", PATHS)
async def test_a_hostile_token_is_never_more_than_unauthorized(shown: Api, name: str, path: str) -> None:
    assert (await with_header(shown, HOSTILE[name], path)).body == UNAUTHORIZED


@pytest.mark.parametrize("form", ["{}", "Bearer {}", "bearer   {}", "a b c {}", "Bearer\t{}"])
async def test_the_last_word_of_the_header_is_the_token(shown: Api, form: str) -> None:
    assert (await with_header(shown, form.format(signed(VALID)))).status == 200


def clocked(*times: float) -> TokenService:
    """Reads one of the times at each use."""
    return TokenService([SECRET.encode()], None, clock=iter(times).__next__)


def test_a_token_ends_at_its_second() -> None:
    token, end = signed({**VALID, "exp": 4000000000}), 4000000000.0
    tokens = clocked(end - 0.001, end - 0.001, end)
    hits, _ = cache_requests("token")
    assert [tokens.read(token) for _ in range(2)] == [7, 7]
    assert cache_requests("token")[0] == hits + 1
    with pytest.raises(UnauthorizedError):
        tokens.read(token)


def test_a_token_begins_at_its_second() -> None:
    token, start = signed({**VALID, "nbf": 4000000000}), 4000000000.0
    tokens = clocked(start - 0.001, start - 0.001, start)
    for _ in range(2):
        with pytest.raises(UnauthorizedError):
            tokens.read(token)
    assert tokens.read(token) == 7


async def test_all_secrets_verify_and_the_first_signs(serve: Serve, data: Data) -> None:
    api = await serve(data.dsn, AUTH__SECRETS=json.dumps([OTHER, SECRET]))
    assert (await with_header(api, signed(VALID, SECRET))).status == 200
    assert (await with_header(api, signed(VALID, OTHER))).status == 200
    assert jwt.decode(
        api.tokens.issue(7), OTHER, algorithms=["HS256"], options={"verify_sub": False, "verify_aud": False}
    )


SECRETS = [
    '"quoted as env files leave it, 32 bytes"',
    '{"kty": "oct", "k": "c2VjcmV0", "more": "bytes"}',
    '{"keys": [], "more": "than thirty-two bytes of it"}',
    '{"a": "one of several secrets in an object"}',
    " a leading space and more than 32 bytes",
    "more than 32 bytes with a line's end \r",
    '["a list of", 2, "kinds of elements, which is no list"]',
    '["a list that does not close, of 32 bytes"',
    "-----BEGIN PUBLIC KEY-----\nnot a key\n-----END PUBLIC KEY-----\n",
    "ssh-rsa AAAAB3NzaC1yc2EAAAADAQABAAAB not a key",
    "1234567890123456789012345678901234567890",
    "null                             null",
    "[" * 10_000,
    "more than 32 bytes that are no UTF-8: \udcff\udc80 \udcfe",
    "by bytes, umlauts count twice: ä",
]
MIXED = st.text(st.sampled_from('[]{}",: \t\n\\abc12-\udcff'), min_size=32) | st.text(
    st.characters(codec="utf-8"), min_size=32
)


def check(text: str) -> None:
    """Tokens that the service issues verify, there and with any library that is given the secret's bytes."""
    loaded = settings.load(None, {"CDR_API_AUTH__SECRETS": text})
    settings.require(loaded, "auth.secrets")
    tokens = TokenService(loaded.auth.secrets, None)
    assert tokens.read(tokens.issue(7)) == 7
    signed, _, signature = tokens.issue(7).rpartition(".")
    expected = hmac.digest(loaded.auth.secrets[0], signed.encode(), "sha256")
    assert base64.urlsafe_b64decode(signature + "=") == expected


@pytest.mark.parametrize("secret", SECRETS)
def test_a_text_that_is_no_list_is_one_secret_byte_for_byte(tmp_path: Path, secret: str) -> None:
    check(secret)
    expected = [secret.encode("utf-8", "surrogateescape")]
    assert settings.load(None, {"CDR_API_AUTH__SECRETS": secret}).auth.secrets == expected
    if secret.isascii():
        file = tmp_path / "own.toml"
        file.write_text(f"[auth]\nsecrets = {json.dumps(secret)}\n")
        assert settings.load(str(file), {}).auth.secrets == expected


@bounded
@given(MIXED)
def test_whatever_is_accepted_issues_tokens_that_verify(secret: str) -> None:
    with suppress(ValueError, RecursionError):
        assume(not isinstance(json.loads(secret), list))
    check(secret)
    check(json.dumps([secret, OTHER]))


DYNAMIC = DynamicClaims(7)
REVOCATIONS = [
    (7, "DELETE FROM sys.api_access", "incoming-cdrs/1", 401),
    (7, "UPDATE sys.api_access SET account_ids = '{5}'", "incoming-cdrs/1", 404),
    (7, "UPDATE sys.customer_portal_access_profiles SET allow_listen_recording = false", "incoming-cdrs/2/rec", 404),
    (DYNAMIC, "DELETE FROM public.contractors", "incoming-cdrs/1", 401),
    (DYNAMIC, "DELETE FROM sys.customer_portal_access_profiles WHERE id = 1", "incoming-cdrs/1", 401),
]


@pytest.fixture
def listening(data: Data) -> None:
    """A call with a recording, and access that may hear it."""
    data.call(2, vendor_id=7, duration=1, audio_recorded=True, local_tag="x")
    data.execute("UPDATE sys.customer_portal_access_profiles SET allow_listen_recording = true")


@pytest.mark.usefixtures("listening")
@pytest.mark.parametrize(("caller", "statement", "path", "status"), REVOCATIONS)
async def test_without_a_memory_a_revocation_acts_at_once(
    serve: Serve, data: Data, caller: int | DynamicClaims, statement: str, path: str, status: int
) -> None:
    api = await serve(data.dsn, AUTH__CACHE_SECONDS="0")
    assert (await api.get(path, caller)).status == 200
    data.execute(statement)
    assert (await api.get(path, caller)).status == status


@pytest.mark.usefixtures("listening")
@pytest.mark.parametrize(("caller", "statement", "path", "status"), REVOCATIONS)
async def test_a_revocation_acts_when_the_memory_ends(
    api: Api,
    data: Data,
    caller: int | DynamicClaims,
    statement: str,
    path: str,
    status: int,
) -> None:
    access = api.client.app[keys.STATE].services.access  # type: ignore[union-attr] # started long ago
    now = 1000.0
    access.rows.clock = access.profiles.clock = lambda: now
    assert (await api.get(path, caller)).status == 200
    data.execute(statement)
    now += 4.999
    assert (await api.get(path, caller)).status == 200
    now = 1005.0
    assert (await api.get(path, caller)).status == status


async def test_callers_and_tokens_are_remembered_each_for_itself(api: Api, data: Data) -> None:
    data.customer(8)
    before = cache_requests("caller")
    callers = [7, 8, DynamicClaims(7), DynamicClaims(8), DynamicClaims(7, account_ids=(5,))]
    for _ in range(2):
        assert [(await api.get("incoming-cdrs/1", caller)).status for caller in callers] == [200, 404, 200, 404, 404]
    hits, misses = cache_requests("caller")
    assert (hits - before[0], misses - before[1]) == (6, 4)


async def test_a_database_that_fails_is_not_remembered(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    async def fails(*_: object) -> None:
        raise unavailable()

    with monkeypatch.context() as broken:
        broken.setattr("service.db.pool.Pool.fetch", fails)
        assert (await api.get("incoming-cdrs/1", 7)).status == 503
    assert (await api.get("incoming-cdrs/1", 7)).status == 200


async def test_a_present_but_bad_header_is_final(shown: Api) -> None:
    answer = await with_cookie(shown, signed(VALID), Authorization="invalid")
    assert answer.status == 401


async def test_a_blank_header_leaves_it_to_the_cookie(shown: Api) -> None:
    assert (await with_cookie(shown, signed(VALID), Authorization="  ")).status == 200


GOOD_COOKIE, BAD_COOKIE = f"{COOKIE}=GOOD", f"{COOKIE}=invalid"


@pytest.mark.parametrize(
    ("lines", "status"),
    [
        ([f"{GOOD_COOKIE}; {BAD_COOKIE}"], 200),
        ([f"{BAD_COOKIE}; {GOOD_COOKIE}"], 401),
        ([GOOD_COOKIE, BAD_COOKIE], 200),
        ([BAD_COOKIE, GOOD_COOKIE], 401),
        ([f"{COOKIE}; {GOOD_COOKIE}"], 401),
        ([f"{COOKIE}=; {GOOD_COOKIE}"], 401),
        ([f"a=1;{GOOD_COOKIE};b=2"], 200),
        ([f"a=1;    {GOOD_COOKIE}"], 200),
        ([f";; {GOOD_COOKIE};"], 200),
        ([f"a=1;\t{GOOD_COOKIE}"], 401),
        ([f"a=1, {GOOD_COOKIE}"], 401),
        ([f"a=1 {GOOD_COOKIE}"], 401),
        ([f"{COOKIE} =GOOD"], 401),
        ([f"{COOKIE.upper()}=GOOD"], 401),
        ([f"x{GOOD_COOKIE}"], 401),
        ([f'{COOKIE}="GOOD"'], 401),
        ([f'a="1; {GOOD_COOKIE}; b=2"'], 200),
        ([f"a b=1; (c)=d; é=ü; {GOOD_COOKIE}"], 200),
        ([f"$Version=1; {GOOD_COOKIE}; $Path=/"], 200),
        ([f"{COOKIE}=ESCAPED"], 200),
        ([f"{COOKIE}=GOOD%"], 401),
    ],
)
async def test_the_first_cookie_of_the_name_counts(shown: Api, lines: list[str], status: int) -> None:
    token = signed(VALID)
    texts = (line.replace("GOOD", token).replace("ESCAPED", token.replace(".", "%2E")) for line in lines)
    headers = CIMultiDict({"Accept": "application/vnd.api+json"})
    for text in texts:
        headers.add("Cookie", text)
    async with shown.client.get("/api/rest/customer/v1/incoming-cdrs/1", headers=headers) as response:
        assert response.status == status
        assert ("set-cookie" in response.headers) == (status == 200)


NAMES = st.text(st.sampled_from("ab_-.%"), min_size=1, max_size=2)
VALUES = st.text(st.characters(min_codepoint=33, max_codepoint=126, exclude_characters=";%+"), max_size=4)


@bounded
@given(st.lists(st.tuples(NAMES, VALUES)), st.lists(st.sampled_from([";", "; ", ";  ", "; ;", "\n"])))
def test_cookies_are_separated_by_semicolons_and_spaces(pairs: list[tuple[str, str]], between: list[str]) -> None:
    """A line break stands for another header."""
    ends = [*between, *["; "] * len(pairs)]
    text = "".join(f"{name}={value}{end}" for (name, value), end in zip(pairs, ends, strict=False))
    for name in {name for name, _ in pairs} | {"c"}:
        assert cookies.first(text.split("\n"), name) == next((v for n, v in pairs if n == name), "")


async def test_the_cookie_is_renewed_with_these_attributes(shown: Api) -> None:
    cookie = (await with_cookie(shown, signed(VALID))).headers["set-cookie"]
    assert re.fullmatch(rf"{COOKIE}=[\w.-]+; path=/; expires=\w+, [\w :]+ GMT; httponly; samesite=lax", cookie)


def test_the_cookie_ends_with_its_token() -> None:
    cookie = session.cookie(TokenService([SECRET.encode()], 600, clock=lambda: 1772211473.0), 7)
    token = cookie.split(";")[0].removeprefix(f"{COOKIE}=")
    assert cookie == f"{COOKIE}={token}; path=/; expires=Fri, 27 Feb 2026 17:07:53 GMT; httponly; samesite=lax"
    assert jwt.get_unverified_claims(token) == {**VALID, "exp": 1772212073}


async def test_without_a_lifetime_the_renewed_cookie_has_no_end(serve: Serve, data: Data) -> None:
    api = await serve(data.dsn, AUTH__TOKEN_LIFETIME="")
    cookie = (await with_cookie(api, signed(VALID))).headers["set-cookie"]
    assert re.fullmatch(rf"{COOKIE}=[\w.-]+; path=/; httponly; samesite=lax", cookie)
    assert "exp" not in jwt.get_unverified_claims(cookie.split(";")[0].partition("=")[2])


async def test_without_a_lifetime_an_ended_token_is_still_ended(serve: Serve, data: Data) -> None:
    api = await serve(data.dsn, AUTH__TOKEN_LIFETIME="")
    assert (await with_header(api, signed({**VALID, "exp": int(time.time()) - 1}))).status == 401


async def test_a_dynamic_session_carries_all_its_words_on(shown: Api) -> None:
    cookie = (await with_cookie(shown, TokenService([SECRET.encode()], None).issue(DynamicClaims(7)))).headers[
        "set-cookie"
    ]
    claims = jwt.get_unverified_claims(cookie.split(";")[0].partition("=")[2])
    assert list(claims["cfg"].items()) == [
        ("customer_id", 7),
        ("customer_portal_access_profile_id", 1),
        ("account_ids", []),
        ("allow_outgoing_numberlists_ids", []),
        ("allowed_ips", ["0.0.0.0/0", "::/0"]),
        ("provision_gateway_id", None),
    ]


@pytest.mark.parametrize("token", ["logout", "garbage", ""])
async def test_a_cookie_that_is_no_token_is_unauthorized(shown: Api, token: str) -> None:
    answer = await with_cookie(shown, token)
    assert (answer.status, answer.headers.get("set-cookie")) == (401, None)


@pytest.mark.parametrize(
    ("path", "accept", "status", "renewed"),
    [
        ("incoming-cdrs?sort=x", "*/*", 400, True),
        ("incoming-cdrs/2", "*/*", 404, True),
        ("incoming-cdrs/1", "text/html", 406, True),
        ("incoming-cdrs/1/rec", "*/*", 404, True),
        ("incoming-cdrs/2/rec", "*/*", 404, False),
        ("incoming-cdrs/x/rec", "*/*", 400, False),
        ("nowhere", "*/*", 404, False),
    ],
)
async def test_errors_renew_too_but_not_where_a_recording_is_not_found(
    shown: Api, path: str, accept: str, status: int, renewed: bool
) -> None:
    answer = await with_cookie(shown, signed(VALID), path, Accept=accept)
    assert (answer.status, "set-cookie" in answer.headers) == (status, renewed)
