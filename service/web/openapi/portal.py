"""The operations for customer portals: login, session, and statistics of calls."""

from collections.abc import Iterator, Mapping
from typing import Any

from service import errors
from service.schemas.resource import Resource
from service.settings import Settings
from service.statistics import parameters as statistics
from service.statistics.question import STATISTICS, Statistic
from service.web.auth import FAILED
from service.web.credentials import JSON_TYPES
from service.web.openapi import examples, parameters, responses, schemas
from service.web.openapi.operations import Operation
from service.web.openapi.parameters import Parameter
from service.web.openapi.responses import Response
from service.web.openapi.schemas import Schema
from service.web.statistics import TOO_MANY_BUCKETS

JSON = "application/json"
CREDENTIALS: Schema = {
    "type": "object",
    "required": ["auth"],
    "properties": {
        "auth": {
            "type": "object",
            "required": ["login", "password"],
            "properties": {
                "login": {"type": "string", "description": "Login, case-sensitive."},
                "password": {"type": "string", "description": "Password; only the first 72 bytes count."},
                "cookie_auth": {"description": "Send the token as a cookie, unless null, false or an empty string."},
            },
        }
    },
}
TOKEN: Schema = {"type": "object", "required": ["jwt"], "properties": {"jwt": {"type": "string"}}}
PERMISSION: Schema = {"type": "object", "required": ["allow-rec"], "properties": {"allow-rec": {"type": "boolean"}}}
REFUSAL: Schema = {"type": "object", "required": ["error"], "properties": {"error": {"type": "string"}}}
NUMBER: Schema = {"type": "number"}
NUMBER_OR_NULL: Schema = {"type": ["number", "null"]}
COUNT: Schema = {"type": "integer", "minimum": 0}
VOLUMES: Mapping[str, Schema] = {
    "total_calls": COUNT,
    "successful_calls": {**COUNT, "description": "Calls of more than 0 seconds."},
    "failed_calls": {**COUNT, "description": "Calls of 0 seconds."},
    "total_duration": {**NUMBER, "description": "Minutes."},
    "acd": {**NUMBER_OR_NULL, "description": "Average duration of the successful calls, in seconds."},
    "asr": {**NUMBER_OR_NULL, "description": "Per cent of the calls that were successful."},
    "total_price": {**NUMBER_OR_NULL, "description": "Null where a price is not a number."},
}
QUALITY: Mapping[str, Schema] = {
    **{name: VOLUMES[name] for name in ("total_calls", "acd", "asr")},
    "cps": {**NUMBER, "description": "Calls per second of the bucket."},
}


def operations(resources: Mapping[str, Resource], settings: Settings) -> Iterator[Operation]:
    """The operations, without /auth if it is disabled."""
    if settings.auth.login:
        yield from _auth()
    for name, statistic in STATISTICS.items():
        yield _statistic(name, statistic, resources[statistic.resource])


def _auth() -> Iterator[Operation]:
    failures = responses.shared(*responses.FAILURES)
    yield Operation(
        "/auth",
        "getSession",
        "Check the token and show its permissions",
        "auth",
        parameters.SEEN[1:],
        {
            "200": _plain("Whether recordings may be downloaded.", PERMISSION, {"allow-rec": False}, "no-store"),
            **responses.shared("401", "429"),
            **failures,
        },
    )
    yield Operation(
        "/auth",
        "logIn",
        "Log in for a token or a session cookie. A form with `auth[login]` and `auth[password]` is accepted as well",
        "auth",
        (),
        {
            "201": _plain("A token, or an empty body and a cookie.", TOKEN, None, "no-store", "set-cookie"),
            "400": responses.refusal(
                "Invalid body.",
                {
                    "no-auth": examples.refused(errors.bad_request("The body has no object named auth."), "{}")[
                        "refused"
                    ]
                },
                session=False,
            ),
            "401": _failed_login(),
            "429": responses.refusal(
                "Too many failed logins from this address.",
                examples.refused(errors.too_many_requests(30), "Too many requests"),
                "retry-after",
                session=False,
            ),
            **failures,
        },
        public=True,
        method="post",
        body={"required": True, "content": {type_: {"schema": CREDENTIALS} for type_ in JSON_TYPES}},
    )
    headers = responses.header_references(*responses.ALWAYS, "no-store", "set-cookie")
    ended = {"description": "The cookie is expired.", "headers": headers}
    yield Operation("/auth", "logOut", "Log out", "auth", (), {"204": ended, **failures}, public=True, method="delete")


def _statistic(name: str, statistic: Statistic, calls: Resource) -> Operation:
    side, headers = name.partition("-")[0], (*responses.ALWAYS, *responses.OF_CALLER, *responses.TAGGED)
    operation = "get" + "".join(word.capitalize() for word in name.split("-"))
    return Operation(
        f"/{name}",
        operation,
        f"{side.capitalize()} {'quality' if statistic.quality else 'volume'} of an account in buckets of time",
        "statistics",
        [*_parameters(statistic, calls), *parameters.SEEN],
        {
            "200": responses.plain(
                "Columns with an element for each bucket, and totals; an empty array for a range in the future.",
                JSON,
                _columns(QUALITY if statistic.quality else VOLUMES),
                {},
                *responses.TAGGED,
            ),
            "304": {"description": "Not modified.", "headers": responses.header_references(*headers)},
            "400": _bad(),
            **responses.shared("401", "429", "500", "503"),
            "504": responses.refusal(
                "The query took too long.", examples.refused(errors.statistics_timed_out(), "Query timed out")
            ),
        },
    )


def _parameters(statistic: Statistic, calls: Resource) -> Iterator[Parameter]:
    time, zone = schemas.READ[type(calls.schema.fields["time_start"])], "by default in the service's time zone"
    given: tuple[tuple[str, str, Schema, bool], ...] = (
        ("account-id", "UUID of an account in the caller's scope.", {"type": "string", "format": "uuid"}, True),
        ("from-time", f"Earliest start of the calls, {zone}.", time, True),
        ("to-time", f"Latest start of the calls, {zone}. Default: now.", time, False),
        (
            "sampling",
            "Size of a bucket in the service's time zone. Weeks start on Sunday.",
            {"type": "string", "enum": list(statistic.samplings)},
            True,
        ),
    )
    for name, text, schema, required in given:
        yield {"name": name, "in": "query", "required": required, "description": text, "schema": schema}
    for name, _, operator, field in statistics.rules(statistic, calls):
        text = f"{field.metadata['description']} {parameters.MEANINGS[operator]}"
        # A single text, in which commas have no meaning.
        schema = schemas.of(field, {**schemas.READ, **schemas.ELEMENTS})
        yield {"name": name, "in": "query", "description": text, "schema": schema}


def _columns(shown: Mapping[str, Schema]) -> Schema:
    arrays = {name: {"type": "array", "items": schema} for name, schema in shown.items()}
    start = {"type": "integer", "description": "Start of the bucket, in seconds since 1970."}
    columns = {
        "data": schemas.closed({"t": {"type": "array", "items": start}, **arrays}),
        "rows": {**COUNT, "description": "Number of buckets."},
        "totals": schemas.closed({"t": {"const": 0}, **shown}),
    }
    return {"anyOf": [schemas.closed(columns), {"type": "array", "maxItems": 0}]}


def _bad() -> Response:
    asked = "account-id=ACCOUNT&from-time=2026-03-01"
    refused = {
        "missing": ("?sampling=hour", "missing required param(s) account-id, from-time"),
        "unknown-account": ("?account-id=x&from-time=2026-03-01&sampling=minute", "invalid value account-id"),
        "unknown-sampling": (f"?{asked}&sampling=x", "invalid sampling"),
        "too-many-buckets": (f"?{asked.replace('2026', '1926')}&sampling=minute", TOO_MANY_BUCKETS),
    }
    shown = {name: {"summary": query, "value": {"error": text}} for name, (query, text) in refused.items()}
    broken = errors.bad_request("The query string has a broken percent-encoding.")
    document = responses.refusal("Invalid parameters.", examples.refused(broken, "?account-id=%"))
    plain = responses.plain("Invalid parameters.", JSON, REFUSAL, shown)
    headers = {**document["headers"], "vary": {**responses.HEADERS["vary"], "required": False}}
    return {**document, "headers": headers, "content": {**document["content"], **plain["content"]}}


def _failed_login() -> Response:
    body = {"errors": [{"title": FAILED.title, "detail": FAILED.detail, "code": FAILED.code, "status": FAILED.code}]}
    return _plain("The login failed.", {"$ref": "#/components/schemas/errors"}, body, "no-store")


def _plain(text: str, schema: Schema, value: Any, *more: str) -> Response:
    shown = {} if value is None else {"answer": {"summary": text, "value": value}}
    return responses.plain(text, JSON, schema, shown, *more)
