"""The limit on open files of a process, and settings that respect it."""

import resource
from dataclasses import replace

import structlog

from service.settings import Settings

RESERVED = 100  # Files and sockets for code, log, event loop, admin port and refused connections.

log = structlog.get_logger()


def raise_limit() -> None:
    """Raises the soft limit to the hard limit, which needs no privilege."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


def limit_connections(settings: Settings) -> Settings:
    """The settings, with listen.max_connections reduced if the limit on open files requires it."""
    limit, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    if limit == resource.RLIM_INFINITY:
        return settings
    per_client = 2 if settings.recordings.mode == "directory" else 1  # A socket and possibly a recording.
    possible = max((limit - RESERVED - _of_databases(settings)) // per_client, 1)
    if possible >= settings.listen.max_connections:
        return settings
    log.warning("listen.max_connections lowered", configured=settings.listen.max_connections, effective=possible)
    return replace(settings, listen=replace(settings.listen, max_connections=possible))


def _of_databases(settings: Settings) -> int:
    databases, recordings = settings.databases, settings.recordings
    calls = databases.cdr.pool_size * (1 + len(databases.cdr.replicas))
    streamed = recordings.s3.pool_size if recordings.mode == "s3" else 0
    return calls + databases.routing.pool_size + 2 * settings.export.pool_size + streamed
