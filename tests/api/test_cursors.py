"""Cursor pagination: every row exactly once in any order; cursors of other lists are refused."""

import asyncio
import base64
import json
import random
from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from itertools import pairwise
from typing import Any
from urllib.parse import quote, urlsplit

import pytest
from aiohttp.test_utils import TestClient, TestServer
from hypothesis import given, settings
from hypothesis import strategies as st

from service.auth.tokens import DynamicClaims
from service.db import keyset, schema
from service.files import SQL
from service.jsonapi.accept import Accept
from service.schemas.fields import Boolean, Decimal, Inet, Integer, Timestamp
from service.schemas.resource import Resource, configured
from service.web.app import open_application
from tests.conftest import SECRET, Answer, Api, Data, Databases, Serve
from tests.conftest import configured as configure

RESOURCES = configured(UTC, {})
CDRS = pytest.mark.parametrize("cdrs", ["incoming-cdrs", "cdrs"])
PROFILE = "http://jsonapi.org/profiles/ethanresnick/cursor-pagination/"
ERROR = "https://jsonapi.org/profiles/ethanresnick/cursor-pagination"
PROFILED = {"Accept": f'application/vnd.api+json; profile="{PROFILE}"'}
FIRST, DAYS, ROWS = date(2026, 3, 1), 4, 90
EVERYTHING = f"filter[time_start_gteq]={FIRST}"
bounded = settings(max_examples=40, deadline=None, derandomize=True)

ODD: dict[type, list[str | None]] = {
    Integer: [None, "-1", "0", "7", "32767"],
    Decimal: [None, "NaN", "Infinity", "-Infinity", "0", "0.1", "0.10000000000000000000001", "-2.50"],
    Timestamp: [None, "infinity", "-infinity", "2026-03-01 00:00:00.000001+00", "2026-03-01 00:00:00.000002+00"],
    Boolean: [None, "true", "false"],
    Inet: [None, "10.0.0.1", "10.0.0.0/8", "::1"],
}
TEXTS = [None, "", " ", "a", "A", "ä", "a\u0000b".replace("\u0000", "%"), "'; --", "\\", "😀", "[null]", "x" * 300]


class Rows:
    """Rows that hold every odd value there is, told by one seed."""

    def __init__(self, postgres: Databases) -> None:
        self.postgres = postgres
        self.name = postgres.create()
        for part in ("cdr", "routing"):
            schema.apply(postgres.dsn(self.name), SQL / "schema" / part)
        schema.create_partitions(postgres.dsn(self.name), FIRST, FIRST + timedelta(days=DAYS - 1))
        self.data = Data(postgres, self.name)
        self.data.customer(7)
        self.data.customer(8)
        self.chance = random.Random(7)
        for id in range(1, ROWS + 1):
            self.insert(id)

    def insert(self, id: int) -> None:
        moment = datetime(2026, 3, 1, tzinfo=UTC) + timedelta(
            days=self.chance.randrange(DAYS), microseconds=self.chance.randrange(4)
        )
        owner = 7 if self.chance.random() < 0.9 else 8
        known = {"id": id, "time_start": moment, "vendor_id": owner, "customer_id": owner, "is_last_cdr": True}
        columns = {a.column: a for type_ in ("cdrs", "incoming-cdrs") for a in RESOURCES[type_].attributes.values()}
        odd = {
            column: self.chance.choice(ODD.get(type(attribute), TEXTS))
            for column, attribute in columns.items()
            if attribute.queryable
        }
        self.data.insert("cdr.cdr", **{**odd, **known})


class Running:
    """The service on those rows, for tests that are not coroutines."""

    def __init__(self, runner: asyncio.Runner, api: Api, rows: Rows) -> None:
        self._runner, self._api, self.rows = runner, api, rows

    def get(self, path: str, caller: int = 7, **options: Any) -> Answer:
        return self._runner.run(self._api.get(path, caller, **options))

    def follow(self, address: str | None, caller: int = 7) -> Answer | None:
        """The page that a link leads to."""
        if address is None:
            return None
        parts = urlsplit(address)
        return self.get(f"{parts.path}?{parts.query}", caller)

    def walk(self, path: str, link: str) -> list[list[str]]:
        """The ids of page after page, until a link leads nowhere."""
        pages, answer = [], self.get(path)
        while answer is not None:
            assert answer.status == 200, answer.body
            pages.append(answer.ids)
            assert len(pages) <= 2 * ROWS
            answer = self.follow(answer.json["links"][link])
        return pages


@pytest.fixture(scope="module")
def running(postgres: Databases) -> Iterator[Running]:
    rows = Rows(postgres)
    loaded = configure(postgres.dsn(rows.name), LOG__LEVEL="error")
    with asyncio.Runner() as runner:

        async def start() -> TestClient[Any, Any]:
            client = TestClient(TestServer(await open_application(loaded)))
            await client.start_server()
            return client

        client = runner.run(start())
        yield Running(runner, Api(client, loaded), rows)
        runner.run(client.close())
    postgres.drop(rows.name)


def orders(resource: Resource) -> st.SearchStrategy[str]:
    key = st.tuples(st.sampled_from(["", "-"]), st.sampled_from(sorted(resource.sort_keys))).map("".join)
    return st.lists(key, min_size=1, max_size=4).map(",".join)


asked = st.sampled_from([RESOURCES["cdrs"], RESOURCES["incoming-cdrs"]]).flatmap(
    lambda resource: st.tuples(st.just(resource.type), orders(resource), st.integers(4, 40))
)


def everything(running: Running, type_: str, order: str) -> list[str]:
    return running.get(f"{type_}?{EVERYTHING}&sort={order}&page[size]=1000").ids


@bounded
@given(asked)
def test_walking_either_way_visits_every_row_once_in_order(running: Running, wanted: tuple[str, str, int]) -> None:
    type_, order, size = wanted
    expected = everything(running, type_, order)
    path = f"{type_}?{EVERYTHING}&sort={order}&page[size]={size}"
    forward = running.walk(f"{path}&page[after]=", "next")
    assert [id for page in forward for id in page] == expected
    backward = running.walk(f"{path}&page[before]=", "prev")
    assert [id for page in reversed(backward) for id in page] == expected
    assert all(len(page) == size for page in [*forward[:-1], *backward[:-1]])


@pytest.mark.parametrize(
    ("type_", "key"), [(r.type, key) for r in RESOURCES.values() if r.type != "accounts" for key in r.sort_keys]
)
@pytest.mark.parametrize("sign", ["", "-"])
def test_every_sort_key_can_be_walked_by(running: Running, type_: str, key: str, sign: str) -> None:
    order = f"{sign}{key}"
    pages = running.walk(f"{type_}?{EVERYTHING}&sort={order}&page[size]=40&page[after]=&fields[{type_}]=id", "next")
    assert [id for page in pages for id in page] == everything(running, type_, order)


@bounded
@given(asked, st.integers(0, ROWS), st.integers(0, ROWS))
def test_what_lies_between_two_cursors_is_exactly_that(
    running: Running, wanted: tuple[str, str, int], one: int, other: int
) -> None:
    type_, order, size = wanted
    path = f"{type_}?{EVERYTHING}&sort={order}"
    records = running.get(f"{path}&page[after]=&page[size]=1000").json["data"]
    start, end = sorted((one % len(records), other % len(records)))
    end += start == end == 0
    start -= start == end
    cursors = [record["meta"]["page"]["cursor"] for record in records]
    found = running.get(f"{path}&page[after]={cursors[start]}&page[before]={cursors[end]}&page[size]={size}")
    between = [record["id"] for record in records[start + 1 : end]]
    assert found.ids == between[:size]
    assert found.json.get("meta", {}).get("page", {}).get("rangeTruncated", False) == (len(between) > size)
    for link, neighbour in (("prev", start), ("next", end)):
        beside = running.follow(found.json["links"][link])
        if beside is not None and (link == "prev" or len(between) <= size):
            assert records[neighbour]["id"] in beside.ids


def test_rows_that_arrive_meanwhile_disturb_no_walk(running: Running) -> None:
    for order in ("-time_start", "id", "duration", "-success,vendor_price"):
        path = f"incoming-cdrs?{EVERYTHING}&sort={order}&page[size]=7&page[after]="
        before = everything(running, "incoming-cdrs", order)
        seen: list[str] = []
        answer: Answer | None = running.get(path)
        newest = int(running.rows.data.execute("SELECT max(id) FROM cdr.cdr")[0][0])
        while answer is not None:
            seen += answer.ids
            newest += 1
            running.rows.insert(newest)
            answer = running.follow(answer.json["links"]["next"])
            assert len(seen) < 10 * ROWS
            if len(seen) >= len(before) + 30:  # An ascending id would be followed for ever.
                break
        assert [id for id in seen if id in set(before)] == before
        assert len(seen) == len(set(seen))
    running.rows.data.execute(f"DELETE FROM cdr.cdr WHERE id > {ROWS}")


def test_a_cursor_outlives_its_record(running: Running) -> None:
    path = f"cdrs?{EVERYTHING}&page[size]=10"
    first = running.get(f"{path}&page[after]=")
    following = running.follow(first.json["links"]["next"])
    assert following is not None
    moment = running.rows.data.execute(f"DELETE FROM cdr.cdr WHERE id = {first.ids[-1]} RETURNING time_start")[0][0]
    again = running.follow(first.json["links"]["next"])
    running.rows.data.insert(
        "cdr.cdr", id=int(first.ids[-1]), time_start=moment, customer_id=7, vendor_id=7, is_last_cdr=True
    )
    assert again is not None
    assert again.ids == following.ids


@CDRS
def test_records_and_links_look_as_the_profile_says(running: Running, cdrs: str) -> None:
    path = f"{cdrs}?{EVERYTHING}&fields[{cdrs}]=duration&page[size]=3"
    first = running.get(f"{path}&page[after]=").json
    assert list(first) == ["data", "links"]
    assert all(list(record) == ["id", "type", "links", "attributes", "meta"] for record in first["data"])
    assert (first["links"]["prev"], first["links"]["first"]) == (None, first["links"]["first"])
    assert "page%5Bafter%5D=&page%5Bsize%5D=3" in first["links"]["first"]
    assert quote(first["data"][-1]["meta"]["page"]["cursor"]) in first["links"]["next"]
    plain = running.get(path).json
    assert [{**record, "meta": None} for record in first["data"]] == [
        {**record, "meta": None} for record in plain["data"]
    ]
    last = running.follow(first["links"]["last"])
    assert last is not None
    assert last.json["links"]["next"] is None
    assert last.json["links"]["prev"] is not None


def test_the_ends_of_an_empty_list_lead_nowhere(running: Running) -> None:
    for end in ("after", "before"):
        empty = running.get(f"cdrs?{EVERYTHING}&filter[id_eq]=0&page[{end}]=").json
        assert (empty["data"], empty["links"]["prev"], empty["links"]["next"]) == ([], None, None)


def test_beyond_the_last_record_the_way_back_leads_to_the_last_page(running: Running) -> None:
    path = f"cdrs?{EVERYTHING}&page[size]=5"
    last = running.get(f"{path}&page[before]=")
    beyond = running.get(f"{path}&page[after]={last.json['data'][-1]['meta']['page']['cursor']}")
    assert (beyond.ids, beyond.json["links"]["next"]) == ([], None)
    back = running.follow(beyond.json["links"]["prev"])
    assert back is not None
    assert back.ids == last.ids


def test_a_total_is_told_when_asked_for_on_every_page(running: Running) -> None:
    count = len(everything(running, "cdrs", "id"))
    first = running.get(f"cdrs?{EVERYTHING}&page[after]=&page[size]=2&page[total]=true")
    following = running.follow(first.json["links"]["next"])
    assert following is not None
    assert first.json["meta"] == following.json["meta"] == {"page": {"total": count}}
    assert "meta" not in running.get(f"cdrs?{EVERYTHING}&page[after]=&page[total]=false").json


def test_the_profile_alone_asks_for_the_first_page_and_is_named_in_the_answer(running: Running) -> None:
    answer = running.get(f"cdrs?{EVERYTHING}&page[size]=2", headers=PROFILED)
    assert answer.headers["content-type"] == f'application/vnd.api+json; profile="{PROFILE}"'
    assert answer.json["links"]["prev"] is None
    assert answer.headers["vary"] == "Accept"
    again = running.get(
        f"cdrs?{EVERYTHING}&page[size]=2", headers={**PROFILED, "If-None-Match": answer.headers["etag"]}
    )
    assert again.status == 304
    plain = running.get(f"cdrs?{EVERYTHING}&page[size]=2&page[after]=")
    assert (plain.body, plain.headers["content-type"]) == (answer.body, "application/vnd.api+json")


@pytest.mark.parametrize(
    ("accept", "named"),
    [
        (f'application/vnd.api+json; profile="{PROFILE}"', PROFILE),
        (f'application/vnd.api+json;profile="http://example.org/p {ERROR}"', ERROR),
        (f'*/*, application/vnd.api+json;q=0.5;profile="{PROFILE}"', PROFILE),
        (f'application/vnd.api+json;q=0;profile="{PROFILE}", */*', None),
        (f'application/json;profile="{PROFILE}"', None),
        ('application/vnd.api+json;profile="http://example.org/p"', None),
        (f'application/vnd.api+json;profile="{PROFILE}x"', None),
        ("application/vnd.api+json", None),
        ("", None),
    ],
)
def test_the_profile_is_known_by_its_address(accept: str, named: str | None) -> None:
    assert Accept(accept).cursor_profile == named


@pytest.mark.parametrize(
    "query",
    ["page[size]=2", "page=1", "page[number]=1", "page[after]", "page[before]", "page[total]=true", "page[foo]=1"],
)
def test_without_cursors_pages_are_numbered(running: Running, query: str) -> None:
    answer = running.get(f"cdrs?{EVERYTHING}&{query}")
    assert "total-count" in answer.json["meta"]
    assert "meta" not in answer.json["data"][0]


def test_a_page_number_keeps_numbered_pages_under_the_profile(running: Running) -> None:
    answer = running.get(f"cdrs?{EVERYTHING}&page[number]=1", headers=PROFILED)
    assert (answer.headers["content-type"], "total-count" in answer.json["meta"]) == ("application/vnd.api+json", True)


@CDRS
@pytest.mark.parametrize(
    ("query", "source", "kind"),
    [
        ("page[after]=x", "page[after]", None),
        ("page[before]=*", "page[before]", None),
        ("page[after]=%C3%A4", "page[after]", None),
        ("page[after][]=x", "page[after]", None),
        ("page[after]=&page[number]=1", "page[number]", None),
        ("page[after]=&page[size]=0", "page[size]", None),
        ("page[after]=&page[size]=2x", "page[size]", None),
        ("page[after]=&page[size]=", "page[size]", None),
        ("page[after]=&page[size][]=2", "page[size]", None),
        ("page[after]=&page[size]=1001", "page[size]", "max-size-exceeded"),
        ("page[after]=&page[size]=99999999999999999999", "page[size]", None),
        ("page[after]=&page[total]=1", "page[total]", None),
        ("page[after]=&page[total]=", "page[total]", None),
    ],
)
def test_what_cannot_be_used_is_refused_as_the_profile_says(
    running: Running, cdrs: str, query: str, source: str, kind: str | None
) -> None:
    answer = running.get(f"{cdrs}?{query}")
    [error] = answer.json["errors"]
    assert (answer.status, error["status"], error["source"]) == (400, "400", {"parameter": source})
    assert error.get("links") == (kind and {"type": [f"{ERROR}/{kind}"]})
    if kind == "max-size-exceeded":
        assert error["meta"] == {"page": {"maxSize": 1000}}


def altered(cursor: str) -> Iterator[str]:
    """The cursor with each of its characters replaced, shortened, lengthened, and with forged values."""
    for index, character in enumerate(cursor):
        yield f"{cursor[:index]}{'A' if character != 'A' else 'B'}{cursor[index + 1 :]}"
    yield from (cursor[:-1], cursor + "A", cursor + "=", f"{cursor}!", cursor + "%0A")
    raw = base64.urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4))
    forged = json.dumps([str(datetime(2026, 3, 2, tzinfo=UTC)), "5"]).encode()
    yield base64.urlsafe_b64encode(raw[:16] + forged).rstrip(b"=").decode()


def test_no_altered_cursor_is_taken(running: Running) -> None:
    cursor = running.get(f"cdrs?{EVERYTHING}&page[after]=").json["data"][0]["meta"]["page"]["cursor"]
    assert running.get(f"cdrs?{EVERYTHING}&page[after]={cursor}").status == 200
    for text in altered(cursor):
        answer = running.get(f"cdrs?{EVERYTHING}&page[after]={text}&page[size]=1")
        assert answer.error == (400, "118"), text
        assert cursor not in answer.body.decode()


def test_a_cursor_serves_its_own_list_order_and_scope_only(running: Running) -> None:
    cursor = running.get(f"cdrs?{EVERYTHING}&page[after]=").json["data"][0]["meta"]["page"]["cursor"]
    assert running.get(f"cdrs?sort=-time_start,-id&page[after]={cursor}").status == 200
    assert running.get(f"incoming-cdrs?page[after]={cursor}").error == (400, "118")
    assert running.get(f"cdrs?sort=time_start&page[after]={cursor}").error == (400, "118")
    assert running.get(f"cdrs?page[after]={cursor}", 8).error == (400, "118")
    assert running.get(f"cdrs?page[after]={cursor}", DynamicClaims(7)).status == 200  # type: ignore[arg-type]
    assert running.get(f"cdrs?page[after]={cursor}", DynamicClaims(7, account_ids=[1])).error == (400, "118")  # type: ignore[arg-type]


async def test_secrets_rotate_without_ending_a_walk(serve: Serve, data: Data) -> None:
    data.customer(7)
    for id in (1, 2, 3):
        data.call(id, vendor_id=7)
    old, new = SECRET, "another secret, which is also longer than 32 bytes"
    before = await serve(data.dsn, AUTH__SECRETS=json.dumps([old]))
    cursor = (await before.get("incoming-cdrs?sort=id&page[after]=", 7)).json["data"][0]["meta"]["page"]["cursor"]
    path = f"incoming-cdrs?sort=id&page[after]={cursor}"
    assert (await (await serve(data.dsn, AUTH__SECRETS=json.dumps([new, old]))).get(path, 7)).ids == ["2", "3"]
    assert (await (await serve(data.dsn, AUTH__SECRETS=json.dumps([new]))).get(path, 7)).error == (400, "118")


async def test_a_cursor_shows_nothing_that_is_hidden(serve: Serve, data: Data) -> None:
    data.customer(7)
    data.call(1, vendor_id=7, vendor_price=3)
    api = await serve(data.dsn, RESOURCES__INCOMING_CDR_HIDE_FIELDS='["vendor_price", "account"]')
    assert (await api.get("incoming-cdrs?sort=vendor_price", 7)).ids == ["1"]
    answer = await api.get("incoming-cdrs?sort=vendor_price&page[after]=", 7)
    [error] = answer.json["errors"]
    assert (answer.status, error["source"], error["links"]) == (
        400,
        {"parameter": "sort"},
        {"type": [f"{ERROR}/unsupported-sort"]},
    )
    assert (await api.get("incoming-cdrs?sort=duration&page[after]=", 7)).ids == ["1"]


async def test_a_value_too_long_for_an_address_is_refused_in_words(api: Api, data: Data) -> None:
    data.customer(7)
    for id, length in ((1, 1900), (2, 5000)):
        data.call(id, vendor_id=7, legb_user_agent="x" * length)
    assert (await api.get("incoming-cdrs?sort=-legb_user_agent&page[after]=&page[size]=1&filter[id_eq]=1", 7)).ids
    assert (await api.get("incoming-cdrs?sort=legb_user_agent&page[after]=", 7)).error == (400, "114")
    assert (await api.get("incoming-cdrs?page[after]=", 7)).ids == ["2", "1"]


async def test_accounts_are_paged_by_cursors_too(api: Api, data: Data) -> None:
    data.customer(7)
    for id in range(1, 8):
        data.account(id, 7, f"0e1d9a70-6c1b-4f6e-9b6a-00000000000{id}", balance=id % 2, total_capacity=id % 3 or None)
    for order in ("id", "-balance", "total_capacity,-name"):
        path = f"accounts?sort={order}&page[size]=2&page[after]="
        expected, seen = (await api.get(f"accounts?sort={order}", 7)).ids, []
        while path:
            answer = await api.get(path, 7)
            seen += answer.ids
            parts = urlsplit(answer.json["links"]["next"] or "")
            path = parts.path and f"{parts.path}?{parts.query}"
        assert seen == expected


@CDRS
async def test_accounts_of_calls_can_be_included(api: Api, data: Data, cdrs: str) -> None:
    data.customer(7)
    data.account(71, 7, "0e1d9a70-6c1b-4f6e-9b6a-000000000071")
    data.call(1, vendor_id=7, customer_id=7, vendor_acc_id=71, customer_acc_id=71)
    answer = await api.get(f"{cdrs}?include=account&page[after]=", 7)
    assert list(answer.json) == ["data", "included", "links"]
    [record] = answer.json["data"]
    assert record["relationships"]["account"]["data"]["id"] == answer.json["included"][0]["id"]


def test_the_columns_that_are_never_null_are_those_of_the_table(running: Running) -> None:
    rows = running.rows.data.execute(
        "SELECT attname FROM pg_attribute WHERE attrelid = 'cdr.cdr'::regclass AND attnotnull AND attnum > 0"
    )
    assert {name for (name,) in rows} == keyset.NEVER_NULL


def test_orders_are_total(running: Running) -> None:
    """Two records are never level, so that what is after one never holds it again."""
    records = running.get(f"cdrs?{EVERYTHING}&sort=success&page[after]=&page[size]=1000").json["data"]
    cursors = [record["meta"]["page"]["cursor"] for record in records]
    assert all(one != other for one, other in pairwise(cursors))
