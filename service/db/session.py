"""The session settings that the service relies on, and how they are applied.

Roles, databases, configuration files and libpq's environment variables (PGTZ, PGCLIENTENCODING, PGOPTIONS ...) may set
other values. A session gets the settings at its start, by the connection parameter `options`, and again after it has
been opened, because PGTZ and PGDATESTYLE override `options`. Behind a pooler in transaction mode, each statement sets
them.
"""

import secrets
from collections.abc import Mapping

from psycopg2.extensions import make_dsn, parse_dsn

APPLICATION = "cdr-api"
ENCODING = "UTF8"  # A connection parameter, because the driver needs it as well.
MARKER = "cdr_api.session"  # A custom setting, whose value proves that `options` were applied.

# Formats of values.
FORMATS = {
    "timezone": "UTC",
    "datestyle": "ISO, MDY",
    "intervalstyle": "postgres",
    "extra_float_digits": "1",
    "bytea_output": "hex",
    "standard_conforming_strings": "on",
    "quote_all_identifiers": "off",
    "transform_null_equals": "off",
    "search_path": "pg_catalog, public",
}
# Execution of statements; times are in milliseconds.
EXECUTION = {
    "row_security": "on",
    "enable_partition_pruning": "on",
    "constraint_exclusion": "partition",
    "jit": "off",  # Compiling costs more than these short statements take.
    "plan_cache_mode": "force_generic_plan",  # Prepared statements have the same plan every time; see `search_times`.
    "cursor_tuple_fraction": "1",  # Cursors read all their rows, not just the first.
    "client_connection_check_interval": "1000",  # Cancels statements of disconnected clients.
    "lock_timeout": "0",  # statement_timeout includes the wait for a lock.
    "idle_session_timeout": "0",  # The pool keeps idle connections.
    "idle_in_transaction_session_timeout": "10000",  # A suspended process must not keep its locks.
}
ISOLATION = {"default_transaction_isolation": "read committed"}
READ_ONLY = {"default_transaction_read_only": "on"}
# The same two settings for a transaction that has already begun.
TRANSACTION = {"transaction_read_only": "on", "transaction_isolation": "read committed"}

CHECK = """
SELECT pg_catalog.pg_is_in_recovery(),
       pg_catalog.current_setting('default_transaction_read_only')::boolean,
       {settings}
 WHERE {is_ours}
"""


class Session:
    """The session of one connection. `pooled`: a pooler in transaction mode shares it among clients."""

    def __init__(self, statement_timeout: float, *, pooled: bool) -> None:
        timeout = {"statement_timeout": f"{statement_timeout * 1000:.0f}"}
        self.settings: Mapping[str, str] = {**FORMATS, **EXECUTION, **timeout}
        self._pooled = pooled
        self._marker = secrets.token_hex(8)

    def dsn(self, dsn: str) -> str:
        """The DSN with the settings. target_session_attrs is evaluated by the caller, not by libpq."""
        ours = {"application_name": APPLICATION, "client_encoding": ENCODING, "target_session_attrs": "any"}
        if self._pooled:
            return str(make_dsn(dsn, **ours))
        settings = {**self.settings, **ISOLATION, MARKER: self._marker}
        options = [parse_dsn(dsn).get("options", ""), *(f"-c {name}={_escape(v)}" for name, v in settings.items())]
        return str(make_dsn(dsn, **ours, options=" ".join(options).strip()))

    @property
    def check(self) -> str:
        """SQL that applies the remaining settings and returns a row (in recovery, read-only by default, ...).

        It returns no row and changes nothing if `options` were ignored.
        """
        if self._pooled:
            return CHECK.format(settings="''", is_ours="true")
        settings = {**self.settings, **ISOLATION, **READ_ONLY}
        calls = (f"pg_catalog.set_config('{name}', '{value}', false)" for name, value in settings.items())
        is_ours = f"pg_catalog.current_setting('{MARKER}', true) = '{self._marker}'"
        return CHECK.format(settings=",\n       ".join(calls), is_ours=is_ours)

    @property
    def prefix(self) -> str:
        """SQL to send before each statement: empty, or all settings for its transaction if pooled."""
        return set_local({**self.settings, **TRANSACTION}) if self._pooled else ""


def set_local(settings: Mapping[str, str]) -> str:
    """SQL that applies settings until the end of the transaction."""
    return "".join(f"SET LOCAL {name} = '{value}'; " for name, value in settings.items())


def _escape(value: str) -> str:
    return value.replace("\\", r"\\").replace(" ", r"\ ")
