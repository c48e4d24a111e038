"""Opens the configured store of recordings, and checks its settings."""

import importlib.util
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path

from service.recordings.delivery import Store
from service.recordings.directory import DirectoryStore
from service.recordings.x_accel import XAccelStore
from service.settings import Recordings

AUDIO = {"mp3": "audio/mpeg", "wav": "audio/wav"}
NO_CACHE = {"cache-control": "no-cache"}
BELONGING = {
    "directory": "recordings.directory",
    "s3": "recordings.s3.bucket",
}  # The setting that a mode requires and other modes reject.


@asynccontextmanager
async def opened(settings: Recordings) -> AsyncIterator[Store]:
    """The store, with its connections, until the block ends."""
    headers: Mapping[str, str] = {**NO_CACHE, "content-type": AUDIO[settings.format]}
    if settings.mode == "x-accel":
        yield XAccelStore(headers)
    elif settings.mode == "directory":
        yield DirectoryStore(Path(settings.directory), headers)
    else:
        from service.recordings import s3  # Requires an extra.

        async with s3.opened(settings.s3, NO_CACHE) as bucket:
            yield bucket


def problems(settings: Recordings) -> Iterator[str]:
    """One line for each setting that is missing in this mode or contradicts it."""
    given = {"directory": settings.directory, "s3": settings.s3.bucket}
    for mode, key in BELONGING.items():
        if settings.mode == mode and not given[mode]:
            yield f"{key}: is required, because recordings.mode is {mode}"
        if settings.mode != mode and given[mode]:
            yield f"{key}: is set, but recordings.mode is {settings.mode}"
    if settings.mode == "directory" and settings.directory and not Path(settings.directory).is_dir():
        yield f"recordings.directory: {settings.directory} is not a directory"
    if settings.mode == "s3" and not importlib.util.find_spec("aiobotocore"):
        yield "recordings.mode: s3 needs the extra s3: pip install '.[s3]'"
    if bool(settings.s3.access_key_id) != bool(settings.s3.secret_access_key):
        missing = "access_key_id" if settings.s3.secret_access_key else "secret_access_key"
        yield f"recordings.s3.{missing}: is required, because the other part of the credentials is set"
