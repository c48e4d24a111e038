"""Log configuration: console or JSON format, without values sent by clients."""

import logging
import sys
import traceback
from collections.abc import Iterator
from functools import cache
from typing import TextIO, cast

import orjson
import structlog
from structlog.typing import EventDict, Processor, WrappedLogger

from service.observability.log_writer import LogWriter

QUERY_CANCELED = "57014"  # PostgreSQL's code.


STANDARD_ERROR = 2


def configure(level: str, format_: str) -> None:
    """Sends structlog's lines, and warnings and errors of libraries, to standard error."""
    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            _with_cause,
            _rendering(format_),
        ],
        wrapper_class=structlog.make_filtering_bound_logger(logging.getLevelNamesMapping()[level.upper()]),
        logger_factory=structlog.WriteLoggerFactory(cast(TextIO, _writer())),
        cache_logger_on_first_use=True,
    )
    logging.basicConfig(handlers=[_Forward()], level=logging.WARNING, force=True)


@cache
def _writer() -> LogWriter:
    return LogWriter(STANDARD_ERROR)


def _rendering(format_: str) -> Processor:
    if format_ == "console":
        return structlog.dev.ConsoleRenderer(colors=False)
    return structlog.processors.JSONRenderer(serializer=lambda event, **_: orjson.dumps(event, default=str).decode())


def _with_cause(_: WrappedLogger, __: str, event: EventDict) -> EventDict:
    """Adds exception types and tracebacks without messages or variables: PostgreSQL's messages quote phone numbers."""
    given = event.pop("exc_info", None)
    error = (
        given if isinstance(given, BaseException) else (sys.exc_info() if given is True else given or (None,) * 3)[1]
    )
    if error is not None:
        event["exception"] = "\n".join(_described(error))
    return event


def _described(error: BaseException) -> Iterator[str]:
    cause = error.__cause__ or (None if error.__suppress_context__ else error.__context__)
    if cause is not None:
        yield from _described(cause)
    code = getattr(error, "pgcode", None)  # SQLSTATE.
    yield f"{type(error).__module__}.{type(error).__qualname__}" + (f" {code}" if code else "")
    yield from (line.rstrip() for line in traceback.format_tb(error.__traceback__))


class _Forward(logging.Handler):
    """Passes the first line of a library's record to structlog; asyncio lists exceptions in the other lines."""

    def emit(self, record: logging.LogRecord) -> None:
        if record.name == "asyncio" and record.exc_info and _is_canceled(record.exc_info[1]):
            return  # aiopg reports each timed-out statement to asyncio; the pool logs it already.
        event = record.getMessage().partition("\n")[0]
        structlog.get_logger(record.name).log(record.levelno, event, exc_info=record.exc_info)


def _is_canceled(error: BaseException | None) -> bool:
    return getattr(error, "pgcode", None) == QUERY_CANCELED
