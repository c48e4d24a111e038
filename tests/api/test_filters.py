"""Filters without effect, or with an unintended one, are refused; they never widen a list."""

from urllib.parse import quote

import pytest

from tests.conftest import Api, Data, Serve

ACCOUNT = "0e1d9a70-6c1b-4f6e-9b6a-000000000071"
CALL = {"vendor_id": 7, "customer_id": 7, "vendor_acc_id": 71, "customer_acc_id": 71}


@pytest.fixture(scope="module")
def data(shared_data: Data) -> Data:
    """Two calls of today and one of three days ago."""
    shared_data.customer(7)
    shared_data.account(71, 7, ACCOUNT)
    for id, tag in ((1, "x"), (2, "x\ny")):
        known = {**CALL, "duration": 60 + id, "success": True, "auth_orig_ip": "10.0.0.1", "local_tag": tag}
        shared_data.call(id, **known, time_end="2026-02-27 08:00+00")
    shared_data.call(3, **CALL, hours_ago=72)
    return shared_data


@pytest.fixture(scope="module")
async def api(shared_serve: Serve, data: Data) -> Api:
    return await shared_serve(data.dsn)


PATHS = [
    "incoming-cdrs?",
    "cdrs?",
    "accounts?",
    "incoming-cdrs/1?",
    "cdrs/1?",
    f"accounts/{ACCOUNT}?",
    "incoming-cdrs/1/account?",
    "cdrs?format=csv&",
    "accounts?format=ndjson&",
    "cdrs?page[after]=&",
]


@pytest.mark.parametrize(
    ("parameter", "name"),
    [
        ("filters[duration_eq]=61", "filters"),
        ("Filter[duration_eq]=61", "Filter"),
        ("FILTER=61", "FILTER"),
        ("filter_duration_eq=61", "filter_duration_eq"),
        ("filter.duration_eq=61", "filter.duration_eq"),
        ("filter%255Bduration_eq%255D=61", "filter%5Bduration_eq%5D"),
        ("filter%25255Bduration_eq%25255D=61", "filter%255Bduration_eq%255D"),
        ("filter%20[duration_eq]=61", "filter "),
        ("filter[=61", "filter["),
        ("filter]=61", "filter]"),
        ("filters", "filters"),
        ("filters[]=61", "filters"),
        ("sort=id&filters[a][b]=61", "filters"),
        ("filter[id_gt]=0&Filters[duration_eq]=61", "Filters"),
    ],
)
async def test_a_misspelt_filter_is_refused_wherever_filters_are_read(api: Api, parameter: str, name: str) -> None:
    for path in PATHS:
        answer = await api.get(path + parameter, 7)
        assert answer.error == (400, "102")
        assert answer.json["errors"][0]["detail"] == f"{name} is not allowed."


@pytest.mark.parametrize("parameter", ["foo[bar]=1", "_filter=1", "xfilter[id_eq]=1", "fil=1", "[filter]=1", "filter"])
async def test_other_unknown_parameters_stay_without_effect(api: Api, parameter: str) -> None:
    for path in PATHS:
        assert (await api.get(path + parameter, 7)).status == 200


@pytest.mark.parametrize("parameter", ["filters[x]=1", "filter[x]=1", "filter=1"])
async def test_linkage_reads_no_parameters_at_all(api: Api, parameter: str) -> None:
    assert (await api.get(f"cdrs/1/relationships/account?{parameter}", 7)).status == 200


async def test_a_misspelt_filter_is_told_beside_other_mistakes(api: Api) -> None:
    answer = await api.get("cdrs?filters[x]=1&include=foo&page[size]=0", 7)
    assert [problem["code"] for problem in answer.json["errors"]] == ["112", "102", "118"]


GOOD = {
    "duration_eq": "61",
    "duration_in": "61",
    "id_in": "1",
    "id": "1",
    "destination_fee_not_in": "0",
    "success_eq": "true",
    "time_end_in": "2026-02-27T08:00Z",
    "auth_orig_ip_in": "10.0.0.1",
    "account_id_in": ACCOUNT,
    "account_id_eq": ACCOUNT,
}


@pytest.mark.parametrize("name", GOOD)
@pytest.mark.parametrize("line_end", ["\n", "\r", "\r\n"])
async def test_only_the_end_of_a_value_may_hold_line_breaks_where_it_is_no_text(
    api: Api, name: str, line_end: str
) -> None:
    value = GOOD[name]
    expected = (await api.get(f"cdrs?filter[{name}]={quote(value)}", 7)).ids
    for text in (f"{value}{line_end}", f"{value} {line_end}\t{line_end}", f" {value}{line_end}"):
        assert (await api.get(f"cdrs?filter[{name}]={quote(text)}", 7)).ids == expected
    for text in (
        f"{line_end}{value}",
        f" \t{line_end}{value}",
        f"\u3000{line_end}{value}",
        f"{value}{line_end}{value}",
        f"{value}{line_end},{value}",
        f"{value}{line_end}\u3000",
        f"{line_end}{line_end}{value}{line_end}",
        f",{line_end}{value}",
        f'"{value}{line_end}"',
        f'"{value}{line_end}{value}"',
    ):
        assert (await api.get(f"cdrs?filter[{name}]={quote(text)}", 7)).error == (400, "107")


async def test_a_bound_that_is_lost_in_a_second_line_does_not_widen_a_list(api: Api) -> None:
    for name in ("time_start_gteq", "time_start_gt", "timeStartGt", "time_start_lt", "time_start_in"):
        for path in ("cdrs?", "cdrs?format=csv&", "cdrs?page[after]=&"):
            answer = await api.get(f"{path}filter[{name}]=%0A2026-01-01", 7)
            assert answer.error == (400, "107")


@pytest.mark.parametrize(
    ("text", "found"),
    [("x", ["1"]), ("x%0Ay", ["1"]), ("x%0A", ["1"]), ("%0Ax", ["1", "2"]), ("%22x%0Ay%22", ["2"])],
)
async def test_of_a_text_the_first_line_counts_as_before(api: Api, text: str, found: list[str]) -> None:
    assert (await api.get(f"cdrs?sort=id&filter[local_tag_in]={text}", 7)).ids == found


MOMENTS = ["2026-02-27 08:00 UTC", "2026-02-27T10:00:00+02", "2026-02-27T08:00:00z", "2026-02-27T08:00+00"]


@pytest.mark.parametrize("zone", ["UTC", "Europe/Berlin", "Asia/Kolkata", "America/New_York"])
async def test_times_are_found_by_each_of_their_spellings_in_every_zone(serve: Serve, data: Data, zone: str) -> None:
    api = await serve(data.dsn, RESOURCES__TIME_ZONE=zone)
    for text in MOMENTS:
        assert (await api.get(f"cdrs?sort=id&filter[time_end_eq]={quote(text)}", 7)).ids == ["1", "2"]
    listed = ",".join(MOMENTS)
    assert (await api.get(f"cdrs?sort=id&filter[time_end_in]={quote(listed)}", 7)).ids == ["1", "2"]
    assert (await api.get(f"cdrs?filter[time_end_not_in]={quote(listed)}", 7)).ids == []


@pytest.mark.parametrize("zone", ["UTC", "Europe/Berlin", "Pacific/Kiritimati", "Pacific/Pago_Pago"])
async def test_the_extremes_of_dotnet_bound_nothing(serve: Serve, data: Data, zone: str) -> None:
    api = await serve(data.dsn, RESOURCES__TIME_ZONE=zone)
    least, most = "0001-01-01T00:00:00", "9999-12-31T23:59:59.9999999"
    bounds = f"filter[time_end_gteq]={least}&filter[time_end_lteq]={most}&filter[time_start_lteq]={most}"
    for path in ("cdrs?sort=id&", "cdrs?sort=id&page[after]=&", "cdrs?sort=id&format=ndjson&"):
        assert await found(api, path + bounds) == [True, True]
        assert await found(api, f"{path}filter[time_end_lt]={least}") == [False, False]
        assert await found(api, f"{path}filter[time_end_gt]={most}") == [False, False]
        assert await found(api, f"{path}filter[time_start_lteq]={least}") == [False, False]
        if "format" not in path:
            assert await found(api, f"{path}filter[time_start_gteq]={least}") == [True, True]


async def found(api: Api, path: str) -> list[bool]:
    """Whether a list or a table holds call 1, and call 2."""
    answer = await api.get(path, 7)
    assert answer.status == 200
    return [f'"id":"{id}"' in answer.body.decode() for id in (1, 2)]
