"""Creates tables, partitions and demo data. Used by commands, not by requests."""

from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import psycopg2
from psycopg2 import sql
from psycopg2.extensions import cursor as Cursor
from psycopg2.extensions import make_dsn

from service.db import indexes
from service.db.partition_reader import moment, time_range
from service.db.session import ENCODING, FORMATS, set_local
from service.schemas.resource import CALLS

BATCH = 50  # Partitions in one transaction; each takes about ten locks of the shared lock table.
# With an explicit offset, the bounds do not depend on the time zone of the server or the session.
PARTITION = sql.SQL("CREATE TABLE {partition} PARTITION OF {table} FOR VALUES FROM ({first}) TO ({next})")
PARTITIONS = """
SELECT pg_namespace.nspname || '.' || pg_class.relname,
       pg_class.relkind,
       pg_get_expr(pg_class.relpartbound, pg_class.oid)
  FROM pg_catalog.pg_inherits
  JOIN pg_catalog.pg_class ON pg_class.oid = pg_inherits.inhrelid
  JOIN pg_catalog.pg_namespace ON pg_namespace.oid = pg_class.relnamespace
 WHERE pg_inherits.inhparent = to_regclass(%s)
"""
RECORDED = "SELECT DISTINCT local_tag FROM cdr.cdr WHERE audio_recorded"
ORDINARY = "r"
KINDS = {"f": "a foreign table", "p": "partitioned itself"}


class SchemaError(Exception):
    """PostgreSQL rejected a file or a partition; the transaction was rolled back."""


def apply(dsn: str, folder: Path) -> list[str]:
    """Run the folder's *.sql in name order in one transaction and return their names; raises SchemaError."""
    files = sorted(folder.glob("*.sql"))
    if not files:
        raise SchemaError(f"No SQL files in {folder}.")
    with _transaction(dsn) as cursor:
        for file in files:
            _run_file(cursor, file)
    return [file.name for file in files]


def create_partitions(dsn: str, first: date, last: date, table: str = CALLS) -> list[str]:
    """Create the UTC days' missing partitions of a table of calls, both ends included, and return their names.

    BATCH partitions share a transaction, which holds locks on each. `last` is before date.max. Raises SchemaError, for
    example if a partition with another name covers part of a day (contract 16.1), or if the partition next to a day is
    partitioned itself or a foreign table, because an ordinary one would store its calls here. Earlier batches are kept.
    """
    return [name for batch in partition_batches(dsn, first, last, table) for name in batch]


def partition_batches(dsn: str, first: date, last: date, table: str = CALLS) -> Iterator[list[str]]:
    """Create partitions like `create_partitions`, and yield their names batch by batch."""
    days = [first + timedelta(days=number) for number in range((last - first).days + 1)]
    for start in range(0, len(days), BATCH):
        yield _create_missing(dsn, days[start : start + BATCH], table)


def load_demo(dsn_cdr: str, dsn_routing: str, folder: Path) -> None:
    """Fill two databases (or one) that have the schema with demo data; a repetition adds the calls since then."""
    today = datetime.now(UTC).date()
    create_partitions(dsn_cdr, today - timedelta(days=11), today + timedelta(days=3))
    apply(dsn_routing, folder / "routing")
    apply(dsn_cdr, folder / "cdr")


def recorded_tags(dsn: str) -> list[str]:
    """Return the local tags of the calls that were recorded. Raises SchemaError."""
    with _transaction(dsn) as cursor:
        cursor.execute(RECORDED)
        return [tag for (tag,) in cursor]


def _refuse_beside_other_kinds(day: date, existing: list[tuple[str, str, str]]) -> None:
    """Raises SchemaError if the partition before the day, or else the first one after it, is not an ordinary table."""
    ranged = [(bounds, name, kind) for name, kind, text in existing if (bounds := time_range(text))]
    before = [found for found in ranged if moment(found[0][1]).date() <= day]
    after = [found for found in ranged if found not in before]
    if not ranged:
        return
    _, name, kind = max(before, key=lambda f: moment(f[0][1])) if before else min(after, key=lambda f: moment(f[0][0]))
    if kind != ORDINARY:
        raise SchemaError(
            f"No partition for {day}: {name} is {KINDS.get(kind, 'of another kind')}, but an ordinary partition would "
            "store the day's calls on this server. Create the partition in the same way as that one."
        )


@contextmanager
def _transaction(dsn: str) -> Iterator[Cursor]:
    try:
        connected = psycopg2.connect(make_dsn(dsn, client_encoding=ENCODING))
    except psycopg2.OperationalError as error:
        raise SchemaError(f"The database cannot be reached: {' '.join(str(error).split())}") from error
    with closing(connected) as connection, connection, connection.cursor() as cursor:
        _prepare_session(cursor)
        yield cursor


def _prepare_session(cursor: Cursor) -> None:
    """Overrides settings of a role that is meant for reading only."""
    try:
        cursor.execute(set_local({**FORMATS, "transaction_read_only": "off", "statement_timeout": "0"}))
    except psycopg2.Error as error:
        raise SchemaError(f"The database is not writable: {error.diag.message_primary or error}.") from error


def _run_file(cursor: Cursor, file: Path) -> None:
    try:
        text = indexes.without_existing(cursor, file.read_text(encoding="utf-8"))
        if text:
            cursor.execute(text)
    except psycopg2.Error as error:
        raise SchemaError(f"{file.name} failed: {_reason(error)}") from error


def _create_missing(dsn: str, days: Sequence[date], table: str) -> list[str]:
    with _transaction(dsn) as cursor:
        cursor.execute(PARTITIONS, (table,))
        existing = list(cursor)
        names = {name for name, _, _ in existing}
        missing = [day for day in days if _partition_of(table, day) not in names]
        for day in missing:
            _refuse_beside_other_kinds(day, existing)
        for day in missing:
            _create_partition(cursor, table, day)
    return [_partition_of(table, day) for day in missing]


def _create_partition(cursor: Cursor, table: str, day: date) -> None:
    statement = PARTITION.format(
        partition=sql.Identifier(*_partition_of(table, day).split(".")),
        table=sql.Identifier(*table.split(".")),
        first=sql.Literal(f"{day} 00:00:00+00"),
        next=sql.Literal(f"{day + timedelta(days=1)} 00:00:00+00"),
    )
    try:
        cursor.execute(statement)
    except psycopg2.Error as error:
        raise SchemaError(f"No partition for {day}: {_reason(error)}") from error


def _reason(error: psycopg2.Error) -> str:
    """PostgreSQL's message and hint."""
    said = f"{error.diag.message_primary or error}."
    return f"{said} {error.diag.message_hint}" if error.diag.message_hint else said


def _partition_of(table: str, day: date) -> str:
    return f"{table}_{day:%Y_%m_%d}"
