"""What an error of PostgreSQL means: a lost connection, a conflict to be tried again, or a statement that failed.

Only a dead connection is a lost database. An error over a live connection says that this statement cannot be run: a
resource, a lock, an object, a privilege, or a server behind this one is missing.
"""

from dataclasses import dataclass
from enum import Enum

import psycopg2
from psycopg2.extensions import TransactionRollbackError

from service.errors import DatabaseFailedError, database_failed

CONNECTION_ERRORS = (psycopg2.OperationalError, psycopg2.InterfaceError, TimeoutError)
FATAL = ("FATAL", "PANIC")  # Severities after which PostgreSQL closes the connection.
RETRY_SOON, RETRY_LATER = 5, 60  # Seconds that a client is asked to wait.


class Failure(Enum):
    """What has to be done about an error."""

    LOST = "lost"  # The connection is dead.
    CONFLICT = "conflict"  # The same statement may succeed at once.
    STATEMENT = "statement"  # The statement cannot be run; the connection works.
    UNEXPECTED = "unexpected"  # A fault of this program.


@dataclass(frozen=True, slots=True)
class _Kind:
    """`detail` is what clients are told. `quotes` says that PostgreSQL's message may contain values."""

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
    "08": REMOTE,  # Connection exceptions; over a live connection they are those of a foreign server or a worker.
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
    "42883": SCHEMA,  # No such function or operator, as for a column of another type.
    "42501": SCHEMA,  # No privilege.
}
UNDEFINED_TABLE, INSUFFICIENT_PRIVILEGE = "42P01", "42501"


def classify(error: Exception, connection_closed: bool) -> Failure:
    """What an error of a statement means."""
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
    """What a statement that cannot be run is answered with."""
    kind = _kind(error) or SERVER
    return database_failed(kind.detail, sqlstate_of(error), kind.retry_after)


def is_remote(sqlstate: str) -> bool:
    """Whether a failed statement has lacked a server behind the database."""
    return _lookup(sqlstate) is REMOTE


def sqlstate_of(error: Exception) -> str:
    """PostgreSQL's code for an error."""
    if isinstance(error, UnicodeDecodeError):
        return "22021"  # PostgreSQL's code for bytes that are not text in an encoding.
    return getattr(error, "pgcode", None) or "unknown"


def message_of(error: Exception) -> str:
    """PostgreSQL's message in one line, for the log; empty if it may contain values."""
    kind = _kind(error)
    if kind is None or kind.quotes or not isinstance(error, psycopg2.Error):
        return ""
    return one_line(error.diag.message_primary or str(error))


def one_line(error: object) -> str:
    """The text of an error in one line; the name of its class if it has none."""
    return " ".join(str(error).split()) or type(error).__name__


def _kind(error: Exception) -> _Kind | None:
    if isinstance(error, UnicodeDecodeError):
        return ENCODING
    return _lookup(getattr(error, "pgcode", None) or "")


def _lookup(sqlstate: str) -> _Kind | None:
    return KINDS.get(sqlstate) or KINDS.get(sqlstate[:3]) or KINDS.get(sqlstate[:2])
