"""The web application: services in, something that answers HTTP out."""

import asyncio
import socket
from collections.abc import AsyncIterator, Iterable, Mapping
from contextlib import AsyncExitStack
from functools import partial

from aiohttp import web

from service import services
from service.concurrency.limiter import FairLimiter, LimiterSettings
from service.db.pool import PING
from service.db.search import MAX_WAITING_IDS
from service.services import Services
from service.settings import Settings
from service.web import admin, disconnects, docs, handlers, responses
from service.web.keys import STATE, State
from service.web.middlewares import MIDDLEWARES
from service.web.token_bucket import TokenBucketLimiter


async def open_application(settings: Settings, admin_socket: socket.socket | None = None) -> web.Application:
    """An application with services of its own, which are closed when it ends."""
    stack = AsyncExitStack()
    app = create(await stack.enter_async_context(services.opened(settings)), admin_socket)

    async def close(_: web.Application) -> None:
        await stack.aclose()

    app.on_cleanup.append(close)
    return app


def create(opened: Services, admin_socket: socket.socket | None = None) -> web.Application:
    """An application on open services. It serves the admin port on its socket, if there is one."""
    app = web.Application(middlewares=MIDDLEWARES)
    app[STATE] = _state(opened)
    app.router.add_route("*", r"/{path:[\s\S]*}", handlers.dispatch, expect_handler=handlers.expect)
    app.on_response_prepare.append(responses.add_common_headers)
    app.cleanup_ctx.append(_background)
    if admin_socket is not None:
        app.cleanup_ctx.append(partial(_admin_server, admin_socket))
    return app


def _state(opened: Services) -> State:
    settings = opened.settings
    limit = settings.rate_limit
    return State(
        services=opened,
        static_files=docs.static_files(opened.resources, settings),
        limiter=FairLimiter(_limits(settings)),
        searches=FairLimiter(LimiterSettings(MAX_WAITING_IDS, MAX_WAITING_IDS // 2, wait=settings.overload.wait)),
        exports=FairLimiter(_streams(settings.streams.concurrency)),
        recordings=FairLimiter(_streams(_recordings(settings))),
        rate_limiter=TokenBucketLimiter(limit.requests, limit.period) if limit.requests else None,
    )


def _limits(settings: Settings) -> LimiterSettings:
    """No more work at once than there are connections, so that requests wait where they wait fairly."""
    overload, connections = settings.overload, settings.databases.cdr.pool_size
    share = overload.customer_concurrency or max(1, connections // 2)
    concurrency = min(overload.concurrency, connections)
    return LimiterSettings(concurrency, share, overload.queue, overload.customer_queue, overload.wait)


def _streams(concurrency: int) -> LimiterSettings:
    """Nobody waits for a stream to end, since that may take hours."""
    return LimiterSettings(concurrency, max(1, concurrency // 2), queue=0)


def _recordings(settings: Settings) -> int:
    """How many recordings are sent at the same time; a bucket's connections bound them too."""
    streams, recordings = settings.streams.concurrency, settings.recordings
    return min(streams, recordings.s3.pool_size) if recordings.mode == "s3" else streams


async def _background(app: web.Application) -> AsyncIterator[None]:
    """Serves from the first moment, if only 503; the databases are waited for meanwhile."""
    state = app[STATE]
    work = [start() for start in state.services.background.values()]
    tasks = [asyncio.create_task(task) for task in (*work, disconnects.watch(state.in_flight))]
    yield
    await _end([*tasks, *state.in_flight])  # The requests that are left are those whose clients have gone away.


async def _end(tasks: Iterable[asyncio.Task[None]]) -> None:
    """Cancels again until all have ended: `asyncio.wait_for`, which aiopg uses, may swallow one on Python 3.11."""
    pending = set(tasks)
    while pending:
        for task in pending:
            task.cancel()
        _, pending = await asyncio.wait(pending, timeout=0.1)


async def _admin_server(listening: socket.socket, app: web.Application) -> AsyncIterator[None]:
    """The admin port, from before the first request until after the last."""
    state = admin.AdminState(app[STATE].stopping, partial(_health, app[STATE].services))
    runner = web.AppRunner(admin.create(state), access_log=None, shutdown_timeout=1)
    await runner.setup()
    await web.SockSite(runner, listening).start()
    yield
    await runner.cleanup()


async def _health(opened: Services) -> Mapping[str, str | None]:
    """What is wrong with each database, by name; None if it answers, even if only a replica does."""
    databases = opened.databases
    problems = await asyncio.gather(*(admin.problem_of(database.fetch(PING)) for database in databases.values()))
    return dict(zip(databases, problems, strict=True))
