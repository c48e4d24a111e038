"""Sizes of rows: wide rows are read in small pieces, and the size of a page is limited."""

from collections.abc import Sequence
from typing import Any

import orjson

from service import errors

FIRST_PIECE = 100  # Records in the first piece of a page, when their size is unknown.
PIECE_BYTES = 2**20  # Target size of the following pieces.
MAX_PIECE = 1000  # Records in a piece.
MAX_PAGE_BYTES = 2**23  # More than three times the size of 1,000 typical records.


def size_of(rows: Sequence[Sequence[Any]]) -> int:
    """The approximate size of rows in bytes."""
    return len(orjson.dumps(rows, default=str))


def rows_in(size: int, rows: int, their_size: int) -> int:
    """The number of rows of the same width that fit into `size` bytes, at least 1."""
    return max(1, min(MAX_PIECE, size * rows // max(1, their_size)))


class PageBudget:
    """Chooses the size of the next piece of a page, and limits the size of the page."""

    def __init__(self) -> None:
        self._rows = self._size = 0

    @property
    def piece(self) -> int:
        """The number of rows to read next."""
        return rows_in(PIECE_BYTES, self._rows, self._size) if self._rows else FIRST_PIECE

    def spend(self, rows: Sequence[Sequence[Any]]) -> None:
        """Counts rows that have been read. Raises BadRequestError if the page is too large."""
        self._rows += len(rows)
        self._size += size_of(rows)
        if self._size > MAX_PAGE_BYTES:
            raise errors.page_too_wide(MAX_PAGE_BYTES)
