"""The command `cdr-api export`: the export of the API, read straight from the databases into a file."""

import asyncio
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import BinaryIO, Protocol

from service.auth.access import Access
from service.auth.tokens import Subject
from service.commands.progress import Progress
from service.db.export import Streams, TooManyRowsError
from service.errors import ApiError
from service.jsonapi import query_string, render
from service.jsonapi.render import Flat
from service.query import Caller
from service.schemas.resource import Resource
from service.settings import Settings, SettingsError
from service.tables import export_request, formats
from service.tables.formats import Format
from service.web import keys
from service.web.app import create

FORMATS = (*formats.FORMATS, "parquet")
STANDARD_OUTPUT = Path("-")


class ExportError(Exception):
    """No complete file could be written; the message says why."""


class RecordWriter(Protocol):
    """A file in one of the formats, as far as it is written."""

    def write(self, records: Iterable[Flat]) -> None: ...

    def close(self) -> None: ...


@dataclass(frozen=True, slots=True)
class ExportJob:
    """What to export: `query` is a query string as the API takes it, and `format` one of FORMATS."""

    type: str
    query: str
    subject: Subject
    format: str
    output: Path


def run(settings: Settings, job: ExportJob) -> None:
    """Writes the file, or none. Raises ExportError, and SettingsError where the words cannot be used."""
    try:
        asyncio.run(_run(settings, job))
    except ApiError as refused:
        details = [problem.detail for problem in refused.problems]
        if refused.problems[0].status == 400:
            raise SettingsError(details) from refused
        raise ExportError(" ".join(details)) from refused
    except TooManyRowsError as error:
        raise ExportError(f"There are more than export.max_rows = {settings.export.max_rows} records.") from error
    except OverflowError as error:
        raise ExportError(str(error)) from error
    except OSError as error:
        raise ExportError(f"{job.output}: {error.strerror or error}") from error


async def _run(settings: Settings, job: ExportJob) -> None:
    app = create(settings)
    app.freeze()
    await app.startup()
    try:
        caller = await _caller(job.subject, app[keys.ACCESS])
        resource = app[keys.RESOURCES][job.type]
        await _export(settings, job, resource, app[keys.STREAMS], caller)
    finally:
        await app.cleanup()


async def _caller(subject: Subject, access: Access) -> Caller:
    try:
        return await access.caller(subject)
    except ApiError as refused:
        if refused.problems[0].status != 401:
            raise
        raise ExportError("There is no such access row, or no such customer and profile.") from refused


async def _export(settings: Settings, job: ExportJob, resource: Resource, streams: Streams, caller: Caller) -> None:
    asked = export_request.read(resource, query_string.parse(job.query), datetime.now(UTC), settings.export.max_days)
    renderer = render.renderer_for(resource, asked.selection)
    async with streams.read(
        resource, renderer.columns, asked.selection, caller, linked=renderer.linked, counted=True
    ) as found:
        with _atomic_file(job.output) as file:
            table = _writer(job.format, file, resource, formats.headings(resource, asked.selection))
            progress = Progress(found.total or 0)
            async for rows in found.batches():
                table.write(renderer.flat(rows, found.related))
                progress.more(len(rows))
            table.close()
        progress.end("standard output" if job.output == STANDARD_OUTPUT else str(job.output))


class _TextWriter:
    """A table in one of the formats that the API has too."""

    def __init__(self, file: BinaryIO, format_: Format, headings: Sequence[str]) -> None:
        self._file, self._piece = file, format_.piece
        file.write(format_.head(headings))

    def write(self, records: Iterable[Flat]) -> None:
        self._file.write(self._piece(records))

    def close(self) -> None:
        self._file.flush()


def _writer(format_: str, file: BinaryIO, resource: Resource, headings: Sequence[str]) -> RecordWriter:
    if format_ in formats.FORMATS:
        return _TextWriter(file, formats.FORMATS[format_], headings)
    try:
        from service.tables import parquet  # Its library is large, and an extra.
    except ImportError as error:
        raise ExportError("Parquet needs another package: pip install 'cdr-api[parquet]'.") from error
    return parquet.ParquetWriter(file, resource, headings)


@contextmanager
def _atomic_file(output: Path) -> Iterator[BinaryIO]:
    """A file that gets its name only when it is whole."""
    if output == STANDARD_OUTPUT:
        with open(1, "wb", closefd=False) as file:
            yield file
        return
    unfinished = output.with_name(f"{output.name}.part")
    try:
        with unfinished.open("wb") as file:
            yield file
        unfinished.replace(output)
    finally:
        unfinished.unlink(missing_ok=True)
