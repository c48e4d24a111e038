"""Recordings as local files in one folder; files outside of it are never opened."""

import asyncio
import os
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from errno import ELOOP, ENOENT
from pathlib import Path
from stat import S_ISREG
from typing import BinaryIO

from service.recordings import ranges
from service.recordings.delivery import FileSlice, RequestConditions, StorageError, StoredResponse
from service.recordings.ranges import Validators


class DirectoryStore:
    """Opens the files of one folder. `headers` are added to each response."""

    def __init__(self, folder: Path, headers: Mapping[str, str]) -> None:
        self._folder = folder
        self._headers = headers

    @asynccontextmanager
    async def open(self, name: str, asked: RequestConditions) -> AsyncIterator[StoredResponse | None]:
        try:
            file = await asyncio.to_thread(_opened, self._folder, name)
        except OSError as error:
            raise StorageError from error
        if file is None:
            yield None
            return
        with file:
            yield self._delivery(file, asked)

    def _delivery(self, file: BinaryIO, asked: RequestConditions) -> StoredResponse:
        version = _version(file)
        choice = ranges.evaluate(version, asked)
        headers = {**self._headers, **version.headers}
        if choice.status != 304:
            headers["content-length"] = str(choice.count)
        if choice.status == 206:
            headers["content-range"] = f"bytes {choice.start}-{choice.start + choice.count - 1}/{version.size}"
        if choice.status == 416:
            headers["content-range"] = f"bytes */{version.size}"
        sent = choice.count and not asked.head
        return StoredResponse(choice.status, headers, FileSlice(file, choice.start, choice.count) if sent else None)


def _opened(folder: Path, name: str) -> BinaryIO | None:
    """A regular file that is in the folder after resolving links, or None. Raises OSError if it cannot be read."""
    try:
        path = Path(os.path.realpath(folder / name, strict=True))
        if not path.is_relative_to(os.path.realpath(folder)):
            return None
        # Does not follow a link that was created in the meantime, and does not block on a pipe.
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
    except OSError as error:
        if error.errno in (ENOENT, ELOOP):
            return None
        raise
    if not S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        return None
    return os.fdopen(descriptor, "rb")


def _version(file: BinaryIO) -> Validators:
    state = os.fstat(file.fileno())
    tag = f'"{state.st_mtime_ns:x}-{state.st_size:x}"'
    return Validators(state.st_size, tag, datetime.fromtimestamp(int(state.st_mtime), UTC))
