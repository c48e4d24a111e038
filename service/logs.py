"""How the program writes its log: for people, or as JSON for machines."""

import logging
import sys
from typing import TextIO

import orjson
import structlog


def configure(level: str, format_: str, stream: TextIO = sys.stderr) -> None:
    """Sends structlog's lines to a stream, and those of libraries, from warnings up, the same way."""
    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            *_rendering(format_),
        ],
        wrapper_class=structlog.make_filtering_bound_logger(logging.getLevelNamesMapping()[level.upper()]),
        logger_factory=structlog.WriteLoggerFactory(stream),
        cache_logger_on_first_use=True,
    )
    logging.basicConfig(handlers=[_Forward()], level=logging.WARNING, force=True)


def _rendering(format_: str) -> list[structlog.typing.Processor]:
    if format_ == "console":
        return [structlog.dev.ConsoleRenderer(colors=False)]
    return [
        structlog.processors.dict_tracebacks,
        structlog.processors.JSONRenderer(serializer=lambda event, **_: orjson.dumps(event, default=str).decode()),
    ]


class _Forward(logging.Handler):
    """Hands a library's record to structlog."""

    def emit(self, record: logging.LogRecord) -> None:
        structlog.get_logger(record.name).log(record.levelno, record.getMessage(), exc_info=record.exc_info)
