"""Limits failed logins for each client address, and for each login and client address, but not for a login alone.

So a client cannot lock out another user, and an address that tries many logins is limited as well.
"""

import hashlib
import time
from functools import lru_cache
from ipaddress import IPv6Address, ip_address, ip_network

from service.errors import too_many_requests
from service.web.token_bucket import TokenBucketLimiter

IPV6_PREFIX = 64  # Prefix length of the network of one user.


class LoginThrottle:
    """Permits `by_login` and `by_address` failures in `period` seconds, with token buckets."""

    def __init__(self, by_login: int, by_address: int, period: float) -> None:
        self._by_login = TokenBucketLimiter(by_login, period)
        self._by_address = TokenBucketLimiter(by_address, period)

    def begin(self, login: str, client: str | None) -> None:
        """Counts an attempt as failed until `succeeded` is called. Raises RateLimitedError."""
        address, now = network(client), time.monotonic()
        left = self._by_address.take(address, now)
        if not left.exceeded:
            left = self._by_login.take(_key(login, address), now)
            if left.exceeded:
                self._by_address.give_back(address)
        if left.exceeded:
            raise too_many_requests(left.retry_after)

    def succeeded(self, login: str, client: str | None) -> None:
        """The attempt was not a failure."""
        address = network(client)
        self._by_address.give_back(address)
        self._by_login.give_back(_key(login, address))


@lru_cache(1024)
def network(client: str | None) -> str:
    """The key of a client: its IPv4 address, or the /64 network of its IPv6 address."""
    try:
        address = ip_address(client or "")
    except ValueError:
        return ""
    if isinstance(address, IPv6Address):
        return str(ip_network((int(address), IPV6_PREFIX), strict=False))
    return str(address)


def _key(login: str, address: str) -> bytes:
    """A digest, so that long logins take no more memory."""
    return hashlib.sha256(f"{address}\0{login}".encode()).digest()
