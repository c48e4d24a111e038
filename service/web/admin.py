"""The operator's port: whether the process lives, whether it can serve and why not, and what it has measured."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass

import orjson
from aiohttp import web

from service.errors import ApiError
from service.observability import metrics

PATIENCE = 2.0  # Seconds in which everything has to answer; who asks does not wait much longer.
NOT_CACHED = {"cache-control": "no-store"}

Health = Callable[[], Awaitable[Mapping[str, str | None]]]


@dataclass(frozen=True, slots=True)
class AdminState:
    """What the port tells of: `stopping` is set by a signal to stop; `health` says what is wrong with databases."""

    stopping: asyncio.Event
    health: Health


ADMIN_STATE = web.AppKey("operated", AdminState)


def create(operated: AdminState) -> web.Application:
    """The application of the port; it knows no customers."""
    app = web.Application()
    app[ADMIN_STATE] = operated
    app.router.add_get("/live", live)
    app.router.add_get("/ready", ready)
    app.router.add_get("/metrics", measured)
    return app


async def live(_: web.Request) -> web.Response:
    """The process answers, whatever else may be wrong; there is no use in starting it anew."""
    return _document(200, {"live": True})


async def ready(request: web.Request) -> web.Response:
    """Whether requests should be sent here, and all that speaks against it."""
    operated = request.app[ADMIN_STATE]
    databases = await operated.health()
    reasons = [f"database {name}: {problem}" for name, problem in databases.items() if problem is not None]
    if operated.stopping.is_set():
        reasons.insert(0, "stopping")
    states = {f"database {name}": "down" if problem else "up" for name, problem in databases.items()}
    return _document(503 if reasons else 200, {"ready": not reasons, "reasons": reasons, "parts": states})


async def measured(request: web.Request) -> web.Response:
    """Everything that is measured, of all processes, for Prometheus; each time the databases are asked first."""
    operated = request.app[ADMIN_STATE]
    up = {name: problem is None for name, problem in (await operated.health()).items()}
    metrics.set_health(up, ready=all(up.values()) and not operated.stopping.is_set())
    text = await asyncio.to_thread(metrics.render)
    return web.Response(body=text, headers={"content-type": metrics.CONTENT_TYPE, **NOT_CACHED})


async def problem_of(answer: Awaitable[object]) -> str | None:
    """What keeps a part from answering in time, in words that name no address, or None."""
    try:
        async with asyncio.timeout(PATIENCE):
            await answer
    except TimeoutError:
        return f"did not answer in {PATIENCE:g} seconds"
    except ApiError as refused:
        return str(refused)
    except Exception as error:
        return type(error).__name__
    return None


def _document(status: int, content: Mapping[str, object]) -> web.Response:
    headers = {"content-type": "application/json", **NOT_CACHED}
    return web.Response(status=status, body=orjson.dumps(content) + b"\n", headers=headers)
