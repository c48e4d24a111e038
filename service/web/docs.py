"""The OpenAPI document, and the documentation page if Swagger UI is installed."""

from collections.abc import Mapping
from functools import cache
from importlib.util import find_spec
from pathlib import Path

import orjson

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
    described = orjson.dumps(openapi.document(resources, settings))
    installed = _installed()
    viewer = _viewer(installed) if installed else {}
    return {(*BASE, "openapi.json"): StaticFile("application/json", described), **viewer}


@cache
def _viewer(installed: Path) -> StaticFiles:
    """The page and its files, read once per process."""
    files = (*(DOCS / name for name in OWN), *(installed / name for name in DRAWING))
    page = StaticFile(HTML, (DOCS / "index.html").read_bytes())
    return {(*BASE, "docs"): page} | {
        (*BASE, "docs", file.name): StaticFile(TYPES[file.suffix], file.read_bytes()) for file in files
    }


def _installed() -> Path | None:
    """The folder of Swagger UI 5, the first version that supports OpenAPI 3.1. The package is not imported."""
    spec = find_spec(PACKAGE)
    places = (spec and spec.submodule_search_locations) or ()
    return next((folder for place in places for folder in Path(place).glob("vendor/swagger-ui-5.*")), None)
