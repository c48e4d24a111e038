"""The statements that a request executes."""

import re
from typing import Any, NamedTuple

import pytest

from service.db.pool import Pool
from service.db.statement import Statement, read_sql
from service.web.keys import STATE
from tests.conftest import Api, Data, Serve
from tests.load import until

FIRST, SECOND = (f"00000000-0000-4000-8000-00000000000{number}" for number in (1, 2))
CDRS = pytest.mark.parametrize("cdrs", ["incoming-cdrs", "cdrs"])
# The names of statements that requests run, but for the look-up of the caller; others run in the background.
OF_REQUESTS = {"list", "cursor_page", "count", "one", "one_within", "keys", "by_keys", "account_numbers"}


class Ran(NamedTuple):
    """A statement, and the database that ran it."""

    database: str
    text: str

    @property
    def kind(self) -> str:
        if self.text == read_sql("queries/account_numbers"):
            return "numbers"
        if self.text.startswith("SELECT count(*)"):
            return "count"
        return "accounts" if "FROM billing.accounts" in self.text else "rows"

    @property
    def columns(self) -> list[str]:
        return re.findall(r"\br\.(\w+)", self.text.split("\n")[0])


@pytest.fixture
def ran(monkeypatch: pytest.MonkeyPatch) -> list[Ran]:
    """All statements but the look-up of the caller and what the directory reads in the background, as they are run."""
    statements: list[Ran] = []
    fetch = Pool.fetch

    async def counting(self: Pool, statement: Statement) -> Any:
        if statement.name in OF_REQUESTS and self.name != "search":
            statements.append(Ran(self.name, statement.text))
        return await fetch(self, statement)

    monkeypatch.setattr(Pool, "fetch", counting)
    return statements


def fill(data: Data) -> None:
    """Five calls of customer 7, by turns on its two accounts."""
    data.customer(7)
    for id, uuid in ((71, FIRST), (72, SECOND)):
        data.account(id, 7, uuid)
    for id in range(1, 6):
        account = 71 + id % 2
        data.call(id, vendor_id=7, customer_id=7, vendor_acc_id=account, customer_acc_id=account)


@pytest.fixture
def data(data: Data) -> Data:
    fill(data)
    return data


async def knowing(serve: Serve, data: Data, **settings: str) -> Api:
    """The service, once it knows between which ids the calls of each partition lie."""
    api = await serve(data.dsn, **settings)
    directory = api.client.app[STATE].services.directories["cdr.cdr"]
    await until(lambda: directory.refreshed is not None)
    return api


@pytest.fixture
async def api(serve: Serve, data: Data) -> Api:
    return await knowing(serve, data)


@pytest.fixture(scope="module")
async def shown(shared_serve: Serve, shared_data: Data) -> Api:
    """The same on rows that stay as they are, and without remembered totals."""
    fill(shared_data)
    return await knowing(shared_serve, shared_data, RESOURCES__TOTAL_CACHE_SECONDS="0")


def kinds(ran: list[Ran]) -> list[str]:
    return [statement.kind for statement in ran]


@CDRS
async def test_a_full_page_with_accounts_costs_three(api: Api, ran: list[Ran], cdrs: str) -> None:
    answer = await api.get(f"{cdrs}?page[size]=4&include=account", 7)
    assert (len(answer.json["data"]), len(answer.json["included"])) == (4, 2)
    assert [(r.database, r.kind) for r in ran] == [("cdr", "rows"), ("cdr", "count"), ("routing", "accounts")]


@CDRS
@pytest.mark.parametrize(
    ("query", "statements"),
    [
        ("page[size]=4", ["rows", "count"]),
        ("page[size]=5", ["rows"]),
        ("page[size]=6", ["rows"]),
        ("", ["rows"]),
        ("include=account", ["rows", "accounts"]),
        ("page[size]=2&page[number]=3", ["rows"]),
        ("page[size]=2&page[number]=9", ["rows", "count"]),
        ("filter[id_eq]=99", ["rows"]),
        ("filter[id_eq]=99&include=account", ["rows"]),
        ("include=account&sort=duration&fields[accounts]=name", ["rows", "accounts"]),
    ],
)
async def test_only_what_is_needed_is_run(
    shown: Api, ran: list[Ran], cdrs: str, query: str, statements: list[str]
) -> None:
    assert (await shown.get(f"{cdrs}?{query}", 7)).status == 200
    assert kinds(ran) == statements


async def test_a_list_of_accounts_costs_two_at_the_most(api: Api, ran: list[Ran]) -> None:
    await api.get("accounts", 7)
    assert len(ran) == 1
    await api.get("accounts?page[size]=1", 7)
    assert len(ran) == 3


@CDRS
async def test_an_account_filter_costs_its_look_up_besides(shown: Api, ran: list[Ran], cdrs: str) -> None:
    """The accounts may be in another server, so that they cannot be joined."""
    assert (await shown.get(f"{cdrs}?filter[account_id_eq]={FIRST}", 7)).ids
    first, *others = ran
    assert (first.kind, first.database) == ("numbers", "routing")
    assert {(other.kind, other.database) for other in others} == {("rows", "cdr")}


@CDRS
async def test_more_rows_cost_no_more_statements(api: Api, data: Data, ran: list[Ran], cdrs: str) -> None:
    await api.get(f"{cdrs}?include=account", 7)
    few = kinds(ran)
    ran.clear()
    for id in range(6, 30):
        data.call(id, vendor_id=7, customer_id=7, vendor_acc_id=71, customer_acc_id=71)
    assert len((await api.get(f"{cdrs}?include=account", 7)).ids) == 29
    assert kinds(ran) == few


@CDRS
@pytest.mark.parametrize("path", ["", "/1"], ids=["list", "single"])
@pytest.mark.parametrize(
    ("query", "columns"),
    [
        ("fields[CDRS]=success,duration", ["id", "success", "duration"]),
        ("fields[CDRS]=id", ["id"]),
        ("fields[CDRS]=,", ["id"]),
        ("fields[CDRS]=account", ["id"]),
        ("fields[CDRS]=duration&include=account", ["id", "duration", "account_id"]),
    ],
)
async def test_a_sparse_fieldset_asks_for_its_columns_only(
    shown: Api, ran: list[Ran], cdrs: str, path: str, query: str, columns: list[str]
) -> None:
    assert (await shown.get(f"{cdrs}{path}?{query.replace('CDRS', cdrs)}", 7)).status == 200
    assert ran[0].columns == columns


@CDRS
async def test_a_sparse_fieldset_of_accounts_does_too(shown: Api, ran: list[Ran], cdrs: str) -> None:
    await shown.get(f"{cdrs}?include=account&fields[accounts]=balance", 7)
    assert ran[-1].columns == ["number", "id", "balance"]


@CDRS
@pytest.mark.parametrize(
    ("tail", "statements"),
    [
        ("", ["rows"]),
        ("?include=account", ["rows", "accounts"]),
        ("/account", ["rows", "accounts"]),
        ("/relationships/account", ["rows", "accounts"]),
        ("/rec", ["rows"]),
    ],
)
async def test_a_single_record_costs_one_and_its_account_another(
    shown: Api, ran: list[Ran], cdrs: str, tail: str, statements: list[str]
) -> None:
    await shown.get(f"{cdrs}/1{tail}", 7)
    assert kinds(ran) == statements


@pytest.mark.parametrize(
    "path",
    [
        "cdrs?filter[foo]=1",
        "cdrs?filter[duration_eq]=x",
        "cdrs?sort=foo",
        "cdrs/abc",
        "accounts?page[size]=0",
        "nowhere",
    ],
)
async def test_what_is_refused_costs_nothing(shown: Api, ran: list[Ran], path: str) -> None:
    assert (await shown.get(path, 7)).status in (400, 404)
    assert ran == []


@CDRS
async def test_walking_pages_counts_once(api: Api, ran: list[Ran], cdrs: str) -> None:
    for number in (1, 2, 1, 2):
        answer = await api.get(f"{cdrs}?page[size]=2&page[number]={number}", 7)
        assert answer.json["meta"] == {"total-count": 5}
    assert kinds(ran).count("count") == 1


@CDRS
async def test_a_total_is_the_callers_own_and_the_filters_own(api: Api, data: Data, ran: list[Ran], cdrs: str) -> None:
    data.customer(8)
    data.customer(9, account_ids=[71])
    data.execute("UPDATE sys.api_access SET customer_id = 7 WHERE id = 9")
    asked = [("", 7, 5), ("&filter[id_gt]=2", 7, 3), ("", 8, 0), ("", 9, 2), ("&filter[id_gt]=3", 7, 2), ("", 7, 5)]
    for query, caller, total in asked:
        answer = await api.get(f"{cdrs}?page[size]=1{query}", caller)
        assert answer.json["meta"] == {"total-count": total}, (query, caller)


async def test_a_remembered_total_is_never_below_what_is_shown(api: Api, data: Data) -> None:
    assert (await api.get("cdrs?page[size]=5", 7)).json["meta"] == {"total-count": 5}
    for id in range(6, 9):
        data.call(id, vendor_id=7, customer_id=7, vendor_acc_id=71, customer_acc_id=71)
    answer = await api.get("cdrs?page[size]=5&page[number]=2", 7)
    assert (len(answer.ids), answer.json["meta"]) == (3, {"total-count": 8})


async def test_totals_need_not_be_remembered(serve: Serve, data: Data, ran: list[Ran]) -> None:
    api = await serve(data.dsn, RESOURCES__TOTAL_CACHE_SECONDS="0")
    for _ in range(3):
        await api.get("cdrs?page[size]=2", 7)
    assert kinds(ran).count("count") == 3
