"""The OpenAPI document, and the documentation page if Swagger UI is installed."""

import json
from collections.abc import Iterator, Mapping
from importlib.util import find_spec
from pathlib import Path

from service.files import DOCS
from service.schemas.resource import Resource
from service.settings import Settings
from service.web import openapi
from service.web.routes import BASE
from service.web.static import StaticFile, StaticFiles

PACKAGE = "swagger_ui_bundle"
OWN = ("simplify.js", "components.js", "viewer.js", "viewer.css")
DRAWING = ("swagger-ui.css", "swagger-ui-bundle.js", "favicon-32x32.png")
TYPES = {".css": "text/css; charset=utf-8", ".js": "text/javascript; charset=utf-8", ".png": "image/png"}
HTML = "text/html; charset=utf-8"


def static_files(resources: Mapping[str, Resource], settings: Settings) -> StaticFiles:
    """All files, for the configured service."""
    described = json.dumps(openapi.document(resources, settings), ensure_ascii=False).encode()
    found = {(*BASE, "openapi.json"): StaticFile("application/json", described)}
    installed = _installed()
    return {**found, **dict(_viewer(installed))} if installed else found


def _viewer(installed: Path) -> Iterator[tuple[tuple[str, ...], StaticFile]]:
    yield (*BASE, "docs"), StaticFile(HTML, (DOCS / "index.html").read_bytes())
    for file in (*(DOCS / name for name in OWN), *(installed / name for name in DRAWING)):
        yield (*BASE, "docs", file.name), StaticFile(TYPES[file.suffix], file.read_bytes())


def _installed() -> Path | None:
    """The folder of Swagger UI 5, the first version that supports OpenAPI 3.1. The package is not imported."""
    spec = find_spec(PACKAGE)
    places = (spec and spec.submodule_search_locations) or ()
    return next((folder for place in places for folder in Path(place).glob("vendor/swagger-ui-5.*")), None)
