"""Tracks open and idle connections, and limits their number in total and for each address."""

from collections import Counter
from ipaddress import IPv6Address, ip_address, ip_network
from typing import Protocol

from service.observability import metrics

MAX_HELD = 64 * 2**20  # Bytes of long heads and bodies of all connections.
IPV6_NETWORK = 64  # Prefix length of the network of one user.


class Idle(Protocol):
    """A connection that can be closed if a limit is reached."""

    def evict(self) -> None:
        """Closes the connection."""


class ConnectionRegistry:
    """Admits connections up to the limits. At a limit, closes the connection with the longest idle time."""

    def __init__(self, max_connections: int, max_per_address: int) -> None:
        self._max = max_connections
        self._max_per_address = max_per_address
        self._open: dict[Idle, str | None] = {}
        self._per_address: Counter[str | None] = Counter()
        self._idle: dict[str | None, dict[Idle, None]] = {}  # By address, the longest idle first.
        self._all_idle: dict[Idle, None] = {}
        self._held: dict[Idle, int] = {}  # The one without progress for the longest time first.
        self._total_held = 0

    def admit(self, connection: Idle, address: str | None) -> bool:
        """Registers a connection as idle; False if a limit is reached. `address` None: only the total limit applies."""
        if address is not None and self._per_address[address] >= self._max_per_address:
            admitted = self._evict(self._idle.get(address, {}))
        else:
            admitted = len(self._open) < self._max or self._evict(self._all_idle)
        if admitted:
            self._open[connection] = address
            self._per_address[address] += 1
            self.idle(connection)
            metrics.CONNECTIONS.set(len(self._open))
        return admitted

    def idle(self, connection: Idle) -> None:
        """The connection waits for a request."""
        if connection in self._open:
            self._all_idle[connection] = None
            self._idle.setdefault(self._open[connection], {})[connection] = None

    def busy(self, connection: Idle) -> None:
        """The connection has a request in progress."""
        if connection in self._all_idle:
            del self._all_idle[connection]
            address = self._open[connection]
            del self._idle[address][connection]
            if not self._idle[address]:
                del self._idle[address]

    def hold(self, connection: Idle, size: int) -> None:
        """The connection holds `size` bytes. Beyond MAX_HELD in total, closes connections without progress."""
        if connection not in self._open:
            return
        self._total_held += size - self._held.pop(connection, 0)
        if size:
            self._held[connection] = size
        while self._total_held > MAX_HELD:
            idle = (other for other in self._held if other in self._all_idle)
            self._close(next(idle, next(iter(self._held))))

    def remove(self, connection: Idle) -> None:
        """The connection is closed."""
        self.busy(connection)
        self._total_held -= self._held.pop(connection, 0)
        if connection in self._open:
            address = self._open.pop(connection)
            self._per_address[address] -= 1
            if not self._per_address[address]:
                del self._per_address[address]
            metrics.CONNECTIONS.set(len(self._open))

    def _evict(self, idle: dict[Idle, None]) -> bool:
        longest = next(iter(idle), None)
        if longest is None:
            return False
        self._close(longest)
        return True

    def _close(self, connection: Idle) -> None:
        self.remove(connection)
        connection.evict()


def group_of(address: str) -> str:
    """The key for the limit for each address: an IPv4 address, or the /64 network of an IPv6 address."""
    parsed = ip_address(address.partition("%")[0])
    if isinstance(parsed, IPv6Address):
        if parsed.ipv4_mapped:
            return str(parsed.ipv4_mapped)
        return str(ip_network((parsed, IPV6_NETWORK), strict=False))
    return str(parsed)
