"""A customer never sees another's row (contract 3, D5)."""

import pytest

from service.auth.tokens import DynamicClaims
from tests.conftest import Api, Data

OWN, SECOND, FOREIGN = (f"00000000-0000-4000-8000-00000000000{number}" for number in (1, 2, 3))


def fill(data: Data) -> None:
    """Customer 7 owns accounts 71 and 72, customer 8 owns 81. Call 4 of customer 7 points to customer 8's account."""
    data.customer(7)
    data.customer(8)
    for id, contractor, uuid in ((71, 7, OWN), (72, 7, SECOND), (81, 8, FOREIGN)):
        data.account(id, contractor, uuid)
    for id, customer, account in ((1, 7, 71), (2, 7, 72), (3, 8, 81), (4, 7, 81), (5, 7, None)):
        data.call(id, vendor_id=customer, customer_id=customer, vendor_acc_id=account, customer_acc_id=account)


@pytest.fixture
def data(data: Data) -> Data:
    fill(data)
    return data


@pytest.fixture(scope="module")
def shown(shared_api: Api, shared_data: Data) -> Api:
    """The service on the same rows, for tests that only read."""
    fill(shared_data)
    return shared_api


CDRS = pytest.mark.parametrize("cdrs", ["incoming-cdrs", "cdrs"])


@CDRS
async def test_a_list_holds_the_callers_calls_only(shown: Api, cdrs: str) -> None:
    assert (await shown.get(f"{cdrs}?sort=id", 7)).ids == ["1", "2", "4", "5"]
    assert (await shown.get(f"{cdrs}?sort=id", 8)).ids == ["3"]


@CDRS
@pytest.mark.parametrize("tail", ["", "/account", "/relationships/account", "/rec", "?include=account"])
async def test_what_is_anothers_is_as_if_it_did_not_exist(shown: Api, cdrs: str, tail: str) -> None:
    anothers, nobodys = await shown.get(f"{cdrs}/3{tail}", 7), await shown.get(f"{cdrs}/999{tail}", 7)
    assert (anothers.status, nobodys.status) == (404, 404)
    assert anothers.body == nobodys.body.replace(b"999", b"3")


@CDRS
@pytest.mark.parametrize("caller", ["row", "token"])
async def test_allowed_accounts_limit_calls_and_accounts(api: Api, data: Data, cdrs: str, caller: str) -> None:
    data.execute("UPDATE sys.api_access SET account_ids = '{72}' WHERE id = 7")
    who = 7 if caller == "row" else DynamicClaims(7, account_ids=(72,))
    assert (await api.get(cdrs, who)).ids == ["2"]
    assert (await api.get(f"{cdrs}/1", who)).status == 404
    assert (await api.get("accounts", who)).ids == [SECOND]
    assert (await api.get(f"accounts/{OWN}", who)).status == 404


@CDRS
@pytest.mark.parametrize(
    ("stored", "calls", "accounts"),
    [
        ("{72,NULL}", ["2"], [SECOND]),
        ("{NULL,71,NULL,72}", ["1", "2"], [OWN, SECOND]),
        ("{{71,72}}", ["1", "2"], [OWN, SECOND]),
        ("{{NULL,72}}", ["2"], [SECOND]),
        ("{72,72}", ["2"], [SECOND]),
        ("[5:5]={72}", ["2"], [SECOND]),
        ("{NULL}", [], []),
        ("{{NULL},{NULL}}", [], []),
        ("{}", ["1", "2", "4", "5"], [OWN, SECOND]),
        (None, ["1", "2", "4", "5"], [OWN, SECOND]),
    ],
)
async def test_odd_arrays_of_accounts_limit_to_the_accounts_in_them(
    api: Api, data: Data, cdrs: str, stored: str | None, calls: list[str], accounts: list[str]
) -> None:
    """NULL elements are not accounts: an array of nothing else grants none. NULL and an empty array limit nothing."""
    data.execute("ALTER TABLE sys.api_access ALTER account_ids DROP NOT NULL")
    data.execute("UPDATE sys.api_access SET account_ids = %s WHERE id = 7", (stored,))
    assert (await api.get(f"{cdrs}?sort=id", 7)).ids == calls
    assert (await api.get("accounts?sort=id", 7)).ids == accounts
    walked = await api.get(f"{cdrs}?sort=id&page[after]=&page[size]=1&page[total]=true", 7)
    assert (walked.ids, walked.json["meta"]["page"]["total"]) == (calls[:1], len(calls))
    assert (await api.get(f"{cdrs}?sort=id&format=ndjson", 7)).body.count(b"\n") == len(calls)
    for id in ("1", "2", "4", "5"):
        assert (await api.get(f"{cdrs}/{id}", 7)).status == (200 if id in calls else 404)


@pytest.mark.parametrize(
    "column", ["customer_portal_access_profile_id", "allowed_ips", "allow_outgoing_numberlists_ids"]
)
async def test_columns_of_an_access_row_that_are_null_deny_nothing_but_recordings(
    api: Api, data: Data, column: str
) -> None:
    data.execute(f"ALTER TABLE sys.api_access ALTER {column} DROP NOT NULL")
    data.execute(f"UPDATE sys.api_access SET {column} = NULL")
    answer = await api.get("cdrs/1", 7)
    assert (answer.status, answer.json["data"]["attributes"]["rec"]) == (200, False)


@pytest.mark.parametrize("caller", [7, DynamicClaims(7)])
async def test_a_permission_that_is_null_is_none(api: Api, data: Data, caller: int | DynamicClaims) -> None:
    table = "sys.customer_portal_access_profiles"
    data.execute(f"ALTER TABLE {table} ALTER allow_listen_recording DROP NOT NULL")
    data.execute(f"UPDATE {table} SET allow_listen_recording = NULL")
    data.execute("UPDATE cdr.cdr SET audio_recorded = true, local_tag = 'x', duration = 1")
    answer = await api.get("cdrs/1", caller)
    assert (answer.status, answer.json["data"]["attributes"]["rec"]) == (200, False)
    assert (await api.get("cdrs/1/rec", caller)).status == 404


@CDRS
@pytest.mark.parametrize(
    "query",
    [
        "filter[id_in]=1,3",
        "filter[id]=3,1",
        "filter[account_id_in]=" + ",".join((OWN, FOREIGN)) + "&filter[id_lt]=4",
        "filter[account_id_not_in]=" + SECOND + "&filter[id_lt]=4",
    ],
)
async def test_no_filter_reaches_beyond_the_scope(shown: Api, cdrs: str, query: str) -> None:
    answer = await shown.get(f"{cdrs}?{query}", 7)
    assert (answer.ids, answer.json["meta"]["total-count"]) == (["1"], 1)


@CDRS
async def test_an_account_out_of_scope_is_null_wherever_it_would_show(shown: Api, cdrs: str) -> None:
    included = (await shown.get(f"{cdrs}/4?include=account", 7)).json
    assert included["data"]["relationships"]["account"]["data"] is None
    assert "included" not in included
    assert (await shown.get(f"{cdrs}/4/account", 7)).json == {"data": None}
    assert (await shown.get(f"{cdrs}/4/relationships/account", 7)).json["data"] is None


@CDRS
async def test_a_call_without_account_shows_null(shown: Api, cdrs: str) -> None:
    assert (await shown.get(f"{cdrs}/5?include=account", 7)).json["data"]["relationships"]["account"]["data"] is None


async def test_only_the_last_attempt_counts_for_the_customer_and_every_one_for_the_vendor(api: Api, data: Data) -> None:
    data.call(6, vendor_id=7, customer_id=7, is_last_cdr=False)
    assert (await api.get("cdrs/6", 7)).status == 404
    assert (await api.get("incoming-cdrs/6", 7)).status == 200


async def test_an_account_is_found_by_uuid_in_either_case_by_its_owner_only(shown: Api) -> None:
    for path in (f"accounts/{OWN}", f"accounts/{OWN.upper()}"):
        assert (await shown.get(path, 7)).json["data"]["id"] == OWN
        assert (await shown.get(path, 8)).status == 404


async def test_a_record_is_found_however_old_and_however_late_it_came(api: Api, data: Data) -> None:
    data.call(10**12, hours_ago=24 * 9, vendor_id=7)
    assert (await api.get(f"incoming-cdrs/{10**12}", 7)).status == 200
    assert (await api.get("incoming-cdrs?sort=-id&page[size]=1", 7)).ids == ["5"]
