"""The web application: services in, something that answers HTTP out."""

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

LOGIN_QUEUE = 200  # Logins that wait for a thread, at most half of them from one address,
LOGIN_WAIT = 20.0  # and for how many seconds.


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
    tasks = state.services.tasks
    for name, work in state.services.background.items():
        tasks.start(name, work)
    tasks.start("disconnects", partial(disconnects.watch, state.in_flight))
    tasks.start("readiness", partial(admin.watch, _admin_state(app)))
    yield
    await tasks.stop()
    await cancel_all(state.in_flight)  # The requests that are left are those whose clients have gone away.


def _admin_state(app: web.Application) -> admin.AdminState:
    return admin.AdminState(app[STATE].stopping, app[STATE].services.parts)


async def _admin_server(listening: socket.socket, app: web.Application) -> AsyncIterator[None]:
    """The admin port, from before the first request until after the last."""
    runner = web.AppRunner(admin.create(_admin_state(app)), access_log=None, shutdown_timeout=1)
    await runner.setup()
    await web.SockSite(runner, listening).start()
    yield
    await runner.cleanup()
