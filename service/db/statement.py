"""An SQL statement with its parameters."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any, Self

from service.files import SQL


@dataclass(frozen=True, slots=True)
class Statement:
    """An SQL statement. `name` labels it in logs and metrics. `repeated`: worth preparing.

    `timeout` is in seconds and overrides the connection's statement_timeout. `partitions` are the oids of the planned
    partitions, if known. `handled` are SQLSTATEs that the caller handles; they are not logged.
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
    """The text of `sql/<path>.sql` without comment lines."""
    lines = (SQL / f"{path}.sql").read_text(encoding="utf-8").splitlines()
    return "\n".join(line for line in lines if not line.lstrip().startswith("--"))
