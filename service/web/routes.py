"""Paths to what is asked for; trailing and doubled slashes do not matter, everything else does (contract 1)."""

from collections.abc import Mapping
from dataclasses import dataclass
from urllib.parse import unquote

from service.schemas.base import PREFIX
from service.schemas.fields import UUID
from service.schemas.resource import Resource

BASE = tuple(PREFIX.strip("/").split("/"))
METHODS = ("GET", "HEAD")
LIST, ONE, RELATED, LINKAGE, RECORDING = "list", "one", "related", "linkage", "recording"
ACTIONS = {
    (): LIST,
    (":id",): ONE,
    (":id", "account"): RELATED,
    (":id", "relationships", "account"): LINKAGE,
    (":id", "rec"): RECORDING,
}


@dataclass(frozen=True, slots=True)
class Route:
    """What a path asks of which resource; `template` is the path with the id left out, for logs and metrics."""

    resource: Resource
    action: str
    identifier: str
    template: str


def find(resources: Mapping[str, Resource], method: str, path: str) -> Route | None:
    """The route of a raw path, or None. An id is one percent-decoded segment, whatever it holds."""
    segments = [segment for segment in path.split("/") if segment]
    base, rest = tuple(segments[: len(BASE)]), segments[len(BASE) :]
    if method not in METHODS or base != BASE or not rest or rest[0] not in resources:
        return None
    resource, tail = resources[rest[0]], rest[1:]
    pattern = (":id", *tail[1:]) if tail else ()
    action, identifier = ACTIONS.get(pattern), unquote(tail[0], errors="surrogateescape") if tail else ""
    if action is None or not _has(resource, action, identifier):
        return None
    return Route(resource, action, identifier, "/".join((PREFIX, resource.type, *pattern)))


def _has(resource: Resource, action: str, identifier: str) -> bool:
    """A resource without an account has no routes below its records; one with UUIDs is routed by nothing else."""
    if action in (RELATED, LINKAGE, RECORDING) and resource.account is None:
        return False
    return action == LIST or resource.integer_ids or bool(len(identifier) == 36 and UUID.fullmatch(identifier))
