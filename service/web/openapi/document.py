"""The complete OpenAPI document."""

from collections.abc import Iterable, Mapping
from importlib.metadata import version
from typing import Any

from service.files import DOCS
from service.schemas.base import PREFIX
from service.schemas.resource import Resource
from service.settings import Settings
from service.web.openapi import operations, parameters, portal, responses, schemas
from service.web.openapi.operations import Operation
from service.web.session import COOKIE

SECURITY_SCHEMES = {
    "token": {
        "type": "http",
        "scheme": "bearer",
        "bearerFormat": "JWT",
        "description": "A token in `Authorization`, with or without the prefix `Bearer`.",
    },
    "session": {
        "type": "apiKey",
        "in": "cookie",
        "name": COOKIE,
        "description": "A token in a cookie, which every response renews.",
    },
}


TAGS = [
    {"name": "auth", "description": "Login and sessions."},
    {"name": "statistics", "description": "Numbers, durations and prices of calls over time."},
]


def document(resources: Mapping[str, Resource], settings: Settings) -> dict[str, Any]:
    """The OpenAPI 3.1 document of the configured service."""
    described = [*operations.files()]
    for resource in resources.values():
        described += operations.of(resource, settings)
    described += portal.operations(resources, settings)
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "Calls and accounts",
            "version": version("cdr-api"),
            "summary": 'The CDR part of the "customer v1" JSON:API.',
            "description": (DOCS / "description.md").read_text(encoding="utf-8"),
        },
        "servers": [{"url": PREFIX}],
        "security": [{name: []} for name in SECURITY_SCHEMES],
        "tags": [{"name": r.type, "description": r.schema.__doc__} for r in resources.values()] + TAGS,
        "paths": _paths(described),
        "components": {
            "schemas": schemas.components(resources),
            "parameters": parameters.COMMON,
            "headers": responses.HEADERS,
            "responses": responses.COMMON,
            "securitySchemes": SECURITY_SCHEMES,
        },
    }


def _paths(described: Iterable[Operation]) -> dict[str, Any]:
    paths: dict[str, Any] = {}
    for operation in described:
        paths.setdefault(operation.path, {}).update(_path(operation))
    return paths


def _path(operation: Operation) -> dict[str, Any]:
    """The operations of a path; each GET also defines HEAD."""
    answers = dict(sorted(operation.answers.items()))
    if operation.method != "get":
        verb = _verb(operation, operation.id, operation.summary, answers)
        return {operation.method: {**verb, **({"requestBody": operation.body} if operation.body else {})}}
    return {
        "parameters": operation.parameters,
        "get": _verb(operation, operation.id, operation.summary, answers),
        "head": _verb(operation, f"{operation.id}Head", "Only the headers", responses.without_content(answers)),
    }


def _verb(operation: Operation, name: str, summary: str, answers: dict[str, Any]) -> dict[str, Any]:
    public: dict[str, Any] = {"security": []} if operation.public else {}
    return {"operationId": name, "summary": summary, "tags": [operation.tag], **public, "responses": answers}
