"""How much memory rows take, so that wide ones are read in small pieces and a page of them is bounded."""

from collections.abc import Sequence
from typing import Any

import orjson

from service import errors

FIRST_PIECE = 100  # Records of a page that are read at once, before it is known how wide they are.
PIECE_BYTES = 2**20  # Aimed at by each further piece.
MAX_PIECE = 1000  # Records, however narrow they are.
MAX_PAGE_BYTES = 2**23  # More than three times what 1,000 usual records have.


def size_of(rows: Sequence[Sequence[Any]]) -> int:
    """About as many bytes as the rows' values have."""
    return len(orjson.dumps(rows, default=str))


def rows_in(size: int, rows: int, their_size: int) -> int:
    """How many rows as wide as these fit into `size` bytes, and at least one."""
    return max(1, min(MAX_PIECE, size * rows // max(1, their_size)))


class PageBudget:
    """How many rows of a page to read next; ends a page that is too large."""

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
