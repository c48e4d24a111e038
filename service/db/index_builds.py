"""Builds and drops search indexes, partition by partition and without blocking writes. A restart continues the work.

The parent table gets its index first, which is empty and takes a short lock, so that new partitions inherit it. Each
partition's index is built concurrently and then attached. Statements that need a lock which blocks writers give up
after LOCK_TIMEOUT and are retried.
"""

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager

import psycopg2
from psycopg2 import errors, extensions, extras
from psycopg2.extensions import cursor as Cursor

from service.db import indexes
from service.db.indexes import Catalog, Index, SearchIndex, Table
from service.db.schema import SchemaError
from service.schemas.resource import CALLS

LOCK_TIMEOUT = "1s"
MAX_ATTEMPTS = 300
PAUSE = 1.0  # Seconds between attempts.
ADVISORY_LOCK = 0x6364722D696478  # "cdr-idx"
OWNER = """
SELECT pg_has_role(relowner, 'USAGE'), current_user, pg_get_userbyid(relowner)
  FROM pg_class
 WHERE oid = to_regclass(%s)
"""
TRIGRAMS = (
    "SELECT nspname FROM pg_extension JOIN pg_namespace ON pg_namespace.oid = extnamespace WHERE extname = 'pg_trgm'"
)

Say = Callable[[str], None]


def inspect(dsn: str, table: str = CALLS) -> Catalog:
    """The catalog of a table of calls. Raises SchemaError."""
    with _session(dsn) as cursor:
        return _catalog(cursor, table)


def create(dsn: str, wanted: Sequence[SearchIndex], say: Say, table: str = CALLS) -> None:
    """Build the missing indexes of a table of calls. Raises SchemaError, KeyboardInterrupt."""
    with _session(dsn) as cursor:
        _require_rights(cursor, table)
        if any(index.is_trigram for index in wanted):
            _require_trigrams(cursor)
        for index in wanted:
            _create(cursor, table, index, say)


def drop(dsn: str, unwanted: Sequence[SearchIndex], say: Say, table: str = CALLS) -> None:
    """Drop a table's indexes with these definitions and any name. Raises SchemaError, KeyboardInterrupt."""
    with _session(dsn) as cursor:
        _require_rights(cursor, table)
        for index in unwanted:
            _drop(cursor, table, index, say)


def _create(cursor: Cursor, calls: str, wanted: SearchIndex, say: Say) -> None:
    catalog = _catalog(cursor, calls)
    parents = [table for table in catalog.tables if table.kind == "p"]
    for table in parents:
        if not catalog.of(table, wanted):
            _locked(cursor, f"CREATE INDEX ON ONLY {table.name} USING {wanted.definition}", say)
    partitions = catalog.partitions
    for number, table in enumerate(partitions, 1):
        try:
            if _build(cursor, wanted, table, say):
                say(f"{wanted.name}: {table.name} done, {number} of {len(partitions)}")
        except errors.UndefinedTable:
            say(f"{wanted.name}: {table.name} no longer exists")
    for table in reversed(parents[1:]):
        _attach(cursor, wanted, table, say)
    for table in catalog.foreign:
        say(f"{wanted.name}: {table.name} is a foreign table, skipped")


def _build(cursor: Cursor, wanted: SearchIndex, table: Table, say: Say) -> bool:
    """Builds, or rebuilds, the partition's index and attaches it. Returns False if nothing was to do."""
    found = _found(cursor, wanted, table)
    unfinished = [index for index in found if not index.valid]
    for index in unfinished:
        say(f"{wanted.name}: {index.name} is unfinished, rebuilding")
        cursor.execute(f"{'REINDEX' if index.parent else 'DROP'} INDEX CONCURRENTLY {index.name}")
    if not _found(cursor, wanted, table):
        cursor.execute(f"CREATE INDEX CONCURRENTLY ON {table.name} USING {wanted.definition}")
    return _attach(cursor, wanted, table, say) or bool(unfinished)


def _attach(cursor: Cursor, wanted: SearchIndex, table: Table, say: Say) -> bool:
    """Attaches the table's index to that of its parent. Returns False if nothing was to do."""
    found = _found(cursor, wanted, table)
    if any(index.parent for index in found):
        return False
    parents = indexes.read_indexes(cursor, [table.parent]) if table.parent else ()
    for parent in parents:
        if parent.definition == wanted.definition:
            _locked(cursor, f"ALTER INDEX {parent.name} ATTACH PARTITION {found[0].name}", say)
            return True
    return False


def _drop(cursor: Cursor, calls: str, unwanted: SearchIndex, say: Say) -> None:
    """Drops the parent's index, which also drops all attached ones; drops the others concurrently."""
    for table in _catalog(cursor, calls).tables:
        for index in _found(cursor, unwanted, table):
            if index.parent:
                continue
            if table.kind == "p":
                _locked(cursor, f"DROP INDEX {index.name}", say)
            else:
                cursor.execute(f"DROP INDEX CONCURRENTLY IF EXISTS {index.name}")
            say(f"{unwanted.name}: {index.name} dropped")


def _found(cursor: Cursor, wanted: SearchIndex, table: Table) -> list[Index]:
    """The table's current indexes with this definition, valid ones first."""
    found = [i for i in indexes.read_indexes(cursor, [table.oid]) if i.definition == wanted.definition]
    return sorted(found, key=lambda index: not index.valid)


def _locked(cursor: Cursor, statement: str, say: Say) -> None:
    """Runs a statement that waits for a lock, and blocks writers for LOCK_TIMEOUT at most."""
    for attempt in range(MAX_ATTEMPTS):
        cursor.execute("SELECT set_config('lock_timeout', %s, false)", (LOCK_TIMEOUT,))
        try:
            cursor.execute(statement)
            return
        except (errors.LockNotAvailable, errors.DeadlockDetected):
            if attempt == 0:
                say(f"waiting for a lock: {statement}")
        finally:
            cursor.execute("SELECT set_config('lock_timeout', '0', false)")
        time.sleep(PAUSE)
    raise SchemaError(f"No lock after {MAX_ATTEMPTS} attempts: {statement}. Run the same command to continue.")


def _require_rights(cursor: Cursor, table: str) -> None:
    cursor.execute(OWNER, (table,))
    for owns, role, owner in cursor:
        if not owns:
            raise SchemaError(f"The role {role} may not change indexes of {table}; use its owner {owner}.")
    cursor.execute("SELECT pg_try_advisory_lock(%s)", (ADVISORY_LOCK,))
    if cursor.fetchone() != (True,):
        raise SchemaError("Another process is building or dropping indexes of this database.")


def _require_trigrams(cursor: Cursor) -> None:
    """Creates the extension if it is missing, and sets the search path to its schema. Raises SchemaError."""
    try:
        cursor.execute("CREATE EXTENSION IF NOT EXISTS pg_trgm")
    except psycopg2.Error as error:
        raise SchemaError(
            "The indexes named *_trgm need the extension pg_trgm, which is missing and could not be created:"
            f" {error.diag.message_primary}. Run CREATE EXTENSION pg_trgm as a superuser."
        ) from error
    cursor.execute(TRIGRAMS)
    for (schema,) in cursor.fetchall():
        cursor.execute("SELECT set_config('search_path', quote_ident(%s), false)", (schema,))


def _catalog(cursor: Cursor, table: str) -> Catalog:
    catalog = indexes.read_catalog(cursor, table)
    if not catalog.tables:
        raise SchemaError(f"The table {table} does not exist in this database.")
    return catalog


@contextmanager
def _session(dsn: str) -> Iterator[Cursor]:
    """A connection without timeouts. Ctrl-C cancels its statements. Raises SchemaError, KeyboardInterrupt."""
    extensions.set_wait_callback(extras.wait_select)
    try:
        with closing(psycopg2.connect(dsn)) as connection:
            connection.autocommit = True
            with connection.cursor() as cursor:
                cursor.execute(
                    "SELECT set_config('statement_timeout', '0', false), set_config('TimeZone', 'UTC', false)"
                )
                yield cursor
    except errors.QueryCanceled as error:
        raise KeyboardInterrupt from error
    except psycopg2.OperationalError as error:
        raise SchemaError(f"The database failed: {' '.join(str(error).split())}") from error
    except psycopg2.Error as error:
        raise SchemaError(f"PostgreSQL reported: {error.diag.message_primary or error}.") from error
    finally:
        extensions.set_wait_callback(None)
