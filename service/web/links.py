"""The scheme and host that links are built from: what the client asked for (contract 14)."""

import re
from functools import lru_cache
from ipaddress import ip_address, ip_network

from aiohttp import web

from service.web.keys import SETTINGS

DEFAULT_PORT = {"http": ":80", "https": ":443"}
FORWARDED_PROTO = re.compile(r'(?:^|[;,\s])proto="?(https?)\b', re.IGNORECASE)


def base(request: web.Request) -> str:
    """`http://example.org`; forwarding headers count only when a trusted proxy sent them."""
    trusted = _trusts(tuple(request.app[SETTINGS].gateway.trusted_proxies), request.remote or "")
    scheme = _scheme(request) if trusted else request.scheme
    forwarded = request.headers.get("X-Forwarded-Host", "") if trusted else ""
    host = forwarded.rpartition(",")[2].strip() or request.host
    return f"{scheme}://{host.removesuffix(DEFAULT_PORT[scheme])}"


@lru_cache(1024)
def _trusts(proxies: tuple[str, ...], peer: str) -> bool:
    try:
        address = ip_address(peer)
    except ValueError:
        return False
    return any(address in ip_network(proxy) for proxy in proxies)


def _scheme(request: web.Request) -> str:
    """https if any header says so; where one holds a list, its last readable element counts."""
    headers = request.headers
    if headers.get("X-Forwarded-Ssl", "").lower() == "on":
        return "https"
    named: list[list[str]] = [FORWARDED_PROTO.findall(", ".join(headers.getall("Forwarded", ())))]
    named += [headers.get(name, "").split(",") for name in ("X-Forwarded-Proto", "X-Forwarded-Scheme")]
    for candidates in named:
        schemes = [scheme for candidate in candidates if (scheme := candidate.strip().lower()) in DEFAULT_PORT]
        if schemes:
            return schemes[-1]
    return request.scheme
