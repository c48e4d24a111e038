"""Reports unexpected errors to Sentry: type and traceback, without messages, variables or the request."""

import asyncio
from collections.abc import AsyncIterator
from importlib.metadata import version
from typing import Any

import sentry_sdk
from aiohttp import web
from sentry_sdk.transport import Transport
from sentry_sdk.types import Event, Hint
from sentry_sdk.utils import event_from_exception
from structlog.contextvars import get_contextvars

from service.web.keys import STATE

# The members of events and of exceptions that are sent. Others may contain client input.
KEPT = {"event_id", "timestamp", "level", "platform", "release", "environment", "exception", "sdk", "tags"}
KEPT_OF_EXCEPTION = {"type", "module", "mechanism", "stacktrace"}


def install(app: web.Application, dsn: str, transport: Transport | None = None) -> None:
    """Sends the application's error reports in the background. Automatic integrations are disabled."""
    client = sentry_sdk.Client(
        dsn=dsn,
        transport=transport,
        release=f"cdr-api@{version('cdr-api')}",
        default_integrations=False,
        auto_enabling_integrations=False,
        include_local_variables=False,
        max_breadcrumbs=0,
        before_send=_scrubbed,
    )

    def report(error: BaseException) -> None:
        event, hint = event_from_exception(error, client_options=client.options)
        event["tags"] = {"request_id": get_contextvars().get("request_id", "")}
        client.capture_event(event, hint)

    async def closing(_: web.Application) -> AsyncIterator[None]:
        yield
        await asyncio.to_thread(client.close, 2.0)

    app[STATE].report_error = report
    app.cleanup_ctx.append(closing)


def _scrubbed(event: Event, _: Hint) -> Event:
    kept: Any = {name: value for name, value in event.items() if name in KEPT}
    exceptions = event.get("exception", {}).get("values", [])
    kept["exception"] = {
        "values": [{name: value for name, value in one.items() if name in KEPT_OF_EXCEPTION} for one in exceptions]
    }
    return kept  # type: ignore[no-any-return] # It is an event with fewer keys.
