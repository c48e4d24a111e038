"""The state of the application, and the keys of request values."""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field

from aiohttp import web

from service.concurrency.limiter import FairLimiter, Slot
from service.jsonapi.accept import Accept
from service.jsonapi.query_string import Parameters
from service.query import Caller
from service.services import Services
from service.settings import Settings
from service.tables.formats import Format
from service.web.login_throttle import LoginThrottle
from service.web.routes import Endpoint, Endpoints, Route
from service.web.static import StaticFiles
from service.web.token_bucket import RateLimit, TokenBucketLimiter

InFlight = dict["asyncio.Task[None]", web.Request]  # By the tasks of their connections.


@dataclass(slots=True)
class State:
    """The state of a web application. `stopping` is set after a signal to stop."""

    services: Services
    endpoints: Endpoints
    static_files: StaticFiles
    limiter: FairLimiter  # Requests in progress.
    login_limiter: FairLimiter  # Threads that check passwords, by client address.
    login_throttle: LoginThrottle
    searches: FairLimiter  # Requests that wait for a search of all partitions.
    exports: FairLimiter  # Exports that are being sent.
    recordings: FairLimiter  # Recordings that are being sent.
    rate_limiter: TokenBucketLimiter | None  # None without a rate limit.
    report_error: Callable[[BaseException], None] = lambda error: None
    in_flight: InFlight = field(default_factory=dict)
    stopping: asyncio.Event = field(default_factory=asyncio.Event)

    @property
    def settings(self) -> Settings:
        return self.services.settings


STATE = web.AppKey("state", State)

REQUEST_ID = web.RequestKey("request_id", str)
STARTED = web.RequestKey("started", float)  # Seconds of the monotonic clock.
RESPONSE_STARTED = web.RequestKey("response_started", float)  # The same clock, when the response head was sent.
BYTES_SENT = web.RequestKey("bytes_sent", int)  # Of the body of a streamed response.
TRUNCATED = web.RequestKey("truncated", bool)  # Set if a response was truncated; True if the client caused it.
ENDPOINT = web.RequestKey("endpoint", Endpoint)
ROUTE = web.RequestKey("route", Route)  # The endpoint, if it belongs to a resource.
ACCEPT = web.RequestKey("accept", Accept)
PARAMETERS: web.RequestKey[Parameters] = web.RequestKey("parameters")
FORMAT = web.RequestKey("format", Format)  # Set if a list is requested as a table.
CALLER = web.RequestKey("caller", Caller)
RATE_LIMIT = web.RequestKey("rate_limit", RateLimit)
SLOT = web.RequestKey("slot", Slot)  # The request's slot of `State.limiter`.
RENEWED_COOKIE = web.RequestKey("renewed_cookie", str)  # The Set-Cookie header, if the token came in a cookie.
