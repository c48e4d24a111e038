"""Whatever is asked: no row out of scope, no 5xx, filters that mean what they say, and one way of rendering."""

import asyncio
import json
from collections.abc import Iterator
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any
from urllib.parse import quote

import pytest
from aiohttp.test_utils import TestClient, TestServer
from hypothesis import given, settings
from hypothesis import strategies as st

from service.app import create
from service.jsonapi import document, render
from service.jsonapi.names import is_blank
from service.schemas.fields import Decimal as DecimalField
from service.schemas.fields import Identifier, Inet, String, Timestamp, Uuid
from service.schemas.resource import FilterRule, Resource, configured
from tests.conftest import GOLDEN_SECRET, Api, Databases
from tests.conftest import configured as configure

RESOURCES = configured(UTC, {})
CUSTOMER = 10
EVERYTHING = "filter[time_start_gteq]=2026-03-01"
bounded = settings(max_examples=150, deadline=None, derandomize=True)


class Running:
    """The service on the golden rows, for tests that are not coroutines themselves."""

    def __init__(self, runner: asyncio.Runner, api: Api) -> None:
        self._runner = runner
        self._api = api

    def get(self, path: str) -> tuple[int, Any]:
        """The status and the document, as customer 10."""
        answer = self._runner.run(self._api.get(path, 1))
        return answer.status, json.loads(answer.body) if answer.body else None


@pytest.fixture(scope="module")
def running(postgres: Databases, golden_database: str) -> Iterator[Running]:
    loaded = configure(postgres.dsn(golden_database), AUTH__SECRETS=json.dumps([GOLDEN_SECRET]), LOG__LEVEL="error")
    with asyncio.Runner() as runner:

        async def start() -> TestClient[Any, Any]:
            client = TestClient(TestServer(create(loaded)))
            await client.start_server()
            return client

        client = runner.run(start())
        yield Running(runner, Api(client, loaded))
        runner.run(client.close())


@pytest.fixture(scope="module")
def allowed(postgres: Databases, golden_database: str) -> dict[str, set[str]]:
    """The ids that customer 10 may see, by type."""
    scopes = {
        "incoming-cdrs": f"SELECT id FROM cdr.cdr WHERE vendor_id = {CUSTOMER}",
        "cdrs": f"SELECT id FROM cdr.cdr WHERE customer_id = {CUSTOMER} AND is_last_cdr",
        "accounts": f"SELECT uuid FROM billing.accounts WHERE contractor_id = {CUSTOMER}",
    }
    return {type_: {str(id) for (id,) in postgres.execute(golden_database, sql)} for type_, sql in scopes.items()}


names = st.sampled_from(sorted({name for resource in RESOURCES.values() for name in resource.filters}))
values = st.one_of(
    st.text(max_size=12),
    st.integers().map(str),
    st.floats().map(str),
    st.datetimes().map(str),
    st.uuids().map(str),
    st.ip_addresses().map(str),
    st.sampled_from(["", ",", '"', "\0", "%", "1e99999", "-", "NaN", "infinity", "0001-01-01", "9999-12-31T23:59:59Z"]),
    st.sampled_from(["0e1d9a70-6c1b-4f6e-9b6a-000000000110", "'; SELECT 1 --", "true", "10.0.0.0/8", "account"]),
)
keys = st.one_of(
    names.map("filter[{}]".format),
    names.map("filter[{}][]".format),
    st.sampled_from(
        [
            "sort",
            "include",
            "page",
            "page[size]",
            "page[number]",
            "page[after]",
            "page[before]",
            "fields[cdrs]",
            "fields[accounts]",
            "filter",
        ]
    ),
    st.text(max_size=8).map("filter[{}]".format),
    st.text(max_size=8),
)
pairs = st.tuples(keys, st.lists(values, max_size=3).map(",".join)).map(lambda kv: f"{quote(kv[0])}={quote(kv[1])}")
raw = st.text(st.sampled_from("abfilter[]=&%20+,.;-_#/\"'"), max_size=40).map(lambda text: text.replace("#", "%23"))
queries = st.lists(st.one_of(pairs, pairs, raw, st.just(EVERYTHING)), max_size=5).map("&".join)


@bounded
@given(type_=st.sampled_from(sorted(RESOURCES)), query=queries)
def test_no_query_shows_a_row_out_of_scope_or_breaks_the_service(
    running: Running, allowed: dict[str, set[str]], type_: str, query: str
) -> None:
    status, found = running.get(f"{type_}?{query}&x=%20")
    assert status in (200, 400)
    if status == 200:
        assert {record["id"] for record in found["data"]} <= allowed[type_]
        assert {record["id"] for record in found.get("included", ())} <= allowed["accounts"]


@bounded
@given(
    id_=st.one_of(st.integers(), st.text(min_size=1)),
    tail=st.sampled_from(["", "/account", "/rec", "?include=account"]),
)
def test_no_id_breaks_the_service(running: Running, id_: int | str, tail: str) -> None:
    status, _ = running.get(f"cdrs/{quote(str(id_), safe='')}{tail}")
    assert status in (200, 400, 404)


def holds(rule: FilterRule, cell: Any, wanted: list[Any]) -> bool:
    """The predicate of a filter, told in Python; NULL meets none."""
    if cell is None:
        return False
    if rule.operator in ("cont", "start", "end", "cont_any"):
        text, parts = cell.lower(), [part.lower() for part in wanted]
        match = {"start": text.startswith, "end": text.endswith}.get(rule.operator, text.__contains__)
        return any(match(part) for part in parts)
    value = wanted[0]
    return {
        "eq": lambda: cell == value,
        "not_eq": lambda: cell != value,
        "gt": lambda: cell > value,
        "gteq": lambda: cell >= value,
        "lt": lambda: cell < value,
        "lteq": lambda: cell <= value,
        "in": lambda: cell in wanted,
        "not_in": lambda: cell not in wanted,
    }[rule.operator]()


COMPARED = {
    name: rule
    for name, rule in RESOURCES["cdrs"].filters.items()
    # Addresses and NaN have an order of PostgreSQL's own; accounts are resolved elsewhere.
    if not rule.accounts and not rule.bare and not isinstance(rule.field, Inet | Uuid)
}
BASE = "SELECT {} FROM cdr.cdr WHERE customer_id = 10 AND is_last_cdr"


def readable(rule: FilterRule, cell: Any) -> str | None:
    """A cell as a client may write it, or None where it could not."""
    if cell is None or (isinstance(cell, Decimal) and not cell.is_finite()):
        return None
    text = cell.isoformat() if isinstance(cell, datetime) else str(cell)
    plain = isinstance(rule.field, String) and (
        is_blank(text) or text != text.strip() or not text.isascii() or '"' in text
    )
    return None if plain or any(mark in text for mark in ",\n\r") else text


@pytest.mark.parametrize("name", COMPARED)
def test_a_filters_result_is_the_same_predicate_over_the_rows(
    running: Running, postgres: Databases, golden_database: str, name: str
) -> None:
    rule = COMPARED[name]
    rows = postgres.execute(golden_database, BASE.format(f"id, {rule.column}") + " ORDER BY id")
    texts = sorted({text for _, cell in rows if (text := readable(rule, cell)) is not None})
    if isinstance(rule.field, DecimalField):
        rows = [(id, cell) for id, cell in rows if cell is None or not cell.is_nan()]
    for chosen in (texts[:1], texts[len(texts) // 2 :][:1], texts[:1] + texts[-1:]):
        if not chosen or (len(chosen) > 1 and not rule.takes_list):
            continue
        wanted = [rule.field.deserialize(text) for text in chosen]
        expected = [str(id) for id, cell in rows if holds(rule, cell, wanted)]
        query = f"{EVERYTHING}&sort=id&page[size]=1000&fields[cdrs]=id&filter[{name}]={quote(','.join(chosen))}"
        status, found = running.get(f"cdrs?{query}")
        assert status == 200
        ids = [record["id"] for record in found["data"]]
        known = {str(id) for id, _ in rows}
        assert [id for id in ids if id in known] == expected


cells: dict[type, st.SearchStrategy[Any]] = {
    Identifier: st.integers(-(2**63), 2**63 - 1),
    DecimalField: st.one_of(
        st.decimals(allow_nan=False, allow_infinity=False, places=4).map("{:f}".format), st.just("NaN")
    ),
    Timestamp: st.datetimes(datetime(1900, 1, 1), timezones=st.just(UTC)).map(lambda t: str(t)[:-3]),
}


def cell(field: Any) -> st.SearchStrategy[Any]:
    for kind, strategy in cells.items():
        if isinstance(field, kind):
            return strategy
    return {bool: st.booleans()}.get(type(field), st.text(st.characters(exclude_categories=["Cs"])))


@st.composite
def rendered(draw: st.DrawFn) -> tuple[Resource, tuple[str, ...] | None, bool, list[dict[str, Any]]]:
    resource = draw(st.sampled_from(list(RESOURCES.values())))
    everything = [*resource.attributes, *resource.relationships]
    fieldset = draw(st.none() | st.lists(st.sampled_from(everything), unique=True).map(tuple))
    fields = {"id": resource.schema.fields["id"], **resource.attributes}
    record = st.fixed_dictionaries(
        {
            name: cell(field) if name in ("id", "time_start") else st.none() | cell(field)
            for name, field in fields.items()
        }
    )
    return resource, fieldset, draw(st.booleans()) and bool(resource.relationships), draw(st.lists(record, max_size=3))


@bounded
@given(case=rendered())
def test_the_compiled_renderer_equals_the_schemas_own_dump(
    case: tuple[Resource, tuple[str, ...] | None, bool, list[dict[str, Any]]],
) -> None:
    resource, fieldset, linked, records = case
    renderer = render.compiled(resource, fieldset, linked)
    account = "0e1d9a70-6c1b-4f6e-9b6a-000000000100"
    rows = [tuple(1 if column == "account_id" else record[column] for column in renderer.columns) for record in records]
    quick = document.one(renderer.records(rows, "http://h", {1: account} if linked else None))  # type: ignore[arg-type]
    plain = type(resource.schema)(
        base="http://h",
        fieldset=fieldset,
        included=type(RESOURCES["accounts"].schema)(base="http://h", fieldset=()),
        include_data=("account",) if linked else (),
    )
    dumped = plain.dump([{**record, "account": {"id": account}} for record in records], many=True)["data"]
    assert quick == json.dumps({"data": dumped}, ensure_ascii=False, separators=(",", ":")).encode()
