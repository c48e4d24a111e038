"""Settings to everything that the service is made of, without a web server: the only place where parts are wired."""

from collections.abc import AsyncIterator, Callable, Coroutine, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, replace
from datetime import UTC
from typing import Any
from zoneinfo import ZoneInfo

from service.auth.access import Access
from service.auth.tokens import TokenService
from service.db.access import AccessRepository
from service.db.export import ExportReader
from service.db.lookup import RecordLookup
from service.db.partitions import PartitionDirectory
from service.db.pool import Limits, Pool
from service.db.records import Queryable, RecordReader
from service.db.replicas import Replica, ReplicaRouter
from service.db.search import PartitionSearch
from service.jsonapi import cursors
from service.recordings import stores
from service.recordings.delivery import Store
from service.schemas import resource
from service.schemas.resource import Resource
from service.settings import CallDatabase, Database, Databases, Settings

SEARCH_TIMEOUT = 60.0  # Seconds that a search of all partitions waits for a connection.

Work = Callable[[], Coroutine[Any, Any, None]]


@dataclass(frozen=True, slots=True)
class Services:
    """The parts by what they do. `background` is the work that a server does beside requests, by name."""

    settings: Settings
    resources: Mapping[str, Resource]  # By type.
    tokens: TokenService
    access: Access
    cursor_keys: tuple[bytes, ...]  # The first signs, all verify.
    records: RecordReader
    lookup: RecordLookup
    exports: ExportReader
    recordings: Store
    databases: Mapping[str, Queryable]  # By name: cdr and routing.
    directory: PartitionDirectory
    background: Mapping[str, Work]


@asynccontextmanager
async def opened(settings: Settings) -> AsyncIterator[Services]:
    """The services until the block is left. No database is asked before they are used."""
    async with AsyncExitStack() as stack:
        calls, routing = (
            _call_databases(settings.databases),
            _pool("routing", settings.databases, settings.databases.routing),
        )
        # Searches have connections of their own, so that a search of all partitions delays nobody else.
        searching = Pool(
            "search", settings.databases.cdr.dsn, replace(calls.primary.limits, size=2, acquire_timeout=SEARCH_TIMEOUT)
        )
        search = PartitionSearch(searching)
        directory = PartitionDirectory(searching, search, settings.databases.cdr.directory_refresh)
        exporting = {
            name: _pool(f"{name} exports", settings.databases, database, settings.export.pool_size)
            for name, database in (("cdr", settings.databases.cdr), ("routing", settings.databases.routing))
        }
        for close in (calls.close, *(pool.close for pool in (routing, searching, *exporting.values())), search.close):
            stack.push_async_callback(close)
        records = RecordReader(
            calls, routing, directory, settings.resources.total_cache_seconds, settings.resources.total_timeout
        )
        yield Services(
            settings=settings,
            resources=_resources(settings),
            tokens=TokenService(settings.auth.secrets, settings.auth.token_lifetime),
            access=Access(AccessRepository(routing), settings.auth.cache_seconds),
            cursor_keys=cursors.keys(settings.auth.secrets),
            records=records,
            lookup=RecordLookup(calls, routing, directory),
            exports=ExportReader(exporting, records, settings.export.transaction_timeout),
            recordings=await stack.enter_async_context(stores.opened(settings.recordings)),
            databases={"cdr": calls, "routing": routing},
            directory=directory,
            background={
                "database cdr": calls.primary.wait_until_ready,
                "database routing": routing.wait_until_ready,
                "replicas": calls.watch,
                "partition directory": directory.watch,
            },
        )


def _resources(settings: Settings) -> dict[str, Resource]:
    zone = settings.resources.time_zone
    return resource.configured(UTC if zone == "UTC" else ZoneInfo(zone), settings.resources.hidden)


def _call_databases(settings: Databases) -> ReplicaRouter:
    primary = _pool("cdr", settings, settings.cdr)
    replicas = [
        Replica(Pool(f"replica {number}", dsn, primary.limits)) for number, dsn in enumerate(settings.cdr.replicas, 1)
    ]
    return ReplicaRouter(primary, replicas, settings.cdr.replica_max_lag)


def _pool(name: str, settings: Databases, database: Database | CallDatabase, size: int | None = None) -> Pool:
    limits = Limits(
        size or database.pool_size,
        settings.connect_timeout,
        settings.acquire_timeout,
        settings.statement_timeout,
        settings.prepared_statements,
        settings.transaction_pooling,
    )
    return Pool(name, database.dsn, limits)
