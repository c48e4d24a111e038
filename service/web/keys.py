"""What the application and a request carry along."""

import asyncio
from collections.abc import Callable, Mapping, Sequence

from aiohttp import web

from service.auth.access import Access
from service.auth.tokens import TokenService
from service.db.export import Streams
from service.db.reader import Reader
from service.query import Caller
from service.recordings.delivery import Store
from service.schemas.resource import Resource
from service.settings import Settings
from service.tables.formats import Format
from service.web.disconnects import InFlight
from service.web.limiter import FairLimiter
from service.web.routes import Route
from service.web.static import StaticFiles
from service.web.token_bucket import RateLimit, TokenBucketLimiter

SETTINGS = web.AppKey("settings", Settings)
TOKENS = web.AppKey("tokens", TokenService)
ACCESS = web.AppKey("access", Access)
STREAMS = web.AppKey("streams", Streams)
READER = web.AppKey("reader", Reader)
RECORDINGS = web.AppKey("recordings", Store)
CURSOR_KEYS = web.AppKey("cursor_keys", Sequence[bytes])  # The first signs, all verify.
RESOURCES = web.AppKey("resources", Mapping[str, Resource])
STATIC_FILES = web.AppKey("pages", StaticFiles)
LIMITER = web.AppKey("turns", FairLimiter)
RATE_LIMITER = web.AppKey("buckets", TokenBucketLimiter)  # There are none where requests are not limited.
IN_FLIGHT = web.AppKey("under_way", InFlight)
STOPPING = web.AppKey("stopping", asyncio.Event)  # Is set from a signal to stop on.
ERROR_REPORTER: web.AppKey[Callable[[BaseException], None]] = web.AppKey("report")  # Tells of an unexpected failure.

REQUEST_ID = web.RequestKey("request_id", str)
STARTED = web.RequestKey("started", float)  # Seconds of the monotonic clock.
RESPONSE_STARTED = web.RequestKey("answered", float)  # The same, when the head of the answer was about to leave.
ROUTE = web.RequestKey("route", Route)
QUERY = web.RequestKey("query", dict)
FORMAT = web.RequestKey("format", Format)  # Of a list that is to be a table.
CALLER = web.RequestKey("caller", Caller)
RATE_LIMIT = web.RequestKey("allowance", RateLimit)
RELEASE: web.RequestKey[Callable[[], None]] = web.RequestKey("leave")  # Gives the place to work back early.
RENEWED_COOKIE = web.RequestKey("renewal", str)  # The Set-Cookie header of a session that came by cookie.
