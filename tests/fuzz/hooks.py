"""Input for the fuzzer: values of the description's formats, existing ids, and cursors.

OpenAPI cannot express dependencies between parameters. So the hooks combine valid values to valid requests, and make
invalid values effective.
"""

import json
import os
import re
import zlib
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any
from urllib.parse import urlencode
from urllib.request import Request, urlopen

import schemathesis
from hypothesis import strategies as st

OFFSETS = st.sampled_from(["", "Z", "+00:00", "-08:00", "+0530"])
CALL, ACCOUNT = os.environ["FUZZ_CALL"], os.environ["FUZZ_ACCOUNT"]
MOST = 2**63 // 1000 - 1  # Pages of any size.

# Python and PostgreSQL know the years 1 to 9999, and an offset must not lead out of them.
days = st.dates(min_value=date(1, 1, 2), max_value=date(9999, 12, 30)).map(str)
clocks = st.times().map(lambda time: time.isoformat(timespec="milliseconds"))
moments = st.builds("{}{}{}{}".format, days, st.sampled_from("T "), clocks, OFFSETS)

networks = st.one_of(
    st.builds("{}/{}".format, st.ip_addresses(v=4), st.integers(0, 32)),
    st.builds("{}/{}".format, st.ip_addresses(v=6), st.integers(0, 128)),
)

schemathesis.openapi.format("moment", days | moments)
schemathesis.openapi.format("inet", st.ip_addresses().map(str) | networks)
schemathesis.openapi.format("decimal", st.decimals(allow_nan=False, allow_infinity=False, places=4).map(str))


LIST = re.compile("/(incoming-cdrs|cdrs|accounts)")
TABLES = ("csv", "ndjson")
OPEN = ("filter[time_start_gteq]", "filter[time_start_gt]")  # Without them, an export covers 24 hours.
PROFILE = 'application/vnd.api+json; profile="https://jsonapi.org/profiles/ethanresnick/cursor-pagination"'
ENDS = ("page[after]", "page[before]")
STATIC_FILES = ("*/*", PROFILE)
AS_TABLES = ("text/csv", "application/x-ndjson;q=0.9, application/vnd.api+json;q=0.1")


@schemathesis.deserializer("text/csv", "application/x-ndjson")
def text(_: Any, response: Any) -> str:
    """A table is checked as the text that it is."""
    return str(response.content.decode())


@schemathesis.hook
def before_call(context: Any, case: Any, _: Any) -> None:
    """Makes a request meet what is there."""
    known_records(case)
    if "statistics" in case.path:
        past(case)
    if LIST.fullmatch(case.path):
        (harm if case.meta and case.meta.generation.mode.is_negative else fit)(case)


@schemathesis.hook
def after_call(context: Any, case: Any, response: Any) -> None:
    """Notes how lists were read, for the test to see that each way was."""
    if response.status_code == 200 and LIST.fullmatch(case.path):
        (content_type,) = response.headers["content-type"]
        placed = "from a cursor\n" if any(case.query.get(end) for end in ENDS) else ""
        with Path("ways.txt").open("a", encoding="utf-8") as file:
            file.write(f"{content_type}\n{placed}")


def past(case: Any) -> None:
    """Asks of a known account about a short time that is past, where it asks of any account about any time."""
    query = case.query
    if re.fullmatch(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", str(query.get("account-id"))):
        query["account-id"] = ACCOUNT
    if re.match(r"\d{4}-\d\d-\d\d", str(query.get("from-time"))):
        recent = datetime.now(UTC) - timedelta(hours=1)  # Quality is told until now, in few enough buckets.
        query["from-time"] = recent.isoformat() if "quality" in case.path else "2026-03-05T10:00:00Z"
        query.setdefault("to-time", "2026-03-05")
    if re.match(r"\d{4}-\d\d-\d\d", str(query.get("to-time"))):
        query["to-time"] = "2026-03-05 12:00Z"


def fit(case: Any) -> None:
    """Cursors become real ones, and parameters go together; what Accept names follows from the rest."""
    query, chance = case.query, zlib.crc32(repr(sorted(case.query.items())).encode())
    if "format" in query or any(name.startswith("page[") for name in query):
        accept = STATIC_FILES[chance % len(STATIC_FILES)]
    else:
        accept = (STATIC_FILES + AS_TABLES)[chance % 4]
        if accept in STATIC_FILES and chance % 3:
            query[ENDS[chance % 2]] = "any"
    case.headers["Accept"] = accept
    if query.get("format") in TABLES or accept in AS_TABLES:
        for name in [name for name in query if name.startswith("page[") or name in OPEN]:
            del query[name]
    if query.get("format") == "ndjson" or accept == AS_TABLES[1]:
        query.pop("dialect", None)
    for end in [end for end in ENDS if query.get(end) is not None]:
        query.pop("page[number]", None)
        query[end] = query[end] and cursor(case)


def harm(case: Any) -> None:
    """What is malformed for pages by cursors, or for tables, is asked of these; elsewhere it would mean nothing."""
    query = case.query
    if "page[total]" in query and not any(end in query for end in ENDS):
        query["page[after]"] = ""
    if {"count", "dialect"} & query.keys() and query.get("format", "json") == "json":
        query["format"] = "csv"


def cursor(case: Any) -> str:
    """Of the first record that there is in the order asked for; empty where there is none."""
    asked = {"page[after]": "", "page[size]": "1"}
    if "accounts" not in case.path:
        asked["filter[time_start_gteq]"] = "2026-03-01"
    if "sort" in case.query:
        sort = case.query["sort"]
        asked["sort"] = ",".join(sort) if isinstance(sort, list) else str(sort)
    address = f"{case.operation.base_url}{case.path}?{urlencode(asked)}"
    with urlopen(Request(address, headers={"Authorization": os.environ["FUZZ_TOKEN"]}), timeout=20) as answer:
        records = json.load(answer)["data"]
    return str(next((record["meta"]["page"]["cursor"] for record in records), ""))


def known_records(case: Any) -> None:
    """Every other id that is well-formed becomes one that exists, and the largest pages stay within 2^63 records."""
    number = case.query.get("page[number]")
    if isinstance(number, int) and number > MOST:
        case.query["page[number]"] = number % MOST + 1
    identifier = case.path_parameters.get("id")
    if str(identifier).lstrip("-").isdecimal() and int(identifier) % 2 == 0:
        case.path_parameters["id"] = CALL
    elif isinstance(identifier, str) and len(identifier) == 36 and identifier[-1] in "02468ace":
        case.path_parameters["id"] = ACCOUNT
