"""The application: everything is wired here, and nowhere else."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import suppress
from dataclasses import replace
from datetime import UTC
from zoneinfo import ZoneInfo

from aiohttp import web

from service.auth.access import Access
from service.auth.tokens import Tokens
from service.db.partitions import Directory
from service.db.pool import Limits, Pool
from service.db.reader import Reader
from service.db.replicas import Replica, Replicated
from service.db.search import Search
from service.db.stream import Streams
from service.jsonapi import cursors
from service.recordings import stores
from service.schemas import resource
from service.settings import CallDatabase, Database, Databases, Settings
from service.web import handlers, keys, responses, viewer
from service.web.middlewares import MIDDLEWARES

SEARCH_PATIENCE = 60.0  # Seconds that a search waits for the directory to be read, or the other way round.


def create(settings: Settings) -> web.Application:
    """An application that opens its pools when it starts and closes them when it ends."""
    app = web.Application(middlewares=MIDDLEWARES)
    app[keys.SETTINGS] = settings
    app[keys.TOKENS] = Tokens(settings.auth.secrets, settings.auth.token_lifetime)
    app[keys.CURSOR_KEYS] = cursors.keys(settings.auth.secrets)
    app[keys.RESOURCES] = resource.configured(
        UTC if settings.resources.time_zone == "UTC" else ZoneInfo(settings.resources.time_zone),
        {
            "incoming_cdr_hide_fields": settings.resources.incoming_cdr_hide_fields,
            "outgoing_cdr_hide_fields": settings.resources.outgoing_cdr_hide_fields,
        },
    )
    app[keys.PAGES] = viewer.pages(app[keys.RESOURCES], settings.recordings.format)
    app.router.add_route("*", r"/{path:[\s\S]*}", handlers.dispatch, expect_handler=handlers.expect)
    app.on_response_prepare.append(responses.finish)
    app.cleanup_ctx.append(_databases)
    app.cleanup_ctx.append(_recordings)
    return app


async def _databases(app: web.Application) -> AsyncIterator[None]:
    """Serves from the first moment, if only 503; the databases are waited for beside it."""
    settings = app[keys.SETTINGS].databases
    calls, routing = _calls(settings), Pool("routing", settings.routing.dsn, _limits(settings, settings.routing))
    # The directory has connections of its own, so that a search of all partitions is in nobody's way.
    searching = Pool("search", settings.cdr.dsn, replace(calls.primary.limits, size=2, acquire_timeout=SEARCH_PATIENCE))
    search = Search(searching)
    directory = Directory(searching, search, settings.cdr.directory_refresh)
    app[keys.READER] = reader = Reader(calls, routing, directory)
    app[keys.ACCESS] = Access(reader, app[keys.SETTINGS].auth.cache_seconds)
    export = app[keys.SETTINGS].export
    exporting = {
        name: Pool(f"{name} exports", database.dsn, replace(_limits(settings, database), size=export.pool_size))
        for name, database in (("cdr", settings.cdr), ("routing", settings.routing))
    }
    app[keys.STREAMS] = Streams(exporting, reader, export.max_rows)
    tasks = asyncio.gather(calls.primary.answer(), routing.answer(), calls.watch(), directory.watch())
    yield
    tasks.cancel()
    with suppress(asyncio.CancelledError):
        await tasks
    await search.close()
    await calls.close()
    for pool in (routing, searching, *exporting.values()):
        await pool.close()


async def _recordings(app: web.Application) -> AsyncIterator[None]:
    async with stores.opened(app[keys.SETTINGS].recordings) as store:
        app[keys.RECORDINGS] = store
        yield


def _calls(settings: Databases) -> Replicated:
    limits = _limits(settings, settings.cdr)
    replicas = [Replica(Pool(f"replica {n}", dsn, limits)) for n, dsn in enumerate(settings.cdr.replicas, 1)]
    return Replicated(Pool("cdr", settings.cdr.dsn, limits), replicas, settings.cdr.replica_max_lag)


def _limits(settings: Databases, database: Database | CallDatabase) -> Limits:
    return Limits(
        database.pool_size,
        settings.connect_timeout,
        settings.acquire_timeout,
        settings.statement_timeout,
        settings.prepared_statements,
        settings.transaction_pooling,
    )
