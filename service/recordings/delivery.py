"""What a client asks of a recording, what there is to send, and what every store of recordings can do."""

from collections.abc import AsyncIterator, Mapping
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
from typing import BinaryIO, Protocol


@dataclass(frozen=True, slots=True)
class RequestConditions:
    """The request's own words; empty where it has none."""

    head: bool = False
    range: str = ""
    if_range: str = ""
    if_none_match: str = ""
    if_modified_since: str = ""


@dataclass(frozen=True, slots=True)
class FileSlice:
    """A piece of an open file, in bytes."""

    file: BinaryIO
    start: int
    count: int


@dataclass(frozen=True, slots=True)
class StoredResponse:
    """A whole answer; `content` is None where the headers are all of it."""

    status: int
    headers: Mapping[str, str] = field(default_factory=dict)
    content: FileSlice | AsyncIterator[bytes] | None = None


class Store(Protocol):
    """Where recordings are kept, or who sends them instead."""

    def open(self, name: str, asked: RequestConditions) -> AbstractAsyncContextManager[StoredResponse | None]:
        """What to send while the block lasts, or None if there is no such recording. Raises StorageError, ApiError."""


class StorageError(Exception):
    """A recording cannot be read, before anything of it was sent; `headers` stay on the answer."""

    def __init__(self, headers: Mapping[str, str] | None = None) -> None:
        super().__init__()
        self.headers = headers or {}


class TruncatedError(Exception):
    """A recording ended before its end, after a part of it was sent."""
