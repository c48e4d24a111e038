"""The interface of recording stores: request conditions in, a response out."""

from collections.abc import AsyncIterator, Mapping
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
from typing import BinaryIO, Protocol


@dataclass(frozen=True, slots=True)
class RequestConditions:
    """Request headers that affect the response; empty if absent."""

    head: bool = False
    range: str = ""
    if_range: str = ""
    if_none_match: str = ""
    if_modified_since: str = ""


@dataclass(frozen=True, slots=True)
class FileSlice:
    """A range of an open file, in bytes."""

    file: BinaryIO
    start: int
    count: int


@dataclass(frozen=True, slots=True)
class StoredResponse:
    """A complete response; `content` is None if it has no body."""

    status: int
    headers: Mapping[str, str] = field(default_factory=dict)
    content: FileSlice | AsyncIterator[bytes] | None = None


class Store(Protocol):
    """A store of recordings."""

    def open(self, name: str, asked: RequestConditions) -> AbstractAsyncContextManager[StoredResponse | None]:
        """The response, valid within the block, or None if the recording does not exist. Raises StorageError."""


class StorageError(Exception):
    """A recording cannot be read; nothing was sent yet. `headers` are added to the error response."""

    def __init__(self, headers: Mapping[str, str] | None = None) -> None:
        super().__init__()
        self.headers = headers or {}


class TruncatedError(Exception):
    """A recording ended early, after a part of it was sent."""
