"""The import rule: downwards only, never between siblings, and each library only in its packages."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

SERVICE = Path(__file__).parents[2] / "service"

# The packages and modules that each may import, besides itself.
BASE = {"errors", "files", "query"}
MEASURED = {"concurrency", "observability"}
BELOW = {
    "errors": set(),
    "files": set(),
    "query": {"schemas"},
    "observability": set(),
    "concurrency": {"observability"},
    "settings": {"files"},
    "schemas": set(),
    "jsonapi": BASE | {"schemas"},
    "tables": BASE | {"jsonapi", "schemas"},
    "statistics": BASE | MEASURED | {"schemas"},
    "db": BASE | MEASURED | {"schemas", "statistics"},
    "auth": BASE | MEASURED,
    "recordings": {"errors", "settings"},
    "services": BASE | MEASURED | {"auth", "db", "jsonapi", "recordings", "schemas", "settings", "statistics"},
    "web": BASE
    | MEASURED
    | {"auth", "db", "jsonapi", "recordings", "schemas", "services", "settings", "statistics", "tables"},
    "telemetry": MEASURED | {"settings", "web"},
    "process": {"observability", "services", "settings", "telemetry", "web"},
    "commands": BASE | {"auth", "db", "jsonapi", "schemas", "services", "settings", "tables"},
    "demo": {"auth", "db", "files", "process", "settings"},
    "cli": {
        "auth",
        "commands",
        "db",
        "demo",
        "files",
        "observability",
        "process",
        "recordings",
        "schemas",
        "settings",
        "telemetry",
    },
    "__main__": {"cli"},
    "__init__": set(),
}
LIBRARIES = {
    "aiobotocore": {"recordings"},
    "aiohttp": {"process", "telemetry", "web"},
    "aiopg": {"db"},
    "bcrypt": {"auth"},
    "botocore": {"recordings"},
    "gunicorn": {"process"},
    "jose": {"auth"},
    "marshmallow": {"jsonapi", "schemas", "settings", "statistics"},
    "marshmallow_jsonapi": {"schemas"},
    "opentelemetry": {"telemetry"},
    "orjson": {"db", "jsonapi", "observability", "statistics", "tables", "web"},
    "prometheus_client": {"observability"},
    "psycopg2": {"db"},
    "pyarrow": {"tables"},
    "sentry_sdk": {"telemetry"},
    "structlog": {"concurrency", "db", "observability", "process", "telemetry", "web"},
}

MODULES = sorted(SERVICE.rglob("*.py"))


def package(module: Path) -> str:
    return module.relative_to(SERVICE).with_suffix("").parts[0]


def imported(module: Path) -> Iterator[str]:
    """Dotted names; `from service import errors` is service.errors."""
    for node in ast.walk(ast.parse(module.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module == "service":
            yield from (f"service.{alias.name}" for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{module} imports relatively"
            yield str(node.module)


@pytest.mark.parametrize("module", MODULES, ids=lambda module: str(module.relative_to(SERVICE)))
def test_a_module_imports_only_what_lies_below_it(module: Path) -> None:
    packages = {name.split(".")[1] for name in imported(module) if name.startswith("service.")}
    assert packages - {package(module)} <= BELOW[package(module)]


@pytest.mark.parametrize("module", MODULES, ids=lambda module: str(module.relative_to(SERVICE)))
def test_a_library_is_imported_only_in_its_packages(module: Path) -> None:
    libraries = {name.split(".")[0] for name in imported(module)} & LIBRARIES.keys()
    assert not {library for library in libraries if package(module) not in LIBRARIES[library]}


def test_the_rule_itself_has_no_circles() -> None:
    order: list[str] = []
    while len(order) < len(BELOW):
        ready = [name for name, below in BELOW.items() if name not in order and below <= set(order)]
        assert ready, f"a circle among {set(BELOW) - set(order)}"
        order += ready
