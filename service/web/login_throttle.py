"""How often a login may fail: by client address, and by login and client address, but never by login alone.

So nobody locks others out of their login by trying it, and whoever tries many logins is stopped as well.
"""

import hashlib
import time
from ipaddress import IPv6Address, ip_address, ip_network

from service.errors import too_many_requests
from service.web.token_bucket import TokenBucketLimiter

IPV6_PREFIX = 64  # Bits that name a network of one user; the addresses within it cost nothing.


class LoginThrottle:
    """Permits so many failures in `period` seconds; they are taken back slowly, as a bucket of tokens fills."""

    def __init__(self, by_login: int, by_address: int, period: float) -> None:
        self._by_login = TokenBucketLimiter(by_login, period)
        self._by_address = TokenBucketLimiter(by_address, period)

    def begin(self, login: str, client: str | None) -> None:
        """Counts a try as failed until it has succeeded. Raises ApiError (429)."""
        address, now = network(client), time.monotonic()
        left = self._by_address.take(address, now)
        if not left.exceeded:
            left = self._by_login.take(_key(login, address), now)
            if left.exceeded:
                self._by_address.give_back(address)
        if left.exceeded:
            raise too_many_requests(left.retry_after)

    def succeeded(self, login: str, client: str | None) -> None:
        """The try was not a failure."""
        address = network(client)
        self._by_address.give_back(address)
        self._by_login.give_back(_key(login, address))


def network(client: str | None) -> str:
    """What stands for a client: its IPv4 address, or the network of its IPv6 address."""
    try:
        address = ip_address(client or "")
    except ValueError:
        return ""
    if isinstance(address, IPv6Address):
        return str(ip_network((int(address), IPV6_PREFIX), strict=False))
    return str(address)


def _key(login: str, address: str) -> bytes:
    """As long as it is for any login."""
    return hashlib.sha256(f"{address}\0{login}".encode()).digest()
