"""The scheme and host of links, as in the client's request (contract 14)."""

import re

from aiohttp import web

from service.errors import bad_request
from service.web import proxies

DEFAULT_PORT = {"http": ":80", "https": ":443"}
FORWARDING = ("Forwarded", "X-Forwarded-Host", "X-Forwarded-Proto", "X-Forwarded-Scheme", "X-Forwarded-Ssl")
FORWARDED_PROTO = re.compile(r'(?:^|[;,\s])proto="?(https?)\b', re.IGNORECASE)
HOST = re.compile(r"(?:[A-Za-z0-9._-]+|\[[0-9A-Fa-f:.]+\])(?::[0-9]{0,5})?")
AUTHORITY = re.compile(r"[A-Za-z]+://(?:[^/?#@]*@)?([^/?#]*)")


def base(request: web.Request) -> str:
    """For example `http://example.org`. Forwarding headers count only from trusted proxies. Raises BadRequestError."""
    scheme, host = request.scheme, _host(request)
    if any(name in request.headers for name in FORWARDING) and proxies.trusted(request):
        scheme = _scheme(request)
        forwarded = _joined(request, "X-Forwarded-Host").rpartition(",")[2].strip()
        host = forwarded if HOST.fullmatch(forwarded) else host
    if not HOST.fullmatch(host):
        raise bad_request("Invalid Host header.")
    return f"{scheme}://{host.removesuffix(DEFAULT_PORT[scheme]).removesuffix(':')}"


def _host(request: web.Request) -> str:
    """The host and port of an absolute request target, or else the Host header (RFC 9112, 3.2.2)."""
    named = AUTHORITY.match(request.raw_path)
    return named[1] if named else request.host


def _scheme(request: web.Request) -> str:
    """The scheme from forwarding headers; in a list, the last valid element counts."""
    if _joined(request, "X-Forwarded-Ssl").lower() == "on":
        return "https"
    named: list[list[str]] = [FORWARDED_PROTO.findall(_joined(request, "Forwarded"))]
    named += [_joined(request, name).split(",") for name in ("X-Forwarded-Proto", "X-Forwarded-Scheme")]
    for candidates in named:
        schemes = [scheme for candidate in candidates if (scheme := candidate.strip().lower()) in DEFAULT_PORT]
        if schemes:
            return schemes[-1]
    return request.scheme


def _joined(request: web.Request, name: str) -> str:
    """All lines of a header, joined by commas."""
    return ", ".join(request.headers.getall(name, ()))
