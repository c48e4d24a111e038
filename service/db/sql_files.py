"""SQL by file name: `queries/api_access` to the statement's text, without its comments."""

from functools import cache

from service.files import SQL


@cache
def text(name: str) -> str:
    """The statement in `sql/<name>.sql`; comment lines are for readers and are not sent."""
    lines = (SQL / f"{name}.sql").read_text(encoding="utf-8").splitlines()
    return "\n".join(line for line in lines if not line.lstrip().startswith("--"))
