"""Optional traces (OpenTelemetry) and error reports (Sentry), without values sent by clients."""

from collections.abc import Iterator
from importlib.util import find_spec

from aiohttp import web

from service.settings import Telemetry

# The library that a setting needs, and the extra that installs it.
EXTRAS = {"otlp_endpoint": ("opentelemetry", "otel"), "sentry_dsn": ("sentry_sdk", "sentry")}


def problems(telemetry: Telemetry) -> Iterator[str]:
    """One line for each setting whose library is not installed."""
    for name, (library, extra) in EXTRAS.items():
        if getattr(telemetry, name) and find_spec(library) is None:
            yield f"telemetry.{name}: needs the extra {extra}, pip install '.[{extra}]'"


def install(app: web.Application, telemetry: Telemetry) -> None:
    """Enables what is configured; imports the libraries only if needed."""
    if telemetry.otlp_endpoint:
        from service.telemetry import traces

        traces.install(app, traces.otlp(telemetry.otlp_endpoint))
    if telemetry.sentry_dsn:
        from service.telemetry import sentry

        sentry.install(app, telemetry.sentry_dsn)
