"""The admin port: /live, /ready and /metrics."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass

import orjson
from aiohttp import web

from service.observability import metrics, readiness
from service.observability.readiness import Part

INTERVAL = 5.0  # Seconds between checks of readiness.
MIN_RETRY, MAX_RETRY = 0.25, 2.0  # The same while the process is not ready; the interval doubles each time.
NOT_CACHED = {"cache-control": "no-store"}

Health = Callable[[], Awaitable[Mapping[str, Part]]]


@dataclass(frozen=True, slots=True)
class AdminState:
    """What the port reports. `stopping` is set after a signal to stop; `health` returns the parts."""

    stopping: asyncio.Event
    health: Health

    async def reasons(self) -> tuple[list[str], Mapping[str, Part]]:
        """Why the process is not ready, and all parts. Sets the metric as well."""
        parts = await self.health()
        found = [*(["stopping"] if self.stopping.is_set() else []), *readiness.reasons(parts)]
        metrics.READY.set(not found)
        return found, parts


ADMIN_STATE = web.AppKey("admin_state", AdminState)


def create(state: AdminState) -> web.Application:
    """The application of the admin port."""
    app = web.Application()
    app[ADMIN_STATE] = state
    app.router.add_get("/live", live)
    app.router.add_get("/ready", ready)
    app.router.add_get("/metrics", show_metrics)
    return app


async def watch(state: AdminState) -> None:
    """Checks readiness periodically, so that logs and metrics show outages even without requests."""
    retry = MIN_RETRY
    while True:
        reasons, _ = await state.reasons()
        await asyncio.sleep(retry if reasons else INTERVAL)
        retry = min(2 * retry, MAX_RETRY) if reasons else MIN_RETRY


async def live(_: web.Request) -> web.Response:
    """200 while the process responds, even if a database is down: a restart would not help."""
    return _document(200, {"live": True})


async def ready(request: web.Request) -> web.Response:
    """200 if the process can serve requests, else 503 with all reasons."""
    reasons, parts = await request.app[ADMIN_STATE].reasons()
    states = {name: "down" if part.problems else "up" for name, part in parts.items()}
    return _document(503 if reasons else 200, {"ready": not reasons, "reasons": reasons, "parts": states})


async def show_metrics(request: web.Request) -> web.Response:
    """The metrics of all processes, for Prometheus, with the current health of this process."""
    await request.app[ADMIN_STATE].reasons()
    text = await asyncio.to_thread(metrics.render)
    return web.Response(body=text, headers={"content-type": metrics.CONTENT_TYPE, **NOT_CACHED})


def _document(status: int, content: Mapping[str, object]) -> web.Response:
    headers = {"content-type": "application/json", **NOT_CACHED}
    return web.Response(status=status, body=orjson.dumps(content) + b"\n", headers=headers)
