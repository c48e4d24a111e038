"""The Accept-Encoding header (RFC 9110, 12.5.3), and compression of streamed bodies."""

import zlib
from collections.abc import Callable

from service.jsonapi import quality_values

LEVEL = 4  # Nearly the compression of level 6 in half the time.
GZIP = 16 + zlib.MAX_WBITS


def takes_gzip(accept: str) -> bool:
    """True if gzip is acceptable and not less preferred than identity. Invalid elements are ignored."""
    qualities = {coding.name: coding.quality for coding in quality_values.parse(accept)}
    quality = qualities.get("gzip", qualities.get("x-gzip", qualities.get("*", 0)))
    return quality > 0 and quality >= qualities.get("identity", 0)


def gzip() -> tuple[Callable[[bytes], bytes], Callable[[], bytes]]:
    """Two functions: one compresses a piece and flushes it, one returns the end of the stream."""
    compressor = zlib.compressobj(LEVEL, zlib.DEFLATED, GZIP)
    return (lambda piece: compressor.compress(piece) + compressor.flush(zlib.Z_SYNC_FLUSH)), compressor.flush


def plain() -> tuple[Callable[[bytes], bytes], Callable[[], bytes]]:
    """The same without compression."""
    return (lambda piece: piece), bytes
