"""The commands, run as separate processes."""

import io
import json
import os
import re
import signal
import socket
import subprocess
import urllib.error
import urllib.request
import wave
from pathlib import Path

import pytest

from tests.conftest import SECRET, Data, Databases
from tests.programs import SERVICE, called, environment, on_database, run, serving

API = "/api/rest/customer/v1"


def settings(dsn: str) -> dict[str, str]:
    return on_database(dsn, AUTH__SECRETS=json.dumps([SECRET]))


def get(url: str, token: str = "") -> tuple[int, bytes]:
    request = urllib.request.Request(url, headers={"Authorization": token})
    try:
        with urllib.request.urlopen(request, timeout=10) as response:
            return response.status, response.read()
    except urllib.error.HTTPError as error:
        with error:
            return error.code, error.read()


@pytest.mark.parametrize(
    ("words", "ids"),
    [
        (["--api-access", "7"], ["1", "2"]),
        (["--customer-id", "7"], ["1", "2"]),
        (["--customer-id", "7", "--account-id", "71"], ["1"]),
    ],
)
def test_a_printed_token_is_let_in(data: Data, words: list[str], ids: list[str]) -> None:
    data.customer(7)
    data.call(1, vendor_id=7, vendor_acc_id=71)
    data.call(2, vendor_id=7)
    token = run(["token", *words], **settings(data.dsn)).stdout.strip()
    with serving(**settings(data.dsn)) as program:
        status, body = get(f"{program.url}{API}/incoming-cdrs?sort=id", token)
        assert (status, [record["id"] for record in json.loads(body)["data"]]) == (200, ids)


@pytest.mark.slow
def test_a_database_is_prepared_by_two_commands(empty_database: str) -> None:
    known = settings(empty_database)
    for _ in range(2):
        assert run(["database", "apply"], **known).returncode == 0
    days = ["database", "partitions", "--from", "2026-03-01", "--to", "2026-03-03"]
    first, second = run(days, **known), run(days, **known)
    assert first.stdout.split() == [f"cdr.cdr_2026_03_0{day}" for day in (1, 2, 3)]
    assert (second.returncode, second.stdout) == (0, "All partitions exist already.\n")


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (
            ["database", "partitions", "--from", "2026-03-02", "--to", "2026-03-01"],
            2,
            "--to: must not be before --from",
        ),
        (["database", "partitions", "--from", "yesterday", "--to", "2026-03-01"], 2, "--from"),
        (["database", "apply"], 1, "cannot be reached"),
        (["serve", "--port", "1"], 2, "unrecognized arguments"),
        ([], 2, "COMMAND"),
    ],
)
def test_what_cannot_be_done_is_said_in_words(words: list[str], code: int, said: str) -> None:
    ended = called(words, **settings("postgresql://x:hidden@127.0.0.1:1/x"))
    assert ended.returncode == code
    assert said in ended.stderr
    assert "Traceback" not in ended.stderr
    assert "hidden" not in ended.stderr


def test_a_taken_port_is_said_in_words(empty_database: str) -> None:
    with serving(**settings(empty_database)) as program:
        port = program.url.rpartition(":")[2]
        ended = run(["serve"], **settings(empty_database), LISTEN__PORT=port, LOG__LEVEL="error")
    assert ended.returncode == 1
    assert ended.stderr == (
        f"cdr-api: listen.host, listen.port: 127.0.0.1:{port}: Address already in use;"
        " set CDR_API_LISTEN__PORT to another port\n"
    )


def test_the_demo_says_how_to_take_another_port(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        ended = run(["demo", "--folder", str(tmp_path / "demo")], LISTEN__PORT=port, LOG__LEVEL="error")
    assert ended.returncode == 1
    assert ended.stderr.splitlines()[-1].endswith("another port: CDR_API_LISTEN__PORT=8090 make run")


def test_the_service_waits_for_its_database_and_says_so(postgres: Databases, prepared: str) -> None:
    name = f"late_{os.getpid()}"
    with serving(**settings(postgres.dsn(name))) as program:
        path = f"{program.url}{API}/accounts"
        token = run(["token", "--customer-id", "7"], **settings(postgres.dsn(name))).stdout.strip()
        waited = program.logged("database does not answer", times=2)
        assert waited["database"] in ("cdr", "routing")
        assert name in waited["error"]
        status, body = get(path, token)
        assert (status, json.loads(body)["errors"][0]["code"]) == (503, "503")
        postgres.execute("postgres", f"CREATE DATABASE {name} TEMPLATE {prepared}")
        program.logged("database answers", times=2)
        assert get(path, token)[0] == 401
        assert program.end(signal.SIGTERM) == 0
    postgres.drop(name)


@pytest.mark.parametrize("ending", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_the_service_in_order(empty_database: str, ending: signal.Signals) -> None:
    with serving(**settings(empty_database)) as program:
        assert program.url.startswith("http://127.0.0.1:")
        assert program.end(ending) == 0


def shape(text: str) -> set[str]:
    """Its lines without what differs from run to run; log lines are left out."""
    lines = re.sub(r"127\.0\.0\.1:\d+|\(process \d+\)|TOKEN=.*|in \S+/\.?demo\.$", "*", text, flags=re.MULTILINE)
    return {line for line in lines.splitlines() if "[info" not in line}


def sample_of(command: str) -> set[str]:
    """What README.md shows after a command, as `shape` gives it."""
    readme = (Path(__file__).parents[2] / "README.md").read_text(encoding="utf-8")
    return shape(readme.partition(f"$ {command}\n")[2].partition("```")[0].strip("\n"))


@pytest.mark.slow
def test_the_demo_answers_its_own_examples_twice_in_a_row(tmp_path: Path) -> None:
    for _ in range(2):
        words = [*SERVICE, "demo", "--folder", str(tmp_path / "demo")]
        known = environment(LISTEN__PORT="0", LOG__LEVEL="error")
        process = subprocess.Popen(words, env=known, stdout=subprocess.PIPE, text=True)
        assert process.stdout is not None
        with process.stdout as lines:
            printed = []
            while not printed or " export incoming-cdrs " not in printed[-1]:
                printed.append(next(lines))
            text = "".join(printed)
            assert sample_of("make run") - {"Creating a PostgreSQL 18 data directory *"} <= shape(text)
            token = re.search(r"TOKEN=(\S+)", text)
            assert token is not None
            answers = [get(url, token[1]) for url in re.findall(r"TOKEN\".* '(http://[^']+)'", text)]
            assert [status for status, _ in answers] == [200] * 7
            browser = urllib.request.build_opener(urllib.request.HTTPCookieProcessor())
            body, login = re.findall(r"-d '(.+)' '(http://[^']+)'", text)[0]
            request = urllib.request.Request(login, body.encode(), {"Content-Type": "application/json"})
            with browser.open(request) as answer:
                assert answer.status == 201
            with browser.open(re.findall(r"-b cookies .*'(http://[^']+quality[^']+)'", text)[0]) as answer:
                assert json.load(answer)["totals"]["total_calls"] > 0
            with wave.open(io.BytesIO(answers[-1][1])) as tone:
                assert (tone.getframerate(), tone.getnframes(), len(set(tone.readframes(8000)))) == (8000, 8000, 2)
            page = re.search(r"^  (http://\S+/docs)$", text, re.MULTILINE)
            assert page is not None
            assert get(page[1])[0] == 200
            exporting = text[text.index("  export CDR_API") :].replace("calls.csv", str(tmp_path / "calls.csv"))
            subprocess.run(["sh", "-euc", exporting], check=True, stderr=subprocess.PIPE, timeout=60)
            assert len((tmp_path / "calls.csv").read_text().splitlines()) > 10
            process.send_signal(signal.SIGINT)
            assert process.wait(timeout=30) == 0
        assert not (tmp_path / "demo" / "data" / "postmaster.pid").exists()
