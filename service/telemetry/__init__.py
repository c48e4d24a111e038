"""What is told to other services, if they are set up: traces of requests, and failures; never a value of a client's."""

from collections.abc import Iterator
from importlib.util import find_spec

from aiohttp import web

from service.settings import Telemetry

# Which library a setting needs, and which extra of the distribution brings it.
EXTRAS = {"otlp_endpoint": ("opentelemetry", "otel"), "sentry_dsn": ("sentry_sdk", "sentry")}


def problems(telemetry: Telemetry) -> Iterator[str]:
    """A line for each setting whose library is not installed."""
    for name, (library, extra) in EXTRAS.items():
        if getattr(telemetry, name) and find_spec(library) is None:
            yield f"telemetry.{name}: needs the extra {extra}, pip install '.[{extra}]'"


def install(app: web.Application, telemetry: Telemetry) -> None:
    """Makes an application send what is set up; the libraries are imported only for that."""
    if telemetry.otlp_endpoint:
        from service.telemetry import traces

        traces.install(app, traces.otlp(telemetry.otlp_endpoint))
    if telemetry.sentry_dsn:
        from service.telemetry import sentry

        sentry.install(app, telemetry.sentry_dsn)
