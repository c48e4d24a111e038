"""The content of the log, and the absence of secrets and phone numbers on every path."""

import json
import subprocess
import sys

import pytest

from service.auth.tokens import DynamicClaims, TokenService
from tests.conftest import SECRET, Connect, Data
from tests.load import once
from tests.programs import Program, on_database, serving

LIST = "/api/rest/customer/v1/cdrs"
NUMBER = "447700900123"
WORD = "whisper"
COOKIE = "_yeti_customer_v1_session"


@pytest.fixture
def known(data: Data) -> dict[str, str]:
    data.customer(7)
    data.call(1, customer_id=7, dst_prefix_in=NUMBER)
    return on_database(data.dsn, AUTH__SECRETS=json.dumps([SECRET]), LOG__LEVEL="debug", LOG__SLOW_REQUEST="0.000001")


def token(subject: int | DynamicClaims = 7) -> str:
    return TokenService([SECRET.encode()], None).issue(subject)


SENT = [
    (f"{LIST}?filter[dst_prefix_in_eq]={NUMBER}", 200),
    (f"{LIST}?filter[dst_prefix_in_cont]={NUMBER}&sort={WORD}", 400),
    (f"{LIST}?filter[{WORD}]={NUMBER}", 400),
    (f"{LIST}?page[size]={NUMBER}", 400),
    (f"{LIST}/{NUMBER}", 404),
    (f"{LIST}/{NUMBER}/account", 404),
    (f"{LIST}/{WORD}/rec", 400),
    (f"/{NUMBER}?{WORD}", 404),
]
WHO = {
    "by header": {"Authorization": token()},
    "by cookie": {"Cookie": f"{COOKIE}={token()}; other={WORD}"},
    "by dynamic token": {"Authorization": token(DynamicClaims(7))},
    "as nobody": {"Authorization": f"Bearer {WORD}"},
    "from elsewhere": {"Authorization": token(), "User-Agent": WORD, "Referer": f"http://x/{NUMBER}", "X-Odd": WORD},
    "through proxies": {"Authorization": token(), "X-Forwarded-Host": WORD, "Forwarded": f"for={NUMBER}"},
    "for players": {"Authorization": token(), "Accept": f"audio/{WORD}"},
}
MALFORMED = [
    f"{WORD.upper()} /{NUMBER} HTTP/1.1\r\n\r\n",
    f"GET {LIST}?{NUMBER} HTTP/9.9\r\nAuthorization: {WORD}\r\n\r\n",
    f"GET {LIST}?{NUMBER} HTTP/1.1\r\n{WORD} {NUMBER}\r\n\r\n",
    f"GET {LIST}?{NUMBER} HTTP/1.1\r\nContent-Length: {WORD}\r\n\r\n",
    f"GET {LIST}?{NUMBER * 2000} HTTP/1.1\r\nHost: x\r\n\r\n",
    f"GET {LIST}?%zz{NUMBER} HTTP/1.1\r\nHost: [{WORD}\r\n\r\n",
]


def assert_nothing_is_told(program: Program, who: str = "") -> None:
    text = json.dumps(program.events)
    signatures = [sent.rpartition(".")[2] for sent in (token(), token(DynamicClaims(7)))]
    for secret in (NUMBER, WORD, WORD.upper(), SECRET, "eyJ", COOKIE, "filter", *signatures):
        assert secret not in text, (secret, who)


async def test_nothing_that_a_client_sends_is_logged(known: dict[str, str]) -> None:
    with serving(**known) as program:
        for number, (who, headers) in enumerate(WHO.items(), 1):
            for path, _ in SENT:
                await once(program.url, path, **headers)
            program.logged("slow request", number * len(SENT))
            assert_nothing_is_told(program, who)


async def test_lines_name_the_request_and_who_asked(known: dict[str, str]) -> None:
    with serving(**known) as program:
        for path, status in SENT:
            answer = await once(program.url, path, **{"Authorization": token(), "X-Request-Id": "abc"})
            assert answer[0] == status
        lines = [program.logged("request", number) for number in range(1, len(SENT) + 1)]
        slow = program.logged("slow request")
    assert [line["status"] for line in lines] == [status for _, status in SENT]
    assert {line["request_id"] for line in lines} == {"abc"}
    assert [line["customer"] for line in lines] == [7] * (len(SENT) - 1) + [None]
    assert (slow["path"], slow["customer"], slow["api_access"], slow["level"]) == (LIST, 7, 7, "warning")
    assert all(isinstance(spent, float) for spent in slow["statements_ms"].values())


async def test_what_is_no_http_is_not_logged_either(known: dict[str, str], connect: Connect) -> None:
    with serving(**known) as program:
        for number, text in enumerate(MALFORMED, 1):
            connection = await connect(program.url)
            connection.writer.write(text.encode())
            assert 400 <= (await connection.answer())[0] < 500, number
    assert_nothing_is_told(program)


async def test_the_database_quotes_values_in_its_errors_and_the_log_does_not(known: dict[str, str], data: Data) -> None:
    data.execute("ALTER TABLE cdr.cdr ALTER COLUMN dst_prefix_in TYPE integer USING NULL")
    with serving(**known) as program:
        answer = await once(program.url, f"{LIST}?filter[dst_prefix_in_eq]={NUMBER}", Authorization=token())
        assert answer[0] == 500
        failed = program.logged("request failed")
    assert_nothing_is_told(program)
    assert failed["exception"].startswith("psycopg2.errors.NumericValueOutOfRange 22003\n")
    assert "service/db/pool.py" in failed["exception"]
    assert (failed["customer"], failed["level"]) == (7, "error")


FAILING = """
import asyncio, logging, sys, structlog
from service.observability import logs
logs.configure("debug", sys.argv[1])

def fail(number):
    secret = sys.argv[3] + number
    raise ValueError(secret)

def chain():
    try:
        fail(sys.argv[2])
    except ValueError as error:
        raise LookupError(sys.argv[2]) from error

try:
    chain()
except LookupError as error:
    structlog.get_logger().exception("one")
    structlog.get_logger().error("two", exc_info=error)
    logging.getLogger("some.library").exception("three")

async def forget():
    await asyncio.wait([asyncio.get_running_loop().create_task(asyncio.to_thread(chain))])

asyncio.run(forget())
"""


@pytest.mark.parametrize("format_", ["json", "console"])
def test_a_traceback_says_where_but_not_with_what(format_: str) -> None:
    ended = subprocess.run(
        [sys.executable, "-c", FAILING, format_, NUMBER, WORD], capture_output=True, text=True, check=True
    )
    for event in ("one", "two", "three", "Task exception was never retrieved"):
        assert event in ended.stderr
    assert ended.stderr.count("builtins.ValueError") == ended.stderr.count("builtins.LookupError") == 4
    assert "in fail" in ended.stderr
    assert NUMBER not in ended.stderr
    assert WORD not in ended.stderr
