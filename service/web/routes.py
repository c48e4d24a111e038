"""Routing of paths. Trailing and repeated slashes are ignored (contract 1)."""

from collections.abc import Mapping
from dataclasses import dataclass
from urllib.parse import unquote

from service.schemas.base import PREFIX
from service.schemas.fields import UUID
from service.schemas.resource import Resource
from service.statistics import question

BASE = tuple(PREFIX.strip("/").split("/"))
METHODS = ("GET", "HEAD")
LIST, ONE, RELATED, LINKAGE, RECORDING = "list", "one", "related", "linkage", "recording"
LOGIN, SESSION, LOGOUT, STATISTICS = "login", "session", "logout", "statistics"
PUBLIC = (LOGIN, LOGOUT)  # Without a token.
ANY_ACCEPT = (RECORDING, STATISTICS, LOGIN, SESSION, LOGOUT)  # Accept is ignored.
AUTH = {"POST": LOGIN, "GET": SESSION, "HEAD": SESSION, "DELETE": LOGOUT}
ACTIONS = {
    (): LIST,
    (":id",): ONE,
    (":id", "account"): RELATED,
    (":id", "relationships", "account"): LINKAGE,
    (":id", "rec"): RECORDING,
}


@dataclass(frozen=True, slots=True)
class Endpoint:
    """The target of a path and a method. `template` is the path without the id, for logs and metrics."""

    action: str
    template: str


@dataclass(frozen=True, slots=True)
class Route(Endpoint):
    """An endpoint of a resource."""

    resource: Resource
    identifier: str


Endpoints = Mapping[tuple[str, str], Endpoint]  # Endpoints without a resource, by method and last path segment.


def endpoints(*, auth: bool) -> Endpoints:
    """The statistics and, if enabled, /auth."""
    verbs = dict.fromkeys(question.STATISTICS, dict.fromkeys(METHODS, STATISTICS)) | ({"auth": AUTH} if auth else {})
    return {
        (verb, name): Endpoint(action, f"{PREFIX}/{name}")
        for name, actions in verbs.items()
        for verb, action in actions.items()
    }


def find_endpoint(found: Endpoints, method: str, path: str) -> Endpoint | None:
    """The endpoint without a resource of a raw path, or None."""
    segments = _segments(path)
    if tuple(segments[: len(BASE)]) != BASE or len(segments) != len(BASE) + 1:
        return None
    return found.get((method, segments[-1]))


def find(resources: Mapping[str, Resource], method: str, path: str) -> Route | None:
    """The route of a raw path, or None. The id is one percent-decoded segment with any content."""
    segments = _segments(path)
    base, rest = tuple(segments[: len(BASE)]), segments[len(BASE) :]
    if method not in METHODS or base != BASE or not rest or rest[0] not in resources:
        return None
    resource, tail = resources[rest[0]], rest[1:]
    pattern = (":id", *tail[1:]) if tail else ()
    action, identifier = ACTIONS.get(pattern), unquote(tail[0], errors="surrogateescape") if tail else ""
    if action is None or not _has(resource, action, identifier):
        return None
    return Route(action, "/".join((PREFIX, resource.type, *pattern)), resource, identifier)


def _segments(path: str) -> list[str]:
    return [segment for segment in path.split("/") if segment]


def _has(resource: Resource, action: str, identifier: str) -> bool:
    """True if the route exists. Resources without an account have no subpaths; UUIDs must be valid."""
    if action in (RELATED, LINKAGE, RECORDING) and resource.account is None:
        return False
    return action == LIST or resource.integer_ids or bool(len(identifier) == 36 and UUID.fullmatch(identifier))
