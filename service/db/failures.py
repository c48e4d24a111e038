"""Classifies PostgreSQL errors: lost connection, retryable conflict, or failed statement.

A database counts as lost only if the connection is dead. An error on a live connection means that this statement cannot
run: a resource, a lock, an object, a privilege or a foreign server is missing.
"""

from dataclasses import dataclass
from enum import Enum

import psycopg2
from psycopg2.extensions import TransactionRollbackError

from service.errors import DatabaseFailedError, database_failed

CONNECTION_ERRORS = (psycopg2.OperationalError, psycopg2.InterfaceError, TimeoutError)
FATAL = ("FATAL", "PANIC")  # Severities after which PostgreSQL closes the connection.
RETRY_SOON, RETRY_LATER = 5, 60  # Values of Retry-After, in seconds.


class Failure(Enum):
    """The kinds of errors."""

    LOST = "lost"  # The connection is dead.
    CONFLICT = "conflict"  # An immediate retry may succeed.
    STATEMENT = "statement"  # The statement cannot be run; the connection works.
    UNEXPECTED = "unexpected"  # A bug in this service.


@dataclass(frozen=True, slots=True)
class _Kind:
    """`detail`: the text for clients. `quotes`: PostgreSQL's message may contain values."""

    detail: str
    retry_after: int
    quotes: bool = False


REMOTE = _Kind("A part of the database is not available.", RETRY_SOON)
RESOURCE = _Kind("The database lacks a resource or a lock for this query.", RETRY_SOON)
SCHEMA = _Kind("The database lacks an object or a privilege that the service needs.", RETRY_LATER)
ENCODING = _Kind("The encoding of the database is not UTF8.", RETRY_LATER, quotes=True)
FEATURE = _Kind("The database does not support this query.", RETRY_LATER)
SERVER = _Kind("The database failed to run this query.", RETRY_SOON)

# By SQLSTATE, or by its class, which is its first two characters.
KINDS = {
    "08": REMOTE,  # Connection exceptions; on a live connection they concern a foreign server or a worker.
    "HV": REMOTE,  # Foreign data wrappers.
    "57P": REMOTE,  # Shutdown of a foreign server.
    "0A": FEATURE,  # What distributed tables do not support.
    "53": RESOURCE,  # Disk, memory, locks, temporary files, connections.
    "54": RESOURCE,  # Program limits.
    "55": RESOURCE,  # Objects that are in use, lock_timeout.
    "58": SERVER,  # Errors of the operating system.
    "XX": SERVER,  # Internal errors, corruption.
    "22021": ENCODING,
    "22P05": ENCODING,
    "3D000": SCHEMA,  # No such database.
    "3F000": SCHEMA,  # No such schema.
    "42P01": SCHEMA,  # No such table.
    "42703": SCHEMA,  # No such column.
    "42704": SCHEMA,  # No such object.
    "42804": SCHEMA,  # A column of another type.
    "42883": SCHEMA,  # No such function or operator, for example because a column has another type.
    "42501": SCHEMA,  # No privilege.
}
UNDEFINED_TABLE, INSUFFICIENT_PRIVILEGE = "42P01", "42501"


def classify(error: Exception, connection_closed: bool) -> Failure:
    """The kind of a statement's error."""
    if isinstance(error, TimeoutError):
        return Failure.LOST
    if isinstance(error, UnicodeDecodeError):
        return Failure.STATEMENT
    if not isinstance(error, psycopg2.Error):
        return Failure.UNEXPECTED
    severity = getattr(error.diag, "severity_nonlocalized", None)
    if connection_closed or severity in FATAL or (error.pgcode is None and isinstance(error, CONNECTION_ERRORS)):
        return Failure.LOST
    if isinstance(error, TransactionRollbackError):
        return Failure.CONFLICT
    return Failure.UNEXPECTED if _kind(error) is None else Failure.STATEMENT


def failed_statement(error: Exception) -> DatabaseFailedError:
    """The API error for a failed statement."""
    kind = _kind(error) or SERVER
    return database_failed(kind.detail, sqlstate_of(error), kind.retry_after)


def is_remote(sqlstate: str) -> bool:
    """True if the statement failed because a foreign server is not available."""
    return _lookup(sqlstate) is REMOTE


def sqlstate_of(error: Exception) -> str:
    """The SQLSTATE of an error."""
    if isinstance(error, UnicodeDecodeError):
        return "22021"  # character_not_in_repertoire.
    return getattr(error, "pgcode", None) or "unknown"


def message_of(error: Exception) -> str:
    """PostgreSQL's message in one line, for the log; empty if it may contain values."""
    kind = _kind(error)
    if kind is None or kind.quotes or not isinstance(error, psycopg2.Error):
        return ""
    return one_line(error.diag.message_primary or str(error))


def one_line(error: object) -> str:
    """The text of an error in one line, or the name of its class if the text is empty."""
    return " ".join(str(error).split()) or type(error).__name__


def _kind(error: Exception) -> _Kind | None:
    if isinstance(error, UnicodeDecodeError):
        return ENCODING
    return _lookup(getattr(error, "pgcode", None) or "")


def _lookup(sqlstate: str) -> _Kind | None:
    return KINDS.get(sqlstate) or KINDS.get(sqlstate[:3]) or KINDS.get(sqlstate[:2])
