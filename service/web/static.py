"""Files that anybody may read, by their paths, and how they are sent."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property

from aiohttp import web

from service.web import entity_tags

# Scripts and styles come from files of this host only. Swagger UI draws its icons from data in its style sheet.
POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'self'"
)


class SharedResponse(web.Response):
    """Has a body that all clients share."""


@dataclass(frozen=True)
class StaticFile:
    """A file, whose entity tag is made once."""

    content_type: str
    body: bytes

    @cached_property
    def tag(self) -> str:
        return entity_tags.of(self.body)

    def response(self) -> web.Response:
        """The file as it is sent."""
        return SharedResponse(
            body=self.body, headers={"content-type": self.content_type, "content-security-policy": POLICY}
        )


StaticFiles = Mapping[tuple[str, ...], StaticFile]  # By the segments of the path.


def find(pages: StaticFiles, path: str) -> StaticFile | None:
    """The file of a raw path; trailing and doubled slashes do not matter here either."""
    return pages.get(tuple(segment for segment in path.split("/") if segment))
