"""The application: everything is wired here, and nowhere else."""

import asyncio
import socket
from collections.abc import AsyncIterator, Iterable, Mapping
from dataclasses import asdict, replace
from datetime import UTC
from functools import partial
from zoneinfo import ZoneInfo

from aiohttp import web

from service.auth.access import Access
from service.auth.tokens import TokenService
from service.db.export import Streams
from service.db.partitions import Directory
from service.db.pool import Limits, Pool
from service.db.reader import Queryable, Reader
from service.db.replicas import Replica, ReplicaRouter
from service.db.search import Search
from service.jsonapi import cursors
from service.recordings import stores
from service.schemas import resource
from service.settings import CallDatabase, Database, Databases, Settings
from service.web import admin, disconnects, docs, handlers, keys, responses
from service.web.limiter import FairLimiter, LimiterSettings
from service.web.middlewares import MIDDLEWARES
from service.web.token_bucket import TokenBucketLimiter

DATABASES: web.AppKey[Mapping[str, Queryable]] = web.AppKey("sources")

SEARCH_TIMEOUT = 60.0  # Seconds that a search waits for the directory to be read, or the other way round.


def create(settings: Settings, operator: socket.socket | None = None) -> web.Application:
    """An application that opens its pools, and the operator's port on its socket, and closes both when it ends."""
    app = web.Application(middlewares=MIDDLEWARES)
    app[keys.SETTINGS] = settings
    app[keys.TOKENS] = TokenService(settings.auth.secrets, settings.auth.token_lifetime)
    app[keys.CURSOR_KEYS] = cursors.keys(settings.auth.secrets)
    app[keys.RESOURCES] = resource.configured(
        UTC if settings.resources.time_zone == "UTC" else ZoneInfo(settings.resources.time_zone),
        {
            "incoming_cdr_hide_fields": settings.resources.incoming_cdr_hide_fields,
            "outgoing_cdr_hide_fields": settings.resources.outgoing_cdr_hide_fields,
        },
    )
    app[keys.STATIC_FILES] = docs.pages(app[keys.RESOURCES], settings)
    app.router.add_route("*", r"/{path:[\s\S]*}", handlers.dispatch, expect_handler=handlers.expect)
    app.on_response_prepare.append(responses.add_common_headers)
    _setup_limits(app, settings)
    _setup_telemetry(app, settings)
    app.cleanup_ctx.append(_databases)
    app.cleanup_ctx.append(_recordings)
    if operator is not None:
        app.cleanup_ctx.append(partial(_admin_server, operator))
    return app


def _setup_limits(app: web.Application, settings: Settings) -> None:
    """Takes on only so much at once, and nothing new at the end."""
    app[keys.STOPPING] = asyncio.Event()
    app[keys.IN_FLIGHT] = {}
    app[keys.LIMITER] = FairLimiter(LimiterSettings(**asdict(settings.overload)))
    if settings.rate_limit.requests:
        app[keys.RATE_LIMITER] = TokenBucketLimiter(settings.rate_limit.requests, settings.rate_limit.period)


def _setup_telemetry(app: web.Application, settings: Settings) -> None:
    """Tells other services, with libraries that are installed only where that is wanted."""
    app[keys.ERROR_REPORTER] = lambda error: None
    if settings.telemetry.otlp_endpoint:
        from service.telemetry import traces

        traces.install(app, traces.otlp(settings.telemetry.otlp_endpoint))
    if settings.telemetry.sentry_dsn:
        from service.telemetry import sentry

        sentry.install(app, settings.telemetry.sentry_dsn)


async def _databases(app: web.Application) -> AsyncIterator[None]:
    """Serves from the first moment, if only 503; the databases are waited for beside it."""
    settings = app[keys.SETTINGS].databases
    calls, routing = (
        _call_databases(settings),
        Pool("routing", settings.routing.dsn, _limits(settings, settings.routing)),
    )
    # The directory has connections of its own, so that a search of all partitions is in nobody's way.
    searching = Pool("search", settings.cdr.dsn, replace(calls.primary.limits, size=2, acquire_timeout=SEARCH_TIMEOUT))
    search = Search(searching)
    directory = Directory(searching, search, settings.cdr.directory_refresh)
    app[keys.READER] = reader = Reader(calls, routing, directory, app[keys.SETTINGS].resources.total_cache_seconds)
    app[keys.ACCESS] = Access(reader, app[keys.SETTINGS].auth.cache_seconds)
    export = app[keys.SETTINGS].export
    exporting = {
        name: Pool(f"{name} exports", database.dsn, replace(_limits(settings, database), size=export.pool_size))
        for name, database in (("cdr", settings.cdr), ("routing", settings.routing))
    }
    app[keys.STREAMS] = Streams(exporting, reader, export.max_rows)
    sources: Mapping[str, Queryable] = {"cdr": calls, "routing": routing}
    app[DATABASES] = sources
    clients_watched = disconnects.watch(app[keys.IN_FLIGHT])
    watching = (
        calls.primary.wait_until_ready(),
        routing.wait_until_ready(),
        calls.watch(),
        directory.watch(),
        clients_watched,
    )
    tasks = [asyncio.create_task(task) for task in watching]
    yield
    await _end([*tasks, *app[keys.IN_FLIGHT]])  # Of the requests, those are left whose clients have gone away.
    await search.close()
    await calls.close()
    for pool in (routing, searching, *exporting.values()):
        await pool.close()


async def _end(tasks: Iterable[asyncio.Task[None]]) -> None:
    """Cancels again until all have ended: `asyncio.wait_for`, which aiopg uses, may swallow one on Python 3.11."""
    pending = set(tasks)
    while pending:
        for task in pending:
            task.cancel()
        _, pending = await asyncio.wait(pending, timeout=0.1)


async def _recordings(app: web.Application) -> AsyncIterator[None]:
    async with stores.opened(app[keys.SETTINGS].recordings) as store:
        app[keys.RECORDINGS] = store
        yield


async def _admin_server(listening: socket.socket, app: web.Application) -> AsyncIterator[None]:
    """The operator's port, from before the first request until after the last."""
    operated = admin.AdminState(app[keys.STOPPING], partial(_health, app[DATABASES]))
    runner = web.AppRunner(admin.create(operated), access_log=None, shutdown_timeout=1)
    await runner.setup()
    await web.SockSite(runner, listening).start()
    yield
    await runner.cleanup()


async def _health(sources: Mapping[str, Queryable]) -> Mapping[str, str | None]:
    """What each part suffers of, by name; None where it answers, be it by a replica."""
    problems = await asyncio.gather(*(admin.problem_of(source.fetch("SELECT 1")) for source in sources.values()))
    return dict(zip((f"database {name}" for name in sources), problems, strict=True))


def _call_databases(settings: Databases) -> ReplicaRouter:
    limits = _limits(settings, settings.cdr)
    replicas = [Replica(Pool(f"replica {n}", dsn, limits)) for n, dsn in enumerate(settings.cdr.replicas, 1)]
    return ReplicaRouter(Pool("cdr", settings.cdr.dsn, limits), replicas, settings.cdr.replica_max_lag)


def _limits(settings: Databases, database: Database | CallDatabase) -> Limits:
    return Limits(
        database.pool_size,
        settings.connect_timeout,
        settings.acquire_timeout,
        settings.statement_timeout,
        settings.prepared_statements,
        settings.transaction_pooling,
    )
