"""Metrics for /metrics. Any package may import this module. Dashboard and alerts rely on the metric names."""

import os
import platform
from functools import lru_cache
from importlib.metadata import version
from pathlib import Path
from typing import TypeVar

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    ProcessCollector,
    disable_created_metrics,
    values,
)
from prometheus_client.exposition import CONTENT_TYPE_PLAIN_0_0_4, generate_latest
from prometheus_client.multiprocess import MultiProcessCollector, mark_process_dead

from service.observability.processes import WorkersCollector

CONTENT_TYPE = CONTENT_TYPE_PLAIN_0_0_4
FOLDER = "PROMETHEUS_MULTIPROC_DIR"

# `_created` series are not used and would double the number of series.
disable_created_metrics()  # type: ignore[no-untyped-call] # It has no types.

REGISTRY = CollectorRegistry()
SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30)


Series = TypeVar("Series", Counter, Gauge, Histogram)


def _counter(name: str, text: str, *labels: str) -> Counter:
    return Counter(f"cdr_api_{name}", text, labels, registry=REGISTRY)


def _histogram(name: str, text: str, *labels: str) -> Histogram:
    return Histogram(f"cdr_api_{name}", text, labels, registry=REGISTRY, buckets=SECONDS)


def _gauge_sum(name: str, text: str, *labels: str) -> Gauge:
    """A gauge whose values in several workers add up."""
    return Gauge(f"cdr_api_{name}", text, labels, registry=REGISTRY, multiprocess_mode="livesum")


def _gauge_max(name: str, text: str, *labels: str) -> Gauge:
    """A gauge of which the highest value of all workers is shown."""
    return Gauge(f"cdr_api_{name}", text, labels, registry=REGISTRY, multiprocess_mode="livemax")


def _gauge_min(name: str, text: str, *labels: str) -> Gauge:
    """A gauge of which the lowest value of all workers is shown."""
    return Gauge(f"cdr_api_{name}", text, labels, registry=REGISTRY, multiprocess_mode="livemin")


BUILD_INFO = _gauge_max("build_info", "Always 1; labels: version of the service and of Python.", "version", "python")
REQUESTS = _counter("requests", "Requests. Status 499: the client disconnected.", "route", "method", "status")
REQUEST_SECONDS = _histogram("request_seconds", "Seconds until the response started.", "route")
REQUESTS_IN_FLIGHT = _gauge_sum("requests_in_flight", "Requests in progress, including waiting ones.")
REQUESTS_WAITING = _gauge_sum("requests_waiting", "Requests waiting for a slot.")
REQUESTS_REFUSED = _counter("requests_refused", "Requests refused because a limit was reached.", "reason")
CONNECTIONS = _gauge_sum("connections", "Open client connections.")
CONNECTIONS_CLOSED = _counter("connections_closed", "Client connections closed by the service.", "reason")
LOG_LINES_DROPPED = _counter("log_lines_dropped", "Log lines dropped because standard error is not read fast enough.")
RESPONSE_BYTES = _counter("response_bytes", "Bytes of response bodies.", "route")

POOL_CONNECTIONS = _gauge_sum("pool_connections", "Database connections.", "pool", "state")
POOL_WAIT_SECONDS = _histogram("pool_wait_seconds", "Seconds of waiting for a database connection.", "pool")
STATEMENT_SECONDS = _histogram("statement_seconds", "Seconds that a statement took.", "pool", "statement")
STATEMENT_FAILURES = _counter("statement_failures", "Statements that the database could not run.", "pool", "sqlstate")
DATABASE_UP = _gauge_min("database_up", "1 if the database responds.", "database")
PARTITION_LOCKS = _gauge_max("partition_locks", "Locks that a statement on all partitions takes.")
LOCK_CAPACITY = _gauge_max("lock_capacity", "Locks that fit into the lock table of the database.")
READY = _gauge_min("ready", "1 if /ready returns 200.")
BACKGROUND_FAILURES = _counter("background_failures", "Failures of background tasks.", "task")
DATABASE_RETRIES = _counter("database_retries", "Retries of statements.", "pool", "reason")
REPLICA_UP = _gauge_min("replica_up", "1 if the replica is in use.", "replica")
REPLICA_LAG_SECONDS = _gauge_max("replica_lag_seconds", "Replication lag in seconds.", "replica")
DIRECTORY_AGE_SECONDS = _gauge_max("directory_age_seconds", "Seconds since the directory was refreshed.", "table")
DIRECTORY_LOOKUPS = _counter("directory_lookups", "Look-ups of a call by id.", "outcome")
LOGINS = _counter("logins", "Login attempts.", "outcome")
CACHE_REQUESTS = _counter("cache_requests", "Cache requests.", "cache", "outcome")

CACHES = ("token", "caller", "total", "password_cost", "partition_changes", "day_sums", "day_counts")
CLOSING = ("evicted", "head_timeout", "head_too_large", "not_http", "too_many", "write_timeout")

# Label values known in advance are exported as 0 from the start, so that rates are defined.
KNOWN: dict[Counter | Gauge | Histogram, tuple[tuple[str, ...], ...]] = {
    BUILD_INFO: ((version("cdr-api"), platform.python_version()),),
    REQUESTS_REFUSED: tuple((reason,) for reason in ("queue", "customer_queue", "wait", "rate", "streams")),
    CONNECTIONS_CLOSED: tuple((reason,) for reason in CLOSING),
    POOL_CONNECTIONS: tuple((pool, state) for pool in ("cdr", "routing") for state in ("idle", "busy")),
    POOL_WAIT_SECONDS: (("cdr",), ("routing",)),
    DATABASE_UP: (("cdr",), ("routing",)),
    DIRECTORY_AGE_SECONDS: (("cdr.cdr",),),
    DIRECTORY_LOOKUPS: tuple((outcome,) for outcome in ("typical_range", "id_range", "search", "not_found")),
    LOGINS: (("succeeded",), ("failed",), ("throttled",)),
    CACHE_REQUESTS: tuple((cache, outcome) for cache in CACHES for outcome in ("hit", "miss")),
}
PLAIN = (
    CONNECTIONS,
    LOCK_CAPACITY,
    LOG_LINES_DROPPED,
    PARTITION_LOCKS,
    REQUESTS_IN_FLIGHT,
    REQUESTS_WAITING,
)

ProcessCollector(registry=REGISTRY)


@lru_cache(4096)
def series(metric: Series, *labels: object) -> Series:
    """The series of a metric with these labels, cached because `labels` is slow."""
    return metric.labels(*labels)


def count_cache_request(cache: str, *, hit: bool) -> None:
    """Counts a cache request."""
    series(CACHE_REQUESTS, cache, "hit" if hit else "miss").inc()


def enable_multiprocess(folder: str) -> None:
    """Stores values in files in this folder from now on, so that forked workers share them."""
    for metric in KNOWN:
        metric.clear()
    os.environ[FOLDER] = folder
    values.ValueClass = values.get_value_class()  # type: ignore[no-untyped-call] # It has no types.
    for plain in PLAIN:
        plain._metric_init()  # The library creates values of metrics without labels here.


def init_label_values() -> None:
    """Creates the series whose label values are known in advance; called in each serving process."""
    for metric, series in KNOWN.items():
        for labels in series:
            metric.labels(*labels)
    if FOLDER in os.environ:
        READY._metric_init()  # Not in the main process, whose value would always be the minimum.
    for build in KNOWN[BUILD_INFO]:
        BUILD_INFO.labels(*build).set(1)


def worker_exited(process: int) -> None:
    """Removes the live gauges of a worker that has exited; its counters stay."""
    mark_process_dead(process)  # type: ignore[no-untyped-call] # It has no types.


def render() -> bytes:
    """All metrics in Prometheus text format, including those of the other workers."""
    if FOLDER not in os.environ:
        return generate_latest(REGISTRY)
    registry = CollectorRegistry()
    MultiProcessCollector(registry)  # type: ignore[no-untyped-call] # It has no types.
    registry.register(WorkersCollector(Path(os.environ[FOLDER])))
    return generate_latest(registry)
