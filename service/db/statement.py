"""What a database is asked: one SQL statement with its parameters."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any, Self

from service.files import SQL


@dataclass(frozen=True, slots=True)
class Statement:
    """`name` labels it in logs and metrics; one that is `repeated` with other parameters is worth preparing.

    `timeout` is a time limit in seconds, where it is to be shorter than the connection's statement_timeout.
    `partitions` are the oids of the partitions that it plans, as far as they are known. `handled` are the SQLSTATEs of
    failures that the caller expects, which are not logged.
    """

    text: str
    parameters: Mapping[str, Any] | None = None
    name: str = "other"
    repeated: bool = False
    timeout: float | None = None
    partitions: tuple[int, ...] = ()
    handled: tuple[str, ...] = ()

    @classmethod
    def from_file(cls, path: str, **parameters: Any) -> Self:
        """The statement in `sql/<path>.sql`, named like the file."""
        return cls(read_sql(path), parameters or None, path.rpartition("/")[2])


@cache
def read_sql(path: str) -> str:
    """The text of `sql/<path>.sql` without its comment lines, which are for readers and are not sent."""
    lines = (SQL / f"{path}.sql").read_text(encoding="utf-8").splitlines()
    return "\n".join(line for line in lines if not line.lstrip().startswith("--"))
