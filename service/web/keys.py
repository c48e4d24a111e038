"""What the application and a request carry along."""

import asyncio
from collections.abc import Callable, Mapping, Sequence

from aiohttp import web

from service.auth.access import Access
from service.auth.tokens import Tokens
from service.db.reader import Reader
from service.db.stream import Streams
from service.jsonapi.tabular import Format
from service.recordings.delivery import Store
from service.schemas.resource import Resource
from service.selection import Caller
from service.settings import Settings
from service.web.buckets import Allowance, Buckets
from service.web.clients import UnderWay
from service.web.pages import Pages
from service.web.routes import Route
from service.web.turns import Turns

SETTINGS = web.AppKey("settings", Settings)
TOKENS = web.AppKey("tokens", Tokens)
ACCESS = web.AppKey("access", Access)
STREAMS = web.AppKey("streams", Streams)
READER = web.AppKey("reader", Reader)
RECORDINGS = web.AppKey("recordings", Store)
CURSOR_KEYS = web.AppKey("cursor_keys", Sequence[bytes])  # The first signs, all verify.
RESOURCES = web.AppKey("resources", Mapping[str, Resource])
PAGES = web.AppKey("pages", Pages)
TURNS = web.AppKey("turns", Turns)
BUCKETS = web.AppKey("buckets", Buckets)  # There are none where requests are not limited.
UNDER_WAY = web.AppKey("under_way", UnderWay)
STOPPING = web.AppKey("stopping", asyncio.Event)  # Is set from a signal to stop on.
REPORT: web.AppKey[Callable[[BaseException], None]] = web.AppKey("report")  # Tells of an unexpected failure.

REQUEST_ID = web.RequestKey("request_id", str)
STARTED = web.RequestKey("started", float)  # Seconds of the monotonic clock.
ANSWERED = web.RequestKey("answered", float)  # The same, when the head of the answer was about to leave.
ROUTE = web.RequestKey("route", Route)
QUERY = web.RequestKey("query", dict)
FORMAT = web.RequestKey("format", Format)  # Of a list that is to be a table.
CALLER = web.RequestKey("caller", Caller)
ALLOWANCE = web.RequestKey("allowance", Allowance)
LEAVE: web.RequestKey[Callable[[], None]] = web.RequestKey("leave")  # Gives the place to work back early.
RENEWAL = web.RequestKey("renewal", str)  # The Set-Cookie header of a session that came by cookie.
