"""Which peers are proxies that are believed, and the address of the client behind one."""

from collections.abc import Sequence
from functools import lru_cache
from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network

from aiohttp import web

from service.web.keys import STATE


def trusted(request: web.Request) -> bool:
    """Whether what the peer says of its client counts; whoever else says such things is not listened to."""
    return is_trusted(request.app[STATE].settings.gateway.trusted_proxies, request.remote or "")


def is_trusted(proxies: Sequence[str], peer: str) -> bool:
    """Whether the address of a peer lies in one of these networks."""
    return _among(tuple(proxies), peer)


def http_1_0_client(request: web.Request) -> bool:
    """Whether a trusted proxy says in Via that it, or one before it, was asked by HTTP/1.0."""
    if "Via" not in request.headers or not trusted(request):
        return False
    hops = ",".join(request.headers.getall("Via")).split(",")
    return any(hop.strip().upper().startswith(("1.0 ", "HTTP/1.0 ")) for hop in hops)


def client(request: web.Request) -> str | None:
    """The client's address for logs, which show the peer's where a proxy names none that can be read."""
    return client_address(request) or request.remote


def client_address(request: web.Request) -> str | None:
    """The client's address as networks are compared with it; None where it is unknown, so that none holds it."""
    given = request.headers.get("X-Real-IP") if trusted(request) else None
    address = _address(request.remote or "" if given is None else given)
    return None if address is None else str(address)


@lru_cache(1024)
def _among(proxies: tuple[str, ...], peer: str) -> bool:
    address = _address(peer)
    return address is not None and any(address in ip_network(proxy) for proxy in proxies)


def _address(text: str) -> IPv4Address | IPv6Address | None:
    """An address without its zone; one of IPv4 that a socket of IPv6 has wrapped is unwrapped."""
    try:
        address = ip_address(text.strip())
    except ValueError:
        return None
    if isinstance(address, IPv4Address):
        return address
    return address.ipv4_mapped or IPv6Address(int(address))
