"""Creates the web application."""

import socket
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from functools import partial

from aiohttp import web

from service import services
from service.concurrency.limiter import FairLimiter, LimiterSettings
from service.concurrency.tasks import cancel_all
from service.db.search import SearchLimits
from service.services import Services
from service.settings import Settings
from service.web import admin, disconnects, docs, handlers, responses, routes
from service.web.keys import STATE, State
from service.web.login_throttle import LoginThrottle
from service.web.middlewares import MIDDLEWARES
from service.web.token_bucket import TokenBucketLimiter

LOGIN_QUEUE = 200  # Logins waiting for a thread, at most half of them from one address.
LOGIN_WAIT = 20.0  # Seconds that a login waits for a thread.


async def open_application(settings: Settings, admin_socket: socket.socket | None = None) -> web.Application:
    """An application with its own services, which are closed with it."""
    stack = AsyncExitStack()
    app = create(await stack.enter_async_context(services.opened(settings)), admin_socket)

    async def close(_: web.Application) -> None:
        await stack.aclose()

    app.on_cleanup.append(close)
    return app


def create(opened: Services, admin_socket: socket.socket | None = None) -> web.Application:
    """An application that uses open services. Serves the admin port on `admin_socket`, if given."""
    app = web.Application(middlewares=MIDDLEWARES)
    app[STATE] = _state(opened)
    app.router.add_route("*", r"/{path:[\s\S]*}", handlers.dispatch, expect_handler=handlers.expect)
    app.on_response_prepare.append(responses.add_common_headers)
    app.cleanup_ctx.append(_background)
    if admin_socket is not None:
        app.cleanup_ctx.append(partial(_admin_server, admin_socket))
    return app


def _state(opened: Services) -> State:
    settings, auth = opened.settings, opened.settings.auth
    limit, searches = settings.rate_limit, SearchLimits().waiting
    return State(
        services=opened,
        endpoints=routes.endpoints(auth=auth.login),
        static_files=docs.static_files(opened.resources, settings),
        limiter=FairLimiter(_limits(settings)),
        login_limiter=FairLimiter(_logins(auth.login_threads)),
        login_throttle=LoginThrottle(auth.failed_logins, auth.failed_logins_by_address, auth.failed_logins_period),
        searches=FairLimiter(LimiterSettings(searches, searches // 2, wait=settings.overload.wait)),
        exports=FairLimiter(_streams(settings.streams.concurrency)),
        recordings=FairLimiter(_streams(_recordings(settings))),
        rate_limiter=TokenBucketLimiter(limit.requests, limit.period) if limit.requests else None,
    )


def _logins(threads: int) -> LimiterSettings:
    return LimiterSettings(threads, threads, LOGIN_QUEUE, LOGIN_QUEUE // 2, LOGIN_WAIT)


def _limits(settings: Settings) -> LimiterSettings:
    """At most as many slots as connections, so that requests wait in the fair queue, not for a connection."""
    overload, connections = settings.overload, settings.databases.cdr.pool_size
    share = overload.customer_concurrency or max(1, connections // 2)
    concurrency = min(overload.concurrency, connections)
    return LimiterSettings(concurrency, share, overload.queue, overload.customer_queue, overload.wait)


def _streams(concurrency: int) -> LimiterSettings:
    """Without a queue, because a stream may take hours."""
    return LimiterSettings(concurrency, max(1, concurrency // 2), queue=0)


def _recordings(settings: Settings) -> int:
    """The maximal number of recordings that are sent concurrently; for S3, limited by its connections."""
    streams, recordings = settings.streams.concurrency, settings.recordings
    return min(streams, recordings.s3.pool_size) if recordings.mode == "s3" else streams


async def _background(app: web.Application) -> AsyncIterator[None]:
    """Runs the background tasks. The application serves at once, with 503 until the databases respond."""
    state = app[STATE]
    tasks = state.services.tasks
    for name, work in state.services.background.items():
        tasks.start(name, work)
    tasks.start("disconnects", partial(disconnects.watch, state.in_flight))
    tasks.start("readiness", partial(admin.watch, _admin_state(app)))
    yield
    await tasks.stop()
    await cancel_all(state.in_flight)  # The remaining requests are those of disconnected clients.


def _admin_state(app: web.Application) -> admin.AdminState:
    return admin.AdminState(app[STATE].stopping, app[STATE].services.parts)


async def _admin_server(listening: socket.socket, app: web.Application) -> AsyncIterator[None]:
    """Serves the admin port from before the first request until after the last."""
    runner = web.AppRunner(admin.create(_admin_state(app)), access_log=None, shutdown_timeout=1)
    await runner.setup()
    await web.SockSite(runner, listening).start()
    yield
    await runner.cleanup()
