"""What is counted and measured, for /metrics; every room may import it, and dashboard and alerts rely on the names."""

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

# When each series was begun is of no use, and would double their number.
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


BUILD_INFO = _gauge_max("build_info", "Always 1; the labels say what runs.", "version", "python")
REQUESTS = _counter("requests", "Requests; 499 is a client that went away.", "route", "method", "status")
REQUEST_SECONDS = _histogram("request_seconds", "Time to make an answer.", "route")
REQUESTS_IN_FLIGHT = _gauge_sum("requests_in_flight", "Requests that are being answered, those that wait among them.")
REQUESTS_WAITING = _gauge_sum("requests_waiting", "Requests that wait for a place to work.")
REQUESTS_REFUSED = _counter("requests_refused", "Requests sent away because there were too many.", "reason")
CONNECTIONS = _gauge_sum("connections", "Connections of clients that are open.")
CONNECTIONS_CLOSED = _counter("connections_closed", "Connections that the service closed before the client.", "reason")
LOG_LINES_DROPPED = _counter("log_lines_dropped", "Log lines that were not written, because nobody reads them.")
RESPONSE_BYTES = _counter("response_bytes", "Bytes of bodies.", "route")

POOL_CONNECTIONS = _gauge_sum("pool_connections", "Connections to a database.", "pool", "state")
POOL_WAIT_SECONDS = _histogram("pool_wait_seconds", "Time until a connection was free.", "pool")
STATEMENT_SECONDS = _histogram("statement_seconds", "Time that a statement took, by its file.", "pool", "statement")
STATEMENT_FAILURES = _counter("statement_failures", "Statements that the database could not run.", "pool", "sqlstate")
DATABASE_UP = _gauge_min("database_up", "Whether a database answers.", "database")
PARTITION_LOCKS = _gauge_max("partition_locks", "Locks that a statement on all partitions takes.")
LOCK_CAPACITY = _gauge_max("lock_capacity", "Locks that the database has room for.")
READY = _gauge_min("ready", "Whether /ready says that requests may be sent here.")
BACKGROUND_FAILURES = _counter("background_failures", "Failures of work beside the requests.", "task")
DATABASE_RETRIES = _counter("database_retries", "Statements that were tried again.", "pool", "reason")
REPLICA_UP = _gauge_min("replica_up", "Whether a replica is read from.", "replica")
REPLICA_LAG_SECONDS = _gauge_max("replica_lag_seconds", "How far a replica is behind.", "replica")
DIRECTORY_AGE_SECONDS = _gauge_max("directory_age_seconds", "Age of what is known of the partitions.", "table")
DIRECTORY_LOOKUPS = _counter("directory_lookups", "Searches for the partition of a call.", "outcome")
LOGINS = _counter("logins", "Logins that were tried.", "outcome")
CACHE_REQUESTS = _counter("cache_requests", "Questions to a cache.", "cache", "outcome")

CACHES = ("token", "caller", "total", "password_cost", "partition_changes", "day_sums")
CLOSING = ("evicted", "head_timeout", "head_too_large", "not_http", "too_many", "write_timeout")

# What is known beforehand appears from the start, so that a rate has something to begin with.
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
    """The series of a metric with these labels, which takes the library a while to find."""
    return metric.labels(*labels)


def count_cache_request(cache: str, *, hit: bool) -> None:
    """Counts a question to a cache."""
    series(CACHE_REQUESTS, cache, "hit" if hit else "miss").inc()


def enable_multiprocess(folder: str) -> None:
    """Keeps values in files of this folder from now on, so that those of forked workers add up."""
    for metric in KNOWN:
        metric.clear()
    os.environ[FOLDER] = folder
    values.ValueClass = values.get_value_class()  # type: ignore[no-untyped-call] # It has no types.
    for plain in PLAIN:
        plain._metric_init()  # The library's own step for a value that is to be made later.


def init_label_values() -> None:
    """Makes what is known beforehand visible, in each process that serves."""
    for metric, series in KNOWN.items():
        for labels in series:
            metric.labels(*labels)
    if FOLDER in os.environ:
        READY._metric_init()  # Not before: the first process, which serves nothing, would be the least of all for ever.
    for build in KNOWN[BUILD_INFO]:
        BUILD_INFO.labels(*build).set(1)


def worker_exited(process: int) -> None:
    """Forgets what a worker that has ended was doing; what it has counted stays."""
    mark_process_dead(process)  # type: ignore[no-untyped-call] # It has no types.


def render() -> bytes:
    """All values as text for Prometheus, those of the other workers included."""
    if FOLDER not in os.environ:
        return generate_latest(REGISTRY)
    registry = CollectorRegistry()
    MultiProcessCollector(registry)  # type: ignore[no-untyped-call] # It has no types.
    registry.register(WorkersCollector(Path(os.environ[FOLDER])))
    return generate_latest(registry)
