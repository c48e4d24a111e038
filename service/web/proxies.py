"""Trusted proxies, and the address of the client behind a proxy."""

from collections.abc import Sequence
from functools import lru_cache
from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network

from aiohttp import web

from service.web.keys import STATE

MAX_ADDRESS = 100  # Characters, so that headers cannot fill the cache with long ones.


def trusted(request: web.Request) -> bool:
    """True if the peer is a trusted proxy, so that its forwarding headers count."""
    return is_trusted(request.app[STATE].settings.gateway.trusted_proxies, request.remote or "")


def is_trusted(proxies: Sequence[str], peer: str) -> bool:
    """True if the address of a peer is in one of these networks."""
    return _among(tuple(proxies), peer)


def http_1_0_client(request: web.Request) -> bool:
    """True if the Via header of a trusted proxy contains HTTP/1.0."""
    if "Via" not in request.headers or not trusted(request):
        return False
    hops = ",".join(request.headers.getall("Via")).split(",")
    return any(hop.strip().upper().startswith(("1.0 ", "HTTP/1.0 ")) for hop in hops)


def client(request: web.Request) -> str | None:
    """The client's address for logs; the peer's address if a proxy sends no valid one."""
    return client_address(request) or request.remote


def client_address(request: web.Request) -> str | None:
    """The client's address for comparison with networks; None if unknown."""
    given = request.headers.get("X-Real-IP") if trusted(request) else None
    text = request.remote or "" if given is None else given
    return _canonical(text) if len(text) <= MAX_ADDRESS else None


@lru_cache(1024)
def _canonical(text: str) -> str | None:
    address = _address(text)
    return None if address is None else str(address)


@lru_cache(1024)
def _among(proxies: tuple[str, ...], peer: str) -> bool:
    address = _address(peer)
    return address is not None and any(address in ip_network(proxy) for proxy in proxies)


def _address(text: str) -> IPv4Address | IPv6Address | None:
    """An IP address without its zone; IPv4-mapped addresses are converted to IPv4."""
    try:
        address = ip_address(text.strip())
    except ValueError:
        return None
    if isinstance(address, IPv4Address):
        return address
    return address.ipv4_mapped or IPv6Address(int(address))
