"""The Accept-Encoding header: whether a body may, and should, be compressed by gzip (RFC 9110, 12.5.3)."""

import zlib
from collections.abc import Callable

from service.jsonapi import quality_values

LEVEL = 4  # Most of what level 6 saves, in half its time.
GZIP = 16 + zlib.MAX_WBITS


def takes_gzip(accept: str) -> bool:
    """Whether the client takes gzip and likes it no less than plain text. What cannot be read is passed over."""
    qualities = {coding.name: coding.quality for coding in quality_values.parse(accept)}
    quality = qualities.get("gzip", qualities.get("x-gzip", qualities.get("*", 0)))
    return quality > 0 and quality >= qualities.get("identity", 0)


def gzip() -> tuple[Callable[[bytes], bytes], Callable[[], bytes]]:
    """A function that compresses piece by piece, each readable as soon as it arrives, and one that ends the whole."""
    compressor = zlib.compressobj(LEVEL, zlib.DEFLATED, GZIP)
    return (lambda piece: compressor.compress(piece) + compressor.flush(zlib.Z_SYNC_FLUSH)), compressor.flush


def plain() -> tuple[Callable[[bytes], bytes], Callable[[], bytes]]:
    """The same for what is sent as it is."""
    return (lambda piece: piece), bytes
