"""Random requests: no row out of scope, no 5xx, correct filters, and identical rendering."""

import asyncio
import json
from collections.abc import Iterator
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any
from urllib.parse import quote
from zoneinfo import ZoneInfo

import pytest
from aiohttp.test_utils import TestClient, TestServer
from hypothesis import given, settings
from hypothesis import strategies as st

from service.jsonapi import document, render
from service.jsonapi.spelling import is_blank
from service.schemas.fields import Boolean, Identifier, Inet, Integer, String, Timestamp, Uuid
from service.schemas.fields import Decimal as DecimalField
from service.schemas.resource import FilterRule, Resource, configured
from service.web.app import open_application
from tests.conftest import Api, Databases
from tests.conftest import configured as configure
from tests.corpus import GOLDEN_SECRET

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
            client = TestClient(TestServer(await open_application(loaded)))
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
    if not rule.by_account_uuid and not rule.empty_matches_nothing and not isinstance(rule.field, Inet | Uuid)
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


instants = st.datetimes(datetime(1900, 1, 1), timezones=st.just(UTC)).map(lambda moment: str(moment)[:-6].rstrip("0"))
cells: dict[type, st.SearchStrategy[Any]] = {
    Identifier: st.integers(-(2**63), 2**63 - 1),
    Integer: st.integers(-(2**63), 2**63 - 1),
    Boolean: st.booleans(),
    DecimalField: st.one_of(
        st.decimals(allow_nan=False, allow_infinity=False, places=4).map("{:f}".format),
        st.sampled_from(["0", "1", "-1.50", "NaN", "Infinity", "-Infinity"]),
    ),
    Timestamp: st.one_of(
        instants.map(lambda text: text if text[-1] not in ":." else text.removesuffix(".") + "00").map("{}+00".format),
        st.sampled_from(["infinity", "-infinity", "4713-01-01 00:00:00+00 BC", "2026-11-24 08:00:00.5+00"]),
    ),
}


def cell(field: Any) -> st.SearchStrategy[Any]:
    return st.none() | cells.get(type(field), st.text(st.characters(exclude_categories=["Cs"])))


def record(resource: Resource) -> st.SearchStrategy[dict[str, Any]]:
    attributes = {name: cell(field) for name, field in resource.attributes.items()}
    return st.fixed_dictionaries(
        {"id": cells.get(type(resource.schema.fields["id"]), st.uuids().map(str)), **attributes}
    )


def fieldset(resource: Resource) -> st.SearchStrategy[tuple[str, ...] | None]:
    return st.none() | st.lists(st.sampled_from(resource.members), unique=True).map(tuple)


CONFIGURED = [
    RESOURCES,
    configured(ZoneInfo("Europe/Berlin"), {"incoming_cdr_hide_fields": ["duration", "local_tag"]}),
    configured(ZoneInfo("America/St_Johns"), {"outgoing_cdr_hide_fields": ["account", "success"]}),
]


@bounded
@given(data=st.data())
def test_the_compiled_renderer_equals_the_schemas_own_dump(data: st.DataObject) -> None:
    resource = data.draw(st.sampled_from([one for registry in CONFIGURED for one in registry.values()]))
    target = resource.registry["accounts"]
    names, target_names = data.draw(fieldset(resource)), data.draw(fieldset(target))
    linked = data.draw(st.booleans()) and resource.account is not None and "account" not in resource.hidden
    records = data.draw(st.lists(record(resource), max_size=3))
    account = data.draw(record(target))
    assert rendered(resource, names, target_names, linked, records, account) == dumped(
        resource, names, target_names, linked, records, account
    )


Records = list[dict[str, Any]]
Names = tuple[str, ...] | None


def rendered(
    resource: Resource, names: Names, target_names: Names, linked: bool, records: Records, account: dict[str, Any]
) -> bytes:
    """What the service sends: only the rows that the renderers ask for."""
    renderer, target = render.get_renderer(resource, names, linked), resource.registry["accounts"]
    accounts = render.get_renderer(target, target_names)
    rows = [tuple({**record, "account_id": 1}[column] for column in renderer.columns) for record in records]
    included = [tuple(account[column] for column in accounts.columns)] if records and linked else []
    found = renderer.records(rows, "http://h", {1: account["id"]} if linked else None)
    return document._document(b"[", found, b"]", accounts.records(included, "http://h"), {})


def dumped(
    resource: Resource, names: Names, target_names: Names, linked: bool, records: Records, account: dict[str, Any]
) -> bytes:
    """The plain way: marshmallow-jsonapi dumps, and the standard library writes."""
    target = resource.registry["accounts"]
    options = {"base": "http://h", "time_zone": resource.schema.time_zone}
    plain = type(resource.schema)(
        **options,
        fieldset=names,
        hidden=resource.hidden,
        included=type(target.schema)(**options, fieldset=target_names),
        include_data=("account",) if linked else (),
    )
    found = plain.dump([{**record, "account": account} for record in records], many=True)
    whole = {"data": found["data"]}
    if found.get("included"):
        whole["included"] = found["included"]
    return json.dumps(whole, ensure_ascii=False, separators=(",", ":")).encode()
