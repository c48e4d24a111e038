"""Formats of values, and hidden attributes (contract 2)."""

import json
from itertools import count
from typing import Any

import pytest

from tests.conftest import Api, Data, Serve

CDRS = pytest.mark.parametrize("cdrs", ["incoming-cdrs", "cdrs"])


async def attribute(api: Api, name: str, path: str = "incoming-cdrs/1") -> Any:
    return (await api.get(path, 7)).json["data"]["attributes"][name]


IDS = count(1)  # Of calls that tests add to the shared database.


@pytest.fixture
def data(data: Data) -> Data:
    data.customer(7)
    return data


@pytest.fixture(scope="module")
def shown(shared_api: Api, shared_data: Data) -> Api:
    for id in (7, 8):  # Customer 8 has no calls.
        shared_data.customer(id)
    return shared_api


@pytest.mark.parametrize(
    ("stored", "text"),
    [
        ("0", "0.0"),
        ("1.50", "1.5"),
        ("100", "100.0"),
        ("-1.25", "-1.25"),
        ("1e-9", "0.000000001"),
        ("1e30", "1000000000000000000000000000000.0"),
        ("123456789012345678901234567890.123456789", "123456789012345678901234567890.123456789"),
        ("NaN", None),
        ("Infinity", None),
        ("-Infinity", None),
        (None, None),
    ],
)
async def test_a_numeric_is_plain_text(shown: Api, shared_data: Data, stored: str | None, text: str | None) -> None:
    shared_data.call(id := next(IDS), vendor_id=7, vendor_price=stored)
    assert await attribute(shown, "vendor-price", f"incoming-cdrs/{id}") == text


@pytest.mark.parametrize(
    ("zone", "stored", "shown"),
    [
        ("UTC", "2026-03-01 10:00:00.518999+00", "2026-03-01T10:00:00.518Z"),
        ("UTC", "2026-03-01 10:00:00+00", "2026-03-01T10:00:00.000Z"),
        ("Europe/Berlin", "2026-03-01 10:00:00.518999+00", "2026-03-01T11:00:00.518+01:00"),
        ("Europe/Berlin", "2026-07-01 10:00:00.5+00", "2026-07-01T12:00:00.500+02:00"),
        ("Europe/London", "2026-03-01 10:00:00.5+00", "2026-03-01T10:00:00.500+00:00"),
        ("Europe/London", "2026-07-01 10:00:00.5+00", "2026-07-01T11:00:00.500+01:00"),
        ("Etc/UTC", "2026-03-01 10:00:00.5+00", "2026-03-01T10:00:00.500Z"),
        ("Asia/Kolkata", "2026-03-01 10:00:00+00", "2026-03-01T15:30:00.000+05:30"),
        ("UTC", "infinity", None),
        ("UTC", "10000-01-01 00:00:00+00", None),
        ("Europe/Berlin", "10000-01-01 00:00:00+00", None),
        ("Europe/Berlin", "9999-12-31 23:30:00+00", None),
        ("UTC", "9999-12-31 23:30:00+00", "9999-12-31T23:30:00.000Z"),
        ("America/New_York", "0001-01-01 00:00:00+00", None),
    ],
)
async def test_a_time_is_cut_to_milliseconds_in_the_zone(
    serve: Serve, data: Data, zone: str, stored: str, shown: str | None
) -> None:
    data.call(1, vendor_id=7, time_end=stored)
    assert await attribute(await serve(data.dsn, RESOURCES__TIME_ZONE=zone), "time-end") == shown


async def test_a_filter_without_offset_is_read_in_the_zone(serve: Serve, data: Data) -> None:
    api = await serve(data.dsn, RESOURCES__TIME_ZONE="Europe/Berlin")
    data.call(1, vendor_id=7, time_end="2026-03-01 10:00:00+00")
    for text, found in (("2026-03-01T11:00", ["1"]), ("2026-03-01T10:00", []), ("2026-03-01T10:00Z", ["1"])):
        assert (await api.get(f"incoming-cdrs?filter[time_end_eq]={text}", 7)).ids == found


@pytest.mark.parametrize(
    ("query", "code"),
    [
        ("filter[vendor_price_eq]=1e-16384", "107"),
        ("filter[vendor_price_not_in]=1,1e-16384", "107"),
        ("filter[vendor_price_eq]=1e131072", "107"),
        ("filter[local_tag_eq]=a%0A%00", "107"),
        ("filter[duration_in]=1%0D%0A2%00", "107"),
        ("filter[duration_gt=1", "102"),
        ("filter[duration_gt]x=1", "120"),
        ("filter[duration[gt]=1", "102"),
        ("page[size]x=1&sort[id=1", "114"),
    ],
)
async def test_what_cannot_be_used_is_refused_and_never_passed_over(shown: Api, query: str, code: str) -> None:
    assert (await shown.get(f"incoming-cdrs?{query}", 7)).error == (400, code)


@pytest.mark.parametrize(
    ("path", "detail"),
    [
        ('cdrs?sort=-"timeStart', '-"timeStart is not a valid sort criteria for cdrs'),
        ('cdrs?include="account.x', '"account.x is not a valid relationship of cdrs'),
        ("accounts?filter[]", " is not allowed."),
        ("cdrs/1?filter[]", " is not allowed."),
        ("cdrs?filter[]", " is not a valid syntax for filtering."),
    ],
)
async def test_what_cannot_be_split_is_shown_as_it_was_sent(shown: Api, path: str, detail: str) -> None:
    assert (await shown.get(path, 7)).json["errors"][0]["detail"] == detail


LATER = "filter[time-start-gt]=2020-01-02"


@pytest.mark.parametrize(
    ("query", "found"),
    [
        (f"filter[time_start_gt]=2020-01-01&{LATER}", ["1"]),
        (f"filter[time_start_gt]=&{LATER}", []),
        (LATER, []),
    ],
)
async def test_a_bound_named_in_both_spellings_lifts_the_window(
    api: Api, data: Data, query: str, found: list[str]
) -> None:
    data.call(1, vendor_id=7, hours_ago=72)
    assert (await api.get(f"incoming-cdrs?{query}", 7)).ids == found


@pytest.mark.parametrize("value", ["1e-16383", "1e131071", "-Infinity", "NaN"])
async def test_the_ends_of_numerics_can_be_compared_with(shown: Api, value: str) -> None:
    assert (await shown.get(f"incoming-cdrs?filter[vendor_price_gt]={value}", 8)).ids == []


async def test_text_is_raw_unicode_with_the_least_escapes(api: Api, data: Data) -> None:
    data.call(1, vendor_id=7, local_tag='<>&/é😀\x7f\u2028"\\\x01\n')
    body = (await api.get("incoming-cdrs/1?fields[incoming-cdrs]=local-tag", 7)).body.decode()
    assert '"local-tag":"<>&/é😀\x7f\u2028\\"\\\\\\u0001\\n"' in body


@pytest.mark.parametrize(
    ("stored", "text"), [("10.0.0.1/32", "10.0.0.1"), ("10.0.0.0/8", "10.0.0.0/8"), ("::1", "::1")]
)
async def test_an_address_is_in_postgresqls_own_form(shown: Api, shared_data: Data, stored: str, text: str) -> None:
    shared_data.call(id := next(IDS), customer_id=7, auth_orig_ip=stored)
    assert await attribute(shown, "auth-orig-ip", f"cdrs/{id}") == text


RECORDED = {"audio_recorded": True, "local_tag": "x", "duration": 1}


@CDRS
@pytest.mark.parametrize(
    ("listens", "changed", "rec"),
    [
        (True, {}, True),
        (False, {}, False),
        (True, {"audio_recorded": None}, False),
        (True, {"local_tag": None}, False),
        (True, {"local_tag": " \u2003\t"}, False),
        (True, {"duration": 0}, False),
        (True, {"duration": None}, False),
    ],
)
async def test_rec_needs_permission_audio_a_tag_and_a_duration(
    api: Api, data: Data, cdrs: str, listens: bool, changed: dict[str, Any], rec: bool
) -> None:
    data.customer(9, may_listen=listens)
    data.call(1, vendor_id=9, customer_id=9, **{**RECORDED, **changed})
    assert (await api.get(f"{cdrs}/1", 9)).json["data"]["attributes"]["rec"] is rec
    assert (await api.get(f"{cdrs}/1/rec", 9)).status == (200 if rec else 404)


@CDRS
async def test_hidden_names_never_show_and_stay_valid(serve: Serve, data: Data, cdrs: str) -> None:
    hidden = json.dumps(["duration", "account", "rec", "time-start"])
    api = await serve(data.dsn, RESOURCES__INCOMING_CDR_HIDE_FIELDS=hidden, RESOURCES__OUTGOING_CDR_HIDE_FIELDS=hidden)
    data.account(71, 7, "00000000-0000-4000-8000-000000000001")
    data.call(1, vendor_id=7, customer_id=7, vendor_acc_id=71, customer_acc_id=71)
    asked = (
        f"fields[{cdrs}]=duration,success,account,time-start&include=account&sort=duration&filter[duration_not_eq]=1"
    )
    data.execute("UPDATE cdr.cdr SET duration = 2")
    for path in (f"{cdrs}?{asked}", f"{cdrs}/1?{asked}"):
        document = (await api.get(path, 7)).json
        (record,) = document["data"] if isinstance(document["data"], list) else [document["data"]]
        assert list(record["attributes"]) == ["success", "time-start"]
        assert "relationships" not in record
        assert "included" not in document
    everything = (await api.get(f"{cdrs}/1", 7)).json["data"]["attributes"]
    assert not {"duration", "rec"} & everything.keys()
    assert (await api.get(f"{cdrs}/1/account", 7)).json["data"]["type"] == "accounts"
    assert (await api.get(f"{cdrs}/1/relationships/account", 7)).json["data"]["type"] == "accounts"
