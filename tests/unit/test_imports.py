"""The import rule: downwards only, siblings never, and each library in its room."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

SERVICE = Path(__file__).parents[2] / "service"

# Which rooms and modules each may import, besides itself.
GROUND = {"errors", "files", "selection"}
MEASURED = {"metrics", "timings"}
BELOW = {
    "errors": set(),
    "files": set(),
    "selection": set(),
    "logs": set(),
    "metrics": set(),
    "memory": {"metrics"},
    "rounds": set(),
    "timings": set(),
    "settings": {"files"},
    "schemas": {"selection"},
    "jsonapi": GROUND | {"schemas"},
    "db": GROUND | MEASURED | {"memory", "rounds", "schemas"},
    "auth": GROUND | MEASURED | {"memory"},
    "recordings": {"errors", "settings"},
    "web": GROUND | MEASURED | {"auth", "db", "jsonapi", "recordings", "rounds", "schemas", "settings"},
    "telemetry": MEASURED | {"settings", "web"},
    "app": {"auth", "db", "jsonapi", "recordings", "schemas", "settings", "telemetry", "web"},
    "runner": {"web"},
    "workers": {"metrics", "settings"},
    "server": {"app", "metrics", "runner", "settings", "workers"},
    "parquet": {"jsonapi", "schemas"},
    "progress": set(),
    "export": GROUND | {"app", "auth", "db", "jsonapi", "parquet", "progress", "schemas", "settings", "web"},
    "demo": {"auth", "db", "files", "server", "settings"},
    "cli": {
        "auth",
        "db",
        "demo",
        "export",
        "files",
        "logs",
        "recordings",
        "schemas",
        "server",
        "settings",
        "telemetry",
    },
    "__main__": {"cli"},
    "__init__": set(),
}
LIBRARIES = {
    "aiobotocore": {"recordings"},
    "aiohttp": {"web", "app", "runner", "telemetry", "workers"},
    "gunicorn": {"workers"},
    "opentelemetry": {"telemetry"},
    "prometheus_client": {"metrics"},
    "sentry_sdk": {"telemetry"},
    "aiopg": {"db"},
    "botocore": {"recordings"},
    "psycopg2": {"db"},
    "jose": {"auth"},
    "marshmallow": {"schemas", "jsonapi", "settings"},
    "marshmallow_jsonapi": {"schemas"},
    "pyarrow": {"parquet"},
    "orjson": {"jsonapi", "logs", "web"},
    "structlog": {"db", "logs", "rounds", "runner", "server", "telemetry", "web", "workers"},
}

MODULES = sorted(SERVICE.rglob("*.py"))


def room(module: Path) -> str:
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
    rooms = {name.split(".")[1] for name in imported(module) if name.startswith("service.")}
    assert rooms - {room(module)} <= BELOW[room(module)]


@pytest.mark.parametrize("module", MODULES, ids=lambda module: str(module.relative_to(SERVICE)))
def test_a_library_is_used_in_its_room_only(module: Path) -> None:
    libraries = {name.split(".")[0] for name in imported(module)} & LIBRARIES.keys()
    assert not {library for library in libraries if room(module) not in LIBRARIES[library]}


def test_the_rule_itself_has_no_circles() -> None:
    order: list[str] = []
    while len(order) < len(BELOW):
        ready = [name for name, below in BELOW.items() if name not in order and below <= set(order)]
        assert ready, f"a circle among {set(BELOW) - set(order)}"
        order += ready
