"""The operations of resources and files, with their parameters and responses."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

from service.jsonapi.accept import SIMPLE_TYPES
from service.schemas.fields import ToAccount
from service.schemas.resource import ACCOUNT, Resource
from service.settings import Recordings, Settings
from service.web.openapi import examples, parameters, responses
from service.web.openapi.parameters import Parameter
from service.web.openapi.responses import Responses


@dataclass(frozen=True, slots=True)
class Operation:
    """A method on a path below the common prefix. GET implies HEAD."""

    path: str
    id: str
    summary: str
    tag: str
    parameters: Sequence[Parameter]
    answers: Responses
    public: bool = False
    method: str = "get"
    body: Mapping[str, Any] | None = None


def of(resource: Resource, settings: Settings) -> Iterator[Operation]:
    """All operations of a resource."""
    yield _list(resource, settings.export.max_days)
    yield _one(resource)
    if resource.account:
        yield _related(resource, resource.account)
        yield _linkage(resource)
        yield _recording(resource, settings.recordings)


def files() -> Iterator[Operation]:
    """The public documentation files."""
    for path, name, summary, media_type in (
        ("/openapi.json", "getOpenapi", "This document", "application/json"),
        ("/docs", "getDocs", "Documentation page that can send requests", "text/html"),
    ):
        answers = responses.file(summary, media_type)
        yield Operation(path, name, summary, "documentation", parameters.SEEN, answers, public=True)


def _list(resource: Resource, most_days: int) -> Operation:
    name = f"list{_camel(resource.type)}"
    bad = {**examples.RECORD, **examples.PAGE, **examples.VALUE, **examples.CURSORS, **examples.EXPORT}
    if resource.meta.window:
        bad |= examples.wide(most_days)
    answers = {
        "200": responses.list_response(resource.type, partial(examples.list_examples, name, resource)),
        "400": responses.refusal("Invalid query parameters.", examples.bad_queries(resource, bad)),
        **responses.document(),
    }
    window = ", by default those of the last 24 hours" if resource.meta.window else ""
    return Operation(
        f"/{resource.type}",
        name,
        f"A page of {resource.type}{window}, or all records as a table",
        resource.type,
        parameters.list_parameters(resource),
        answers,
    )


def _one(resource: Resource) -> Operation:
    name = f"get{_camel(resource.singular)}"
    answers = {
        "200": responses.document_response(
            "The record.", f"{resource.type}-document", examples.recorded(name, resource.registry)
        ),
        "400": _bad(resource, resource, examples.RECORD),
        "404": _missing(resource),
        **responses.document(),
    }
    taken = [parameters.identifier(resource), *parameters.record(resource)]
    return Operation(f"/{resource.type}/{{id}}", name, f"One of {resource.type}", resource.type, taken, answers)


def _related(resource: Resource, account: ToAccount) -> Operation:
    name = f"get{_camel(resource.singular)}{_camel(ACCOUNT)}"
    target = resource.accounts
    answers = {
        "200": responses.document_response(
            "The account, or null.", f"{target.type}-or-null", examples.recorded(name, resource.registry)
        ),
        "400": _bad(resource, target, {**examples.RECORD, **examples.PAGE}),
        "404": _missing(resource),
        **responses.document(),
    }
    return Operation(
        f"/{resource.type}/{{id}}/{ACCOUNT}",
        name,
        account.metadata["description"],
        resource.type,
        [parameters.identifier(resource), *parameters.related(target)],
        answers,
    )


def _linkage(resource: Resource) -> Operation:
    name = f"get{_camel(resource.singular)}{_camel(ACCOUNT)}Linkage"
    recorded = examples.recorded(name, resource.registry)
    answers = {
        "200": responses.document_response("Type and id, or null.", f"{resource.type}-linkage", recorded),
        "400": _bad(resource, resource, {}),
        "404": _missing(resource),
        **responses.document(),
    }
    path = f"/{resource.type}/{{id}}/relationships/{ACCOUNT}"
    taken = [parameters.identifier(resource), *parameters.SEEN]
    return Operation(path, name, f"Relationship to the {ACCOUNT}", resource.type, taken, answers)


def _recording(resource: Resource, settings: Recordings) -> Operation:
    missing = _missing(resource)
    missing["description"] += " The body is empty if the recording does not exist or may not be downloaded."
    missing["headers"]["vary"] = {**responses.HEADERS["vary"], "required": False}
    missing["content"] |= {media_type: {} for media_type in ("text/html", *SIMPLE_TYPES[1:])}
    answers = {
        **responses.shared("401", "429", *responses.FAILURES),
        **responses.recording(settings),
        "400": _bad(resource, resource, {}),
        "404": missing,
    }
    return Operation(
        f"/{resource.type}/{{id}}/rec",
        f"get{_camel(resource.singular)}Recording",
        "The recording of the call; Accept is ignored",
        resource.type,
        [parameters.identifier(resource), *parameters.SEEN[1:]],
        answers,
    )


def _bad(resource: Resource, asked: Resource, table: examples.ExampleTable) -> responses.Response:
    """The response to an invalid id, or to invalid query parameters, which are those of `asked`."""
    return responses.refusal(
        "Invalid id or query parameters.",
        {**examples.bad_identifier(resource), **examples.bad_queries(asked, table)},
    )


def _missing(resource: Resource) -> responses.Response:
    return responses.refusal("The record does not exist or is not in the caller's scope.", examples.missing(resource))


def _camel(name: str) -> str:
    return "".join(word.capitalize() for word in name.split("-"))
