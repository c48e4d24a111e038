"""OpenTelemetry traces: a span for each request, named by the route's template, with statements as events."""

import asyncio
from collections.abc import AsyncIterator
from importlib.metadata import version

from aiohttp import hdrs, web
from aiohttp.typedefs import Handler, Middleware
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import SERVICE_NAME, SERVICE_VERSION, Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExporter
from opentelemetry.trace import Span, SpanKind, StatusCode, Tracer
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

from service.observability import timings
from service.web.keys import CALLER, ENDPOINT, REQUEST_ID

EXPORT_TIMEOUT = 3.0  # Seconds. The last spans delay the end of the process by this time at most.
CLIENTS = TraceContextTextMapPropagator()  # Continues the trace of the request header `traceparent`.


def install(app: web.Application, exporter: SpanExporter) -> None:
    """Sends spans to an exporter in the background, and the remaining ones when the application ends."""
    resource = Resource.create({SERVICE_NAME: "cdr-api", SERVICE_VERSION: version("cdr-api")})
    provider = TracerProvider(resource=resource, shutdown_on_exit=False)
    provider.add_span_processor(BatchSpanProcessor(exporter))

    async def closing(_: web.Application) -> AsyncIterator[None]:
        yield
        await asyncio.to_thread(provider.shutdown)

    app.middlewares.insert(1, _traced(provider.get_tracer("cdr-api")))  # After request_id.
    app.cleanup_ctx.append(closing)


def otlp(endpoint: str) -> SpanExporter:
    """An exporter for OTLP over HTTP."""
    return OTLPSpanExporter(endpoint=endpoint, timeout=EXPORT_TIMEOUT)


def _traced(tracer: Tracer) -> Middleware:
    @web.middleware
    async def traced(request: web.Request, handler: Handler) -> web.StreamResponse:
        # Exceptions are not recorded, because messages may contain client input.
        with tracer.start_as_current_span(
            "request",
            context=CLIENTS.extract(request.headers),
            kind=SpanKind.SERVER,
            record_exception=False,
            set_status_on_exception=False,
        ) as span:
            response = await handler(request)
            _describe(span, request, response)
            return response

    return traced


def _describe(span: Span, request: web.Request, response: web.StreamResponse) -> None:
    """Adds the route, but not path and query, which may contain phone numbers."""
    route, caller = request.get(ENDPOINT), request.get(CALLER)
    method = request.method if request.method in hdrs.METH_ALL else "_OTHER"
    span.update_name(f"{method} {route.template}" if route else method)
    span.set_attribute("http.request.method", method)
    span.set_attribute("http.response.status_code", response.status)
    span.set_attribute("cdr_api.request_id", request[REQUEST_ID])
    if route:
        span.set_attribute("http.route", route.template)
    if caller:
        span.set_attribute("cdr_api.customer", caller.customer_id)
    if response.status >= 500:
        span.set_status(StatusCode.ERROR)
    for timing in timings.current():
        name = f"{timing.pool}.{timing.statement}"
        span.add_event("statement", {"cdr_api.statement": name, "cdr_api.seconds": timing.seconds})
