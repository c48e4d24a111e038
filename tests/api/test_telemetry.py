"""Data sent to tracing and Sentry, received in memory, contains no values sent by clients."""

import asyncio
import json
import re
from typing import Any

import pytest
from aiohttp import web
from aiohttp.test_utils import TestClient, TestServer
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from sentry_sdk.envelope import Envelope
from sentry_sdk.transport import Transport

from service import settings, telemetry
from service.observability import timings
from service.telemetry import sentry, traces
from service.web.app import open_application
from tests.conftest import Api, Data, Serve, configured

NUMBER = "447700900123"
PARENT = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"


@pytest.fixture(autouse=True)
def rows(data: Data) -> None:
    data.customer(7)
    data.call(1, customer_id=7, dst_prefix_in=NUMBER)


class Received(Transport):
    """Sentry's answer to everything."""

    def __init__(self) -> None:
        super().__init__()
        self.events: list[Any] = []

    def capture_envelope(self, envelope: Envelope) -> None:
        self.events.append(envelope.get_event())


async def asked(data: Data, install: Any, *paths: str, **headers: str) -> list[int]:
    """The statuses of requests to an application that tells somebody, until it has ended."""
    loaded = configured(data.dsn)
    app = await open_application(loaded)
    install(app)
    async with TestClient(TestServer(app)) as client:
        api = Api(client, loaded)
        return [(await api.get(path, 7, headers=headers)).status for path in paths]


async def test_a_request_is_a_span_named_by_its_route_in_the_clients_trace(data: Data) -> None:
    exporter = InMemorySpanExporter()
    paths = [f"cdrs?filter[dst_prefix_in_eq]={NUMBER}", f"cdrs/{NUMBER}", f"/{NUMBER}"]
    statuses = await asked(
        data, lambda app: traces.install(app, exporter), *paths, traceparent=PARENT, Authorization="x", Referer=NUMBER
    )
    spans = exporter.get_finished_spans()
    assert statuses == [200, 404, 404]
    assert [span.name for span in spans] == [
        "GET /api/rest/customer/v1/cdrs",
        "GET /api/rest/customer/v1/cdrs/:id",
        "GET",
    ]
    assert [attributes(span)["http.response.status_code"] for span in spans] == [200, 404, 404]
    assert attributes(spans[0])["cdr_api.customer"] == 7
    assert {f"{span.context.trace_id:032x}" for span in spans} == {PARENT.split("-")[1]}
    assert not [span for span in spans if NUMBER in span.to_json()]


def attributes(span: ReadableSpan) -> dict[str, Any]:
    return dict(span.attributes or {})


async def test_an_unexpected_failure_is_told_without_a_value(data: Data) -> None:
    received, exporter = Received(), InMemorySpanExporter()
    data.execute("ALTER TABLE cdr.cdr ALTER COLUMN dst_prefix_in TYPE integer USING NULL")

    def install(app: Any) -> None:
        sentry.install(app, "https://key@sentry.example/1", received)
        traces.install(app, exporter)

    path = f"cdrs?filter[dst_prefix_in_eq]={NUMBER}"
    assert await asked(data, install, path, "cdrs?sort=x", **{"X-Request-Id": "abc"}) == [500, 400]
    (event,) = received.events
    assert event["exception"]["values"][-1]["type"] == "NumericValueOutOfRange"
    frames = event["exception"]["values"][-1]["stacktrace"]["frames"]
    assert [frame["module"] for frame in frames if frame["module"] == "service.db.pool"]
    assert event["tags"] == {"request_id": "abc"}
    assert event.keys() <= sentry.KEPT
    for told in (json.dumps(event, default=str), *(span.to_json() for span in exporter.get_finished_spans())):
        assert not [secret for secret in (NUMBER, "eyJ", "filter[", data.dsn) if secret in told]


def test_nothing_is_told_by_default_and_a_missing_library_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    assert list(telemetry.problems(settings.load(None, {}).telemetry)) == []
    wanted = {"TELEMETRY__OTLP_ENDPOINT": "http://127.0.0.1/", "TELEMETRY__SENTRY_DSN": "https://key@sentry.example/1"}
    loaded = configured("", **wanted)
    assert list(telemetry.problems(loaded.telemetry)) == []
    monkeypatch.setattr(telemetry, "find_spec", lambda name: None)
    assert list(telemetry.problems(loaded.telemetry)) == [
        "telemetry.otlp_endpoint: needs the extra otel, pip install '.[otel]'",
        "telemetry.sentry_dsn: needs the extra sentry, pip install '.[sentry]'",
    ]
    assert settings.shown(loaded)["telemetry"]["sentry_dsn"] == settings.MASKED


async def test_both_are_installed_by_their_settings_and_send(data: Data) -> None:
    received: dict[str, bytes] = {}

    async def receive(request: web.Request) -> web.Response:
        received[request.path] = await request.read()
        return web.Response(content_type="application/json", text="{}")

    services = web.Application()
    services.router.add_post("/{path:.*}", receive)
    data.execute("ALTER TABLE cdr.cdr ALTER COLUMN dst_prefix_in TYPE integer USING NULL")
    async with TestServer(services) as server:
        here = str(server.make_url("/"))
        dsn = here.replace("http://", "http://key@") + "1"
        loaded = configured(data.dsn, TELEMETRY__OTLP_ENDPOINT=f"{here}v1/traces", TELEMETRY__SENTRY_DSN=dsn)
        app = await open_application(loaded)
        telemetry.install(app, loaded.telemetry)
        async with TestClient(TestServer(app)) as client:
            assert (await Api(client, loaded).get(f"cdrs?filter[dst_prefix_in_eq]={NUMBER}", 7)).status == 500
    assert received.keys() == {"/v1/traces", "/api/1/envelope/"}
    assert b"/api/rest/customer/v1/cdrs" in received["/v1/traces"]


async def test_server_timing_names_statements_by_file_where_that_is_wanted(serve: Serve, data: Data) -> None:
    assert "server-timing" not in (await (await serve(data.dsn)).get("cdrs", 7)).headers
    timed = await serve(data.dsn, LISTEN__SERVER_TIMING="true")
    header = (await timed.get("cdrs", 7)).headers["server-timing"]
    assert re.fullmatch(r"[\w.-]+;dur=[\d.]+(, [\w.-]+;dur=[\d.]+)*", header)


async def test_statements_are_noted_for_the_request_that_is_under_way() -> None:
    async def request(seconds: float) -> list[float]:
        timings.collect()
        timings.add("cdr", "list", seconds)
        await asyncio.sleep(0)
        await asyncio.create_task(part(2 * seconds))
        return [one.seconds for one in timings.current()]

    async def part(seconds: float) -> None:
        timings.add("routing", "api_access", seconds)

    timings.add("cdr", "list", 1)
    assert await asyncio.gather(request(0.5), request(3)) == [[0.5, 1], [3, 6]]
    assert timings.current() == ()
