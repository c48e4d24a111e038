"""A call's local tag to the name of its recording, and that name to values of headers."""

import re
from urllib.parse import quote

LONGEST = 255  # Bytes; no usual file system keeps a longer name.
IMPOSSIBLE = re.compile(r"[/\x00-\x1f\x7f]")
UNQUOTABLE = re.compile(r'[^ -~]|["\\]')


def file_name(local_tag: str, format_: str) -> str | None:
    """`<local_tag>.<format>`, or None where that would be a path, a second header or no name of a file at all."""
    name = f"{local_tag}.{format_}"
    return None if IMPOSSIBLE.search(name) or len(name.encode()) > LONGEST else name


def attachment(name: str) -> str:
    """A Content-Disposition; what does not fit into a quoted string is given once more, encoded (RFC 6266)."""
    plain = UNQUOTABLE.sub("_", name)
    encoded = "" if plain == name else f"; filename*=UTF-8''{quote(name, safe='')}"
    return f'attachment; filename="{plain}"{encoded}'
