"""Sources of settings, and messages for invalid ones."""

import json
import re
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from datetime import UTC
from pathlib import Path
from typing import Any

import pytest

from service import cli, settings
from service.files import DEFAULT_SETTINGS
from service.recordings import stores
from service.schemas import resource
from service.settings import SettingsError
from tests.conftest import SECRET
from tests.programs import called, run


def leaves(node: dict[str, Any], path: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], Any]]:
    for key, value in node.items():
        yield from leaves(value, (*path, key)) if isinstance(value, dict) else [((*path, key), value)]


DEFAULTS = dict(leaves(tomllib.loads(DEFAULT_SETTINGS.read_text())))
OTHERS = {
    "auth.secrets": [SECRET],
    "overload.customer_concurrency": 3,
    "listen.port": 81,
    "listen.server_timing": True,
    "resources.time_zone": "Europe/Berlin",
    "recordings.format": "wav",
    "recordings.mode": "directory",
    "recordings.s3.endpoint": "http://127.0.0.1:9000",
    "gateway.trusted_proxies": ["10.0.0.0/8"],
    "log.level": "error",
    "log.format": "json",
    "telemetry.otlp_endpoint": "http://127.0.0.1:4318/v1/traces",
    "telemetry.sentry_dsn": "https://key@sentry.example/1",
}

# What the empty text stands for where it is the default.
EMPTY = {("auth", "secrets"): [], ("overload", "customer_concurrency"): None}


def other(path: tuple[str, ...]) -> Any:
    """A good value that is not the default."""
    default = DEFAULTS[path]
    if ".".join(path) in OTHERS:
        return OTHERS[".".join(path)]
    if isinstance(default, bool):
        return not default
    return ["x"] if isinstance(default, list) else default + type(default)(1)


def value(loaded: settings.Settings, path: tuple[str, ...]) -> Any:
    found: Any = loaded
    for name in path:
        found = getattr(found, name)
    return [secret.decode() for secret in found] if path == ("auth", "secrets") else found


@pytest.mark.parametrize("path", DEFAULTS, ids=".".join)
def test_the_environment_overrides_the_file_which_overrides_the_default(tmp_path: Path, path: tuple[str, ...]) -> None:
    name = settings.PREFIX + "__".join(path).upper()
    chosen = other(path)
    file = tmp_path / "own.toml"
    file.write_text(f"[{'.'.join(path[:-1])}]\n{path[-1]} = {json.dumps(chosen)}\n")
    default = value(settings.load(None, {}), path)
    assert default == EMPTY.get(path, DEFAULTS[path])
    assert value(settings.load(str(file), {}), path) == chosen
    assert value(settings.load(None, {settings.CONFIG: str(file)}), path) == chosen
    text = DEFAULTS[path] if isinstance(DEFAULTS[path], str) else json.dumps(default)
    assert value(settings.load(str(file), {name: text}), path) == default


@pytest.mark.parametrize("text", ["", "null"])
def test_tokens_without_end_are_asked_for_by_an_empty_lifetime(text: str) -> None:
    assert settings.load(None, {"CDR_API_AUTH__TOKEN_LIFETIME": text}).auth.token_lifetime is None


BAD = {
    "LISTEN__PORT": "70000",
    "LISTEN__PROT": "80",
    "LISTEN__WORKERS": "-1",
    "LISTEN__SERVER_TIMING": "perhaps",
    "ADMIN__PORT": "eighty",
    "OVERLOAD__CONCURRENCY": "0",
    "RATE_LIMIT__REQUESTS": "-1",
    "LOG__SLOW_REQUEST": "-1",
    "TELEMETRY__OTLP_ENDPOINT": "somewhere",
    "TELEMETRY__SENTRY_DSN": "https://sentry.example/1",
    "LISTEN": "80",
    "DATABASES__CDR__REPLICAS": "[" * 100_000,
    "NOSUCH": "1",
    "LISTEN__PORT__DEEPER": "1",
    "DATABASES__CDR__POOL_SIZE": "many",
    "DATABASES__STATEMENT_TIMEOUT": "0",
    "AUTH__SECRETS": json.dumps(["half of a surrogate pair is not text: \ud800"]),
    "AUTH__TOKEN_LIFETIME": "0",
    "RESOURCES__TIME_ZONE": "Mars/Olympus",
    "RESOURCES__INCOMING_CDR_HIDE_FIELDS": "[1]",
    "RECORDINGS__FORMAT": "ogg",
    "RECORDINGS__MODE": "ftp",
    "LISTEN__WRITE_TIMEOUT": "0",
    "RECORDINGS__S3__ENDPOINT": "127.0.0.1:9000",
    "RECORDINGS__S3__REGION": "",
    "RECORDINGS__S3__POOL_SIZE": "0",
    "RECORDINGS__S3__FORCE_PATH_STYLE": '"maybe"',
    "GATEWAY__TRUSTED_PROXIES": '["everyone"]',
    "LOG__LEVEL": "loud",
}


@pytest.mark.parametrize("name", BAD)
def test_what_cannot_be_used_is_named_by_its_key(name: str) -> None:
    with pytest.raises(SettingsError) as error:
        settings.load(None, {settings.PREFIX + name: BAD[name]})
    (problem,) = error.value.problems
    assert problem.startswith(name.lower().replace("__", ".").removesuffix(".deeper"))


FILES = [
    (None, "cannot be read"),
    ("a = [", "is not valid TOML"),
    ("a = " + "[" * 100_000, "is not valid TOML"),
    ("x = 1", "x: "),
]


@pytest.mark.parametrize(("text", "said"), FILES)
def test_a_file_that_cannot_be_used_is_named(tmp_path: Path, text: str | None, said: str) -> None:
    file = tmp_path / "own.toml"
    if text is not None:
        file.write_text(text)
    with pytest.raises(SettingsError, match=said):
        settings.load(str(file), {})


USABLE = {
    "DATABASES__CDR__DSN": "postgresql://nobody:pass@127.0.0.1/x",
    "DATABASES__ROUTING__DSN": "host=127.0.0.1",
    "AUTH__SECRETS": json.dumps([SECRET]),
}


@pytest.mark.parametrize(
    ("changed", "keys"),
    [
        ({"AUTH__SECRETS": "[]"}, ["auth.secrets"]),
        ({"AUTH__SECRETS": '["short"]'}, ["auth.secrets"]),
        ({"AUTH__SECRETS": ""}, ["auth.secrets"]),
        ({"AUTH__SECRETS": "x" * 31}, ["auth.secrets"]),
        ({"AUTH__SECRETS": json.dumps(["x" * 32, "x" * 31])}, ["auth.secrets"]),
        ({"AUTH__SECRETS": json.dumps("x" * 29)}, ["auth.secrets"]),
        ({"DATABASES__CDR__DSN": ""}, ["databases.cdr.dsn"]),
        ({"DATABASES__ROUTING__DSN": "no such words"}, ["databases.routing.dsn"]),
        ({"LISTEN__PORT": "x", "LOG__LEVEL": "y"}, ["listen.port", "log.level"]),
        ({"RECORDINGS__MODE": "s3"}, ["recordings.s3.bucket"]),
        ({"RECORDINGS__S3__BUCKET": "x"}, ["recordings.s3.bucket"]),
        ({"RECORDINGS__MODE": "directory"}, ["recordings.directory"]),
        ({"RECORDINGS__MODE": "directory", "RECORDINGS__DIRECTORY": "/no/such"}, ["recordings.directory"]),
        ({"RECORDINGS__DIRECTORY": "/"}, ["recordings.directory"]),
        ({"RECORDINGS__S3__ACCESS_KEY_ID": "x"}, ["recordings.s3.secret_access_key"]),
        ({"RECORDINGS__S3__SECRET_ACCESS_KEY": "x"}, ["recordings.s3.access_key_id"]),
    ],
)
def test_the_start_stops_with_one_line_for_each_problem(changed: dict[str, str], keys: list[str]) -> None:
    ended = called(["serve"], **{**USABLE, **changed})
    assert ended.returncode == 2
    assert [line.split(":")[1].strip() for line in ended.stderr.splitlines()] == keys


HIDDEN = [
    ("outgoing_cdr_hide_fields", "customer-price", "customer_price"),
    ("outgoing_cdr_hide_fields", "Customer_Price", "customer_price"),
    ("outgoing_cdr_hide_fields", "customerPrice", "customer_price"),
    ("outgoing_cdr_hide_fields", " customer_price", "customer_price"),
    ("outgoing_cdr_hide_fields", "customer_price ", "customer_price"),
    ("outgoing_cdr_hide_fields", "customer_prize", "customer_price"),
    ("outgoing_cdr_hide_fields", "customer_price_no_vat", "customer_price"),
    ("outgoing_cdr_hide_fields", "vendor_price", "customer_price"),
    ("outgoing_cdr_hide_fields", "accounts", "account"),
    ("outgoing_cdr_hide_fields", "", ""),
    ("outgoing_cdr_hide_fields", "id", ""),
    ("incoming_cdr_hide_fields", "vendor-price", "vendor_price"),
    ("incoming_cdr_hide_fields", "DIALPEER-FEE", "dialpeer_fee"),
    ("incoming_cdr_hide_fields", "customer_price", "vendor_price"),
    ("incoming_cdr_hide_fields", "account_id", "account"),
]


@pytest.mark.parametrize(("setting", "name", "nearest"), HIDDEN)
def test_a_hidden_name_that_is_no_attribute_is_refused_with_the_nearest(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], setting: str, name: str, nearest: str
) -> None:
    monkeypatch.setenv(f"CDR_API_RESOURCES__{setting.upper()}", json.dumps(["success", name]))
    assert cli.main(["config"]) == 2
    [line] = capsys.readouterr().err.splitlines()
    assert line.startswith(f"cdr-api: resources.{setting}: {name!r} is not an attribute of ")
    assert f"; did you mean '{nearest}" in line


@pytest.mark.parametrize("words", [["serve"], ["export", "cdrs", "--customer-id", "1", "--output", "-"], ["demo"]])
def test_no_command_shows_what_was_to_be_hidden(words: list[str]) -> None:
    ended = called(words, **USABLE, RESOURCES__OUTGOING_CDR_HIDE_FIELDS='["customer-price", "account-id"]')
    assert (ended.returncode, ended.stdout) == (2, "")
    assert [line.split("'")[1] for line in ended.stderr.splitlines()] == ["customer-price", "account-id"]


@pytest.mark.parametrize(("setting", "type_"), [("incoming", "incoming-cdrs"), ("outgoing", "cdrs")])
def test_every_attribute_and_relationship_can_be_hidden(setting: str, type_: str) -> None:
    known = resource.configured(UTC, {})[type_]
    names = json.dumps(known.members)
    loaded = settings.load(None, {f"CDR_API_RESOURCES__{setting.upper()}_CDR_HIDE_FIELDS": names})
    assert list(resource.problems(loaded.resources.hidden)) == []


SERVICE_LINKS = {
    "CDR_API_SERVICE_HOST": "10.96.0.17",
    "CDR_API_SERVICE_PORT": "8080",
    "CDR_API_SERVICE_PORT_HTTP": "8080",
    "CDR_API_SERVICE_PORT_ADMIN_2": "8081",
    "CDR_API_PORT": "tcp://10.96.0.17:8080",
    "CDR_API_PORT_8080_TCP": "tcp://10.96.0.17:8080",
    "CDR_API_PORT_8080_TCP_PROTO": "tcp",
    "CDR_API_PORT_8080_TCP_PORT": "8080",
    "CDR_API_PORT_8080_TCP_ADDR": "10.96.0.17",
    "CDR_API_PORT_8081_UDP": "udp://[fd00::17]:8081",
    "CDR_API_PORT_8081_UDP_ADDR": "fd00::17",
    "CDR_API_PORT_36412_SCTP_PROTO": "sctp",
    "CDR_API_METRICS_SERVICE_HOST": "10.96.0.18",
    "CDR_API_METRICS_SERVICE_PORT_HTTP_METRICS": "8081",
    "CDR_API_METRICS_PORT": "sctp://10.96.0.18:8081",
    "CDR_API_LISTEN_PORT": "tcp://10.96.0.19:8080",
    "CDR_API_LISTEN_PORT_8080_TCP_ADDR": "10.96.0.19",
}


def test_what_kubernetes_sets_for_a_service_of_this_name_is_no_setting() -> None:
    assert settings.load(None, {**SERVICE_LINKS, "CDR_API_LISTEN__PORT": "81"}) == settings.load(
        None, {"CDR_API_LISTEN__PORT": "81"}
    )


SIMILAR_PORTS = ["PORT", "PORTS", "PORT_8080", "PORT_TCP", "PORT_X_TCP", "PORT__8080_TCP", "PORT_8080_HTTP"]
SIMILAR_PARTS = ["PORT_8080_TCP_", "PORT_8080_TCP_HOST", "SERVICE", "SERVICE_HOSTS", "SERVICE__HOST", "SERVICE_PORT_"]
OTHER_NAMES = ["SERVICE_PORT__X", "LISTEN_PORT", "ADMIN_PORT", "LISTEN__PORT_80_TCP", "X__SERVICE_HOST", "service_host"]


@pytest.mark.parametrize("name", [*SIMILAR_PORTS, *SIMILAR_PARTS, *OTHER_NAMES])
def test_a_misspelt_setting_is_refused_however_much_it_looks_like_those(name: str) -> None:
    with pytest.raises(SettingsError) as error:
        settings.load(None, {**SERVICE_LINKS, settings.PREFIX + name: "8080"})
    assert len(error.value.problems) == 1


def test_a_bucket_needs_the_extra_and_nothing_else_does(monkeypatch: pytest.MonkeyPatch) -> None:
    loaded = settings.load(None, {"CDR_API_RECORDINGS__MODE": "s3", "CDR_API_RECORDINGS__S3__BUCKET": "x"})
    assert list(stores.problems(loaded.recordings)) == []
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    (problem,) = stores.problems(loaded.recordings)
    assert problem.startswith("recordings.mode: s3 needs the extra s3")
    look = "import sys; from service import cli; sys.exit('aiobotocore' in sys.modules or 'botocore' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", look], check=False).returncode == 0


def test_the_effective_settings_are_printed_without_secrets() -> None:
    keys = {"RECORDINGS__S3__ACCESS_KEY_ID": "HIDDENKEY", "RECORDINGS__S3__SECRET_ACCESS_KEY": "HIDDENSECRET"}
    ended = run(["config"], **USABLE, **keys)
    assert (ended.returncode, ended.stderr) == (0, "")
    assert "HIDDEN" not in ended.stdout
    assert json.loads(ended.stdout)["auth"]["secrets"] == [settings.MASKED]
    assert SECRET not in ended.stdout
    assert "pass@" not in ended.stdout


SAMPLE = DEFAULT_SETTINGS.with_name("cdr-api.env")


def test_the_sample_of_an_environment_is_the_same_to_a_shell_and_to_systemd() -> None:
    """systemd takes a value in single quotes as it is, unless it has a quote or a backslash inside, as a shell does."""
    lines = [line for line in SAMPLE.read_text().splitlines() if line and not line.startswith("#")]
    read = dict(re.fullmatch(r"(CDR_API_[A-Z0-9_]+)='([^'\\\n]*)'", line).groups() for line in lines)  # type: ignore[union-attr]
    sourced = (
        f"set -a; . {SAMPLE}; set +a; exec {sys.executable} -c 'import json, os; print(json.dumps(dict(os.environ)))'"
    )
    seen = json.loads(
        subprocess.run(["sh", "-euc", sourced], capture_output=True, text=True, check=True, timeout=60).stdout
    )
    assert {name: value for name, value in seen.items() if name.startswith(settings.PREFIX)} == read
    loaded = settings.load(None, read)
    settings.require(loaded, "databases.cdr.dsn", "databases.routing.dsn")
    with pytest.raises(SettingsError, match=r"auth\.secrets"):  # Nobody serves with a secret that everybody knows.
        settings.require(loaded, "auth.secrets")
    assert (loaded.listen.workers, loaded.log.format) == (2, "json")
