"""The command `cdr-api export`: exports a list from the databases to a file, like the API."""

import asyncio
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import BinaryIO, Protocol

from service.auth.access import Access
from service.auth.tokens import Subject
from service.commands import output
from service.commands.progress import Progress
from service.db.export import TooManyRowsError
from service.errors import ApiError, BadRequestError, UnauthorizedError
from service.jsonapi import query_string, render
from service.jsonapi.query_string import Parameters
from service.jsonapi.render import Flat
from service.query import Caller
from service.schemas.resource import Resource
from service.services import Services, opened
from service.settings import Settings, SettingsError
from service.tables import excel, export_request, formats
from service.tables.formats import Format

FORMATS = (*formats.FORMATS, "parquet")
DIALECTS = (excel.DIALECT,)  # Of CSV.
PARAMETERS = ("filter", "sort", "fields", "include", "count")


class ExportError(Exception):
    """The export failed; the message is the reason."""


class RecordWriter(Protocol):
    """Writes records to a file in one format."""

    def write(self, records: Iterable[Flat]) -> None: ...

    def close(self) -> None: ...


@dataclass(frozen=True, slots=True)
class ExportJob:
    """Arguments of an export. `query` is a query string of the API, `format` one of FORMATS, `dialect` of DIALECTS."""

    type: str
    query: str
    subject: Subject
    format: str
    output: Path
    dialect: str | None = None


def run(settings: Settings, job: ExportJob) -> None:
    """Writes the complete file or none. Raises ExportError, and SettingsError for invalid arguments."""
    try:
        asyncio.run(_run(settings, job, _parameters(job.query)))
    except BadRequestError as error:
        raise SettingsError(problem.detail for problem in error.errors) from error
    except ApiError as error:
        raise ExportError(" ".join(problem.detail for problem in error.errors)) from error
    except TooManyRowsError as error:
        raise ExportError(f"The export has more than export.max_rows = {settings.export.max_rows} records.") from error
    except OverflowError as error:
        raise ExportError(str(error)) from error
    except BrokenPipeError:
        raise  # Handled by `cli.main`.
    except OSError as error:
        raise ExportError(f"{job.output}: {error.strerror or error}") from error


def _parameters(query: str) -> Parameters:
    """Parses the query. Raises BadRequestError, and SettingsError for parameters without effect, such as typos."""
    parameters = query_string.parse(query.removeprefix("?"))
    if unknown := [name for name in parameters if name not in PARAMETERS]:
        raise SettingsError(f"--query: {name} is not one of {', '.join(PARAMETERS)}" for name in unknown)
    return parameters


async def _run(settings: Settings, job: ExportJob, parameters: Parameters) -> None:
    async with opened(settings) as services:
        await _export(services, job, parameters, await _caller(job.subject, services.access))


async def _caller(subject: Subject, access: Access) -> Caller:
    try:
        return await access.caller(subject)
    except UnauthorizedError as error:
        raise ExportError("The access row, the customer or the profile does not exist.") from error


async def _export(services: Services, job: ExportJob, parameters: Parameters, caller: Caller) -> None:
    resource, limits = services.resources[job.type], services.settings.export
    wanted = export_request.parse(resource, parameters, caller, datetime.now(UTC), limits.max_days, limits.max_rows)
    renderer = render.renderer_for(resource, wanted.view)
    async with services.exports.open(wanted.query, linked=renderer.linked, counted=True) as export:
        with output.opened(job.output) as file:
            writer = _writer(job, file, resource, formats.headings(resource, wanted.view))
            progress = Progress(export.total or 0)
            async for rows in export.batches():
                writer.write(renderer.flat(rows, export.related))
                progress.more(len(rows))
            writer.close()
        progress.end("standard output" if job.output == output.STANDARD_OUTPUT else str(job.output))


class _TextWriter:
    """Writes one of the API's text formats."""

    def __init__(self, file: BinaryIO, format_: Format, headings: Sequence[str]) -> None:
        self._file, self._piece = file, format_.piece
        file.write(format_.head(headings))

    def write(self, records: Iterable[Flat]) -> None:
        self._file.write(self._piece(records))

    def close(self) -> None:
        self._file.flush()


def _writer(job: ExportJob, file: BinaryIO, resource: Resource, headings: Sequence[str]) -> RecordWriter:
    if table := formats.FORMATS.get(job.format):
        return _TextWriter(file, export_request.with_dialect(table, resource, job.dialect), headings)
    try:
        from service.tables import parquet  # Requires an extra.
    except ImportError as error:
        raise ExportError("Parquet needs the extra parquet: pip install '.[parquet]'.") from error
    return parquet.ParquetWriter(file, resource, headings)
