"""Splits the input of a connection into complete request heads, within limits."""

import re

MAX_LINE_SIZE = 65536  # Bytes of the request line.
MAX_HEADERS_SIZE = 65536  # Bytes of all header lines together.
MAX_HEADERS = 256

REQUEST_LINE = re.compile(rb"[!-~]+ [^\n]* HTTP/1\.[0-9]\r\n")
METHOD_START = re.compile(rb"[A-Za-z]")
END = re.compile(rb"\n\r?\n")


class HeadTooLargeError(Exception):
    """A request head exceeds the limits."""


class NotHttpError(Exception):
    """The input does not start with a request line."""


class HeadBuffer:
    """Input that was received but not parsed yet. `len` is in bytes."""

    def __init__(self) -> None:
        self._data = bytearray()
        self._line = 0  # Bytes of the request line, 0 until it is complete.
        self._scanned = 0  # Bytes already searched for the end of the line or the head.

    def __len__(self) -> int:
        return len(self._data)

    def append(self, data: bytes) -> None:
        self._data += data

    def take(self, count: int) -> bytes:
        """The next bytes, at most `count`."""
        taken = bytes(self._data[:count])
        del self._data[:count]
        return taken

    def take_head(self) -> bytes | None:
        """The next complete head, or None. Raises HeadTooLargeError, NotHttpError."""
        if not self._line and not self._read_line():
            return None
        end = END.search(self._data, self._scanned)
        size = (end.start() + 1 if end else len(self._data)) - self._line
        if size > MAX_HEADERS_SIZE:
            raise HeadTooLargeError
        if not end:
            self._scanned = max(self._line - 1, len(self._data) - 2)
            return None
        if self._data.count(b"\n", self._line, end.start() + 1) > MAX_HEADERS:
            raise HeadTooLargeError
        self._line = self._scanned = 0
        return self.take(end.end())

    def _read_line(self) -> bool:
        """True if the request line is complete. Skips empty lines before it (RFC 9112, 2.2)."""
        if not self._scanned:
            del self._data[: len(self._data) - len(self._data.lstrip(b"\r\n"))]
        end = self._data.find(b"\n", self._scanned)
        self._scanned = max(end, 0) or len(self._data)
        if self._scanned > MAX_LINE_SIZE + 1:
            raise HeadTooLargeError
        if end < 0:
            if self._data and not METHOD_START.match(self._data):
                raise NotHttpError
            return False
        self._line = end + 1
        if not REQUEST_LINE.fullmatch(self._data, 0, self._line):
            raise NotHttpError
        return True
