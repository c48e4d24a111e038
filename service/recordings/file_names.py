"""File names of recordings, and their Content-Disposition."""

import re
from urllib.parse import quote

MAX_LENGTH = 255  # Bytes; the limit of common file systems.
IMPOSSIBLE = re.compile(r"[/\x00-\x1f\x7f]")
UNQUOTABLE = re.compile(r'[^ -~]|["\\]')


def file_name(local_tag: str, format_: str) -> str | None:
    """`<local_tag>.<format>`, or None if that is not a valid file name or header value."""
    name = f"{local_tag}.{format_}"
    return None if IMPOSSIBLE.search(name) or len(name.encode()) > MAX_LENGTH else name


def attachment(name: str) -> str:
    """A Content-Disposition. Names that do not fit into a quoted string are added in encoded form (RFC 6266)."""
    plain = UNQUOTABLE.sub("_", name)
    encoded = "" if plain == name else f"; filename*=UTF-8''{quote(name, safe='')}"
    return f'attachment; filename="{plain}"{encoded}'
