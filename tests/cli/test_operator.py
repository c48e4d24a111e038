"""The admin port, the dashboard and the alerts."""

import asyncio
import json
import re
import shutil
import subprocess
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import promql_parser
import pytest
from prometheus_client.metrics import MetricWrapperBase
from prometheus_client.parser import text_string_to_metric_families
from ruamel.yaml import YAML

from service.db import schema
from service.demo.postgres import Server
from service.files import SQL
from service.observability import metrics
from tests.conftest import SECRET, Connect, Data
from tests.load import once, until
from tests.programs import Program, on_database, run, serving

CONFIG = Path(__file__).parents[2] / "config"
RULES_TEST = Path(__file__).with_name("alerts_test.yml")
PROMTOOL = shutil.which("promtool")
LIST = "/api/rest/customer/v1/cdrs"
NOWHERE = "postgresql://nobody@127.0.0.1:1/nothing"


@pytest.fixture
def known(data: Data) -> dict[str, str]:
    data.customer(7)
    data.call(1, customer_id=7)
    return on_database(data.dsn, AUTH__SECRETS=json.dumps([SECRET]))


@pytest.fixture
def program(known: dict[str, str]) -> Iterator[Program]:
    with serving(**known) as running:
        yield running


async def told(program: Program, path: str) -> tuple[int, Any]:
    status, headers, body = await once(program.admin, path)
    assert headers["Cache-Control"] == "no-store"
    return status, json.loads(body)


async def test_a_service_with_its_databases_lives_and_is_ready(program: Program) -> None:
    assert await told(program, "/live") == (200, {"live": True})
    parts = {"database cdr": "up", "database routing": "up"}
    assert await told(program, "/ready") == (200, {"ready": True, "reasons": [], "parts": parts})


async def test_without_a_database_it_lives_but_is_not_ready_and_says_why(known: dict[str, str]) -> None:
    with serving(**{**known, "DATABASES__CDR__DSN": NOWHERE}) as program:
        assert (await told(program, "/live"))[0] == 200
        status, content = await told(program, "/ready")
        assert (status, content["ready"]) == (503, False)
        assert content["parts"] == {"database cdr": "down", "database routing": "up"}
        assert content["reasons"] == ["database cdr: The database is not available."]


@pytest.mark.slow
async def test_metrics_say_which_database_answers_even_without_traffic(tmp_path: Path) -> None:
    """And connections that have died while nobody asked are not counted."""
    with Server.start(tmp_path) as server, Server.start(tmp_path / "other") as other:
        schema.apply(server.dsn(), SQL / "schema" / "cdr")
        schema.apply(other.dsn(), SQL / "schema" / "routing")
        dsns = on_database(server.dsn(), routing=other.dsn())
        with serving(**dsns, AUTH__SECRETS=json.dumps([SECRET])) as program:
            program.logged("database answers", times=2)
            await until(partial(reports, program, {"cdr": 1, "routing": 1, "ready": 1}))
            server.stop()
            await until(partial(reports, program, {"cdr": 0, "routing": 1, "ready": 0}))
            assert 'cdr_api_pool_connections{pool="cdr",state="idle"} 0.0' in await exported(program)


async def reports(program: Program, expected: dict[str, float]) -> bool:
    """Whether the metrics report this health; they follow the checks of the readiness task."""
    text = await exported(program)
    found = {name: float(value) for name, value in re.findall(r'cdr_api_database_up{database="(\w+)"} (\S+)', text)}
    (ready,) = re.findall(r"^cdr_api_ready (\S+)$", text, re.MULTILINE)
    return {**found, "ready": float(ready)} == expected


@pytest.mark.parametrize("workers", ["1", "3"])
async def test_what_processes_take_of_the_machine_is_measured(known: dict[str, str], workers: str) -> None:
    with serving(**known, LISTEN__WORKERS=workers) as program:
        program.logged("serving", times=int(workers))
        await until(partial(reports, program, {"cdr": 1, "routing": 1, "ready": 1}))
        text = await exported(program)
        for name in ("cpu_seconds_total", "resident_memory_bytes", "open_fds", "max_fds", "start_time_seconds"):
            samples = re.findall(rf"^process_{name}(?:{{pid=\"(\d+)\"}})? (\S+)$", text, re.MULTILINE)
            assert all(float(value) > 0 for _, value in samples)
            pids = {"": 1} if workers == "1" else {str(program.process.pid): 1}
            assert pids.keys() <= {pid for pid, _ in samples}
            assert len(samples) == (1 if workers == "1" else 1 + int(workers))


@pytest.mark.skipif(PROMTOOL is None, reason="promtool is not installed")
def test_alerts_fire_within_two_minutes_and_only_then() -> None:
    for words in (["test", "rules", RULES_TEST], ["check", "rules", CONFIG / "prometheus" / "alerts.yml"]):
        ended = subprocess.run([str(PROMTOOL), *map(str, words)], capture_output=True, text=True, timeout=60)
        assert ended.returncode == 0, ended.stdout + ended.stderr


def test_every_alert_that_is_quick_is_tested_as_such() -> None:
    rules = YAML(typ="safe").load(CONFIG / "prometheus" / "alerts.yml")
    quick = {rule["alert"] for group in rules["groups"] for rule in group["rules"] if rule["for"] == "1m"}
    tested = {
        case["alertname"] for test in YAML(typ="safe").load(RULES_TEST)["tests"] for case in test["alert_rule_test"]
    }
    assert {"CdrApiGone", "CdrApiDatabaseDown"} <= quick <= tested
    interval = YAML(typ="safe").load(CONFIG / "prometheus" / "prometheus.yml")["global"]
    assert interval == {"scrape_interval": "15s", "evaluation_interval": "15s"}


async def test_customers_do_not_find_it_and_it_does_not_know_them(program: Program) -> None:
    for path in ("/live", "/ready", "/metrics"):
        assert (await once(program.url, path))[0] == 404
        assert (await once(program.admin, path))[0] == 200
    assert (await once(program.admin, LIST))[0] == 404


def test_it_is_on_loopback_by_default_and_can_be_left_out(known: dict[str, str], program: Program) -> None:
    assert program.admin.startswith("http://127.0.0.1:")
    with serving(**known, ADMIN__PORT="") as without:
        assert without.admin is None


async def test_requests_are_measured_by_route_and_never_by_what_a_client_makes_up(
    program: Program, connect: Connect, known: dict[str, str]
) -> None:
    token = run(["token", "--api-access", "7"], **known).stdout.strip()
    connection = await connect(program.url)
    for path in (LIST, f"{LIST}?sort=duration", f"{LIST}/1", f"{LIST}/x", "/one", "/two"):
        await connection.ask(path, Authorization=token)
    connection.writer.write(b"PROPFIND / HTTP/1.1\r\nHost: x\r\n\r\n")
    assert (await connection.answer())[0] == 404
    counted = re.findall(r"cdr_api_requests_total{(.*)} (\d+)", await exported(program))
    assert sorted(counted) == [
        (f'method="GET",route="{LIST}",status="200"', "2"),
        (f'method="GET",route="{LIST}/:id",status="200"', "1"),
        (f'method="GET",route="{LIST}/:id",status="400"', "1"),
        ('method="GET",route="none",status="404"', "2"),
        ('method="other",route="none",status="404"', "1"),
    ]
    assert 'cdr_api_build_info{python="' in await exported(program)


async def exported(program: Program) -> str:
    _, headers, text = await once(program.admin, "/metrics")
    assert headers["Content-Type"].startswith("text/plain")
    return text.decode()


def shown() -> Iterator[tuple[str, str, set[str]]]:
    """Each query of the dashboard with its title and the labels that its legend names."""
    board = json.loads((CONFIG / "grafana" / "dashboards" / "cdr-api.json").read_text())
    for panel in board["panels"]:
        for target in panel.get("targets", []):
            expression = target["expr"].replace("$__rate_interval", "5m")
            yield panel["title"], expression, set(re.findall(r"{{(\w+)}}", target["legendFormat"]))


def alerted() -> Iterator[tuple[str, str, set[str]]]:
    """The same of the alerts and their annotations."""
    rules = YAML(typ="safe").load(CONFIG / "prometheus" / "alerts.yml")
    for rule in (rule for group in rules["groups"] for rule in group["rules"]):
        yield rule["alert"], rule["expr"], set(re.findall(r"\$labels\.(\w+)", json.dumps(rule["annotations"])))


QUERIES = [*shown(), *alerted()]


def parts(node: Any) -> Iterator[Any]:
    """A query's syntax tree, flattened."""
    yield node
    inner = [getattr(node, name, None) for name in ("expr", "lhs", "rhs", "vector_selector")]
    for child in [*inner, *getattr(node, "args", [])]:
        if child is not None:
            yield from parts(child)


@pytest.fixture(scope="module")
def series() -> dict[str, set[str]]:
    """Every name that is exported, with its labels; what has no series yet has those that it is declared with."""
    secrets = json.dumps([SECRET])
    with serving(**on_database(NOWHERE), AUTH__SECRETS=secrets) as program:
        assert asyncio.run(once(program.url, LIST))[0] == 401
        text = asyncio.run(exported(program))
    declared = {m._name: set(m._labelnames) for m in vars(metrics).values() if isinstance(m, MetricWrapperBase)}
    endings = {"counter": {"_total": set()}, "histogram": {"_bucket": {"le"}, "_sum": set(), "_count": set()}}
    found: dict[str, set[str]] = {}
    for family in text_string_to_metric_families(text):
        for ending, more in endings.get(family.type, {"": set()}).items():
            of_process = family.name.startswith("process_")
            found[family.name + ending] = set() if of_process else declared[family.name] | more
        for sample in family.samples:
            assert set(sample.labels) == found[sample.name], sample
    assert len(found) > len(declared) > 15
    return {
        name: labels | {"job", "instance"} for name, labels in {**found, "up": set()}.items()
    }  # As Prometheus adds.


@pytest.mark.parametrize(("title", "query", "named"), QUERIES, ids=[title for title, *_ in QUERIES])
def test_a_query_asks_for_what_is_exported(
    series: dict[str, set[str]], title: str, query: str, named: set[str]
) -> None:
    tree = list(parts(promql_parser.parse(query)))
    selected = [node for node in tree if isinstance(node, promql_parser.VectorSelector)]
    assert selected
    known = set.intersection(*(series[node.name] for node in selected))
    for node in selected:
        assert {matcher.name for matcher in node.matchers.matchers} <= series[node.name]
    kept = known
    for node in tree:
        if isinstance(node, promql_parser.AggregateExpr):
            kept = set(node.modifier.labels) if node.modifier else set()
            assert kept <= known
    assert named <= kept - {"le"}
