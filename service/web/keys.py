"""What the application and a request carry along."""

from collections.abc import Mapping

from aiohttp import web

from service.auth.access import Access
from service.auth.tokens import Tokens
from service.db.reader import Reader
from service.recordings.delivery import Store
from service.schemas.resource import Resource
from service.selection import Caller
from service.settings import Settings
from service.web.pages import Pages
from service.web.routes import Route

SETTINGS = web.AppKey("settings", Settings)
TOKENS = web.AppKey("tokens", Tokens)
ACCESS = web.AppKey("access", Access)
READER = web.AppKey("reader", Reader)
RECORDINGS = web.AppKey("recordings", Store)
RESOURCES = web.AppKey("resources", Mapping[str, Resource])
PAGES = web.AppKey("pages", Pages)

REQUEST_ID = web.RequestKey("request_id", str)
STARTED = web.RequestKey("started", float)  # Seconds of the monotonic clock.
ROUTE = web.RequestKey("route", Route)
CALLER = web.RequestKey("caller", Caller)
RENEWAL = web.RequestKey("renewal", str)  # The Set-Cookie header of a session that came by cookie.
