"""What the application and a request carry along."""

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
    """What one web application works with. `stopping` is set from a signal to stop on."""

    services: Services
    endpoints: Endpoints
    static_files: StaticFiles
    limiter: FairLimiter  # Of work.
    login_limiter: FairLimiter  # Of the threads that check passwords, by client address.
    login_throttle: LoginThrottle
    searches: FairLimiter  # Of waiting for a search of all partitions.
    exports: FairLimiter  # Of exports while they are sent.
    recordings: FairLimiter  # Of recordings while they are sent.
    rate_limiter: TokenBucketLimiter | None  # None if requests are not limited by rate.
    report_error: Callable[[BaseException], None] = lambda error: None
    in_flight: InFlight = field(default_factory=dict)
    stopping: asyncio.Event = field(default_factory=asyncio.Event)

    @property
    def settings(self) -> Settings:
        return self.services.settings


STATE = web.AppKey("state", State)

REQUEST_ID = web.RequestKey("request_id", str)
STARTED = web.RequestKey("started", float)  # Seconds of the monotonic clock.
RESPONSE_STARTED = web.RequestKey("response_started", float)  # The same, when the head of the response was sent.
BYTES_SENT = web.RequestKey("bytes_sent", int)  # Of the body of a response that is sent piece by piece.
BROKEN_OFF = web.RequestKey("broken_off", bool)  # Set where a response was not sent whole: whether due to the client.
ENDPOINT = web.RequestKey("endpoint", Endpoint)  # What is asked for.
ROUTE = web.RequestKey("route", Route)  # The same, if it is asked of a resource.
ACCEPT = web.RequestKey("accept", Accept)
PARAMETERS: web.RequestKey[Parameters] = web.RequestKey("parameters")
FORMAT = web.RequestKey("format", Format)  # Of a list that is asked for as a table.
CALLER = web.RequestKey("caller", Caller)
RATE_LIMIT = web.RequestKey("rate_limit", RateLimit)
SLOT = web.RequestKey("slot", Slot)  # The limiter's slot that the request works in.
RENEWED_COOKIE = web.RequestKey("renewed_cookie", str)  # The Set-Cookie header of a session that came by cookie.
