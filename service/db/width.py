"""How much memory rows take, and how many more of them fit into some bytes."""

from collections.abc import Sequence
from typing import Any

import orjson

MAX_ROWS = 1000  # However narrow they are.


def size_of(rows: Sequence[Sequence[Any]]) -> int:
    """About as many bytes as the rows' values have."""
    return len(orjson.dumps(rows, default=str))


def rows_in(size: int, rows: Sequence[object], their_size: int) -> int:
    """How many rows as wide as these fit into `size` bytes, and at least one."""
    return max(1, min(MAX_ROWS, size * len(rows) // max(1, their_size)))
