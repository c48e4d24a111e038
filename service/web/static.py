"""Public files by path."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property

from aiohttp import web

from service.web import entity_tags

# Scripts and styles only from this host. Swagger UI's style sheet contains icons as data URLs.
POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'self'"
)


class SharedResponse(web.Response):
    """A response whose body is shared by all clients."""


@dataclass(frozen=True)
class StaticFile:
    """A file. Its entity tag is computed once."""

    content_type: str
    body: bytes

    @cached_property
    def tag(self) -> str:
        return entity_tags.of(self.body)

    def response(self) -> web.Response:
        """A new response with the file."""
        return SharedResponse(
            body=self.body, headers={"content-type": self.content_type, "content-security-policy": POLICY}
        )


StaticFiles = Mapping[tuple[str, ...], StaticFile]  # By the segments of the path.


def find(files: StaticFiles, path: str) -> StaticFile | None:
    """The file of a raw path. Trailing and repeated slashes are ignored."""
    return files.get(tuple(segment for segment in path.split("/") if segment))
