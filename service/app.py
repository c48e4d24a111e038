"""The application: everything is wired here, and nowhere else."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import suppress
from datetime import UTC
from zoneinfo import ZoneInfo

from aiohttp import web

from service.auth.tokens import Tokens
from service.db.pool import Limits, Pool
from service.db.reader import Reader
from service.schemas import resource
from service.settings import Database, Settings
from service.web import handlers, keys, responses
from service.web.middlewares import MIDDLEWARES


def create(settings: Settings) -> web.Application:
    """An application that opens its pools when it starts and closes them when it ends."""
    app = web.Application(middlewares=MIDDLEWARES)
    app[keys.SETTINGS] = settings
    app[keys.TOKENS] = Tokens(settings.auth.secrets, settings.auth.token_lifetime)
    app[keys.RESOURCES] = resource.configured(
        UTC if settings.resources.time_zone == "UTC" else ZoneInfo(settings.resources.time_zone),
        {
            "incoming_cdr_hide_fields": settings.resources.incoming_cdr_hide_fields,
            "outgoing_cdr_hide_fields": settings.resources.outgoing_cdr_hide_fields,
        },
    )
    app.router.add_route("*", r"/{path:[\s\S]*}", handlers.dispatch, expect_handler=handlers.expect)
    app.on_response_prepare.append(responses.finish)
    app.cleanup_ctx.append(_databases)
    return app


async def _databases(app: web.Application) -> AsyncIterator[None]:
    """Serves from the first moment, if only 503; the databases are waited for beside it."""
    settings = app[keys.SETTINGS]
    pools = {name: _pool(name, getattr(settings.databases, name), settings) for name in ("cdr", "routing")}
    app[keys.READER] = Reader(pools)
    waiting = asyncio.gather(*(pool.answer() for pool in pools.values()))
    yield
    waiting.cancel()
    with suppress(asyncio.CancelledError):
        await waiting
    for pool in pools.values():
        await pool.close()


def _pool(name: str, database: Database, settings: Settings) -> Pool:
    limits = settings.databases
    return Pool(
        name,
        database.dsn,
        Limits(database.pool_size, limits.connect_timeout, limits.acquire_timeout, limits.statement_timeout),
    )
