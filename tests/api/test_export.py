"""Exports: the same records as in JSON:API, completely, or with a detectable truncation."""

import asyncio
import csv
import gzip
import io
import json
import re
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from itertools import count
from typing import Any

import aiohttp
import pytest

from service.tables.formats import CSV
from service.web import streaming
from service.web.encodings import takes_gzip
from tests.conftest import Answer, Api, Data, Databases, Serve
from tests.load import until

CDRS = pytest.mark.parametrize("cdrs", ["incoming-cdrs", "cdrs"])
EVERYTHING = "filter[time_start_gteq]=2026-03-01&filter[time_start_lt]=2026-03-12"
ACCOUNT, FOREIGN = "0e1d9a70-6c1b-4f6e-9b6a-000000000071", "0e1d9a70-6c1b-4f6e-9b6a-000000000081"
AS_CSV = {"Accept": "text/csv"}
IDS = count(1)  # Of customers that tests add to the shared database.


def lines(answer: Answer) -> list[Any]:
    return [json.loads(line) for line in answer.body.decode().split("\n")[:-1]]


def table(answer: Answer) -> list[dict[str, str]]:
    text = answer.body.decode()
    assert text.endswith("\r\n")
    return list(csv.DictReader(io.StringIO(text, newline="")))


def flat(document: Any) -> list[dict[str, Any]]:
    """What a table has to hold, from the JSON:API document."""
    found = []
    for record in document["data"]:
        row = {"id": record["id"], **record.get("attributes", {})}
        linkage = record.get("relationships", {}).get("account", {})
        if "data" in linkage:
            row["account"] = linkage["data"] and linkage["data"]["id"]
        found.append(row)
    return found


def plain(value: Any) -> str:
    """A JSON value as CSV shows it, formulas aside."""
    return "" if value is None else value if isinstance(value, str) else json.dumps(value)


QUERIES = [
    "",
    "&sort=duration,-time-connect",
    "&filter[success_eq]=true&sort=id",
    "&fields[CDRS]=duration,rec,local-tag",
    "&fields[CDRS]=id",
    "&fields[CDRS]=account&include=account",
    "&include=account",
    "&include=account&fields[CDRS]=success",
    "&filter[id_eq]=0",
]


@CDRS
@pytest.mark.parametrize("query", QUERIES)
@pytest.mark.parametrize("caller", [1, 3], ids=["all accounts", "some accounts"])
async def test_a_table_holds_what_the_list_holds(golden: Api, cdrs: str, query: str, caller: int) -> None:
    path = f"{cdrs}?{EVERYTHING}{query.replace('CDRS', cdrs)}"
    expected = flat((await golden.get(f"{path}&page[size]=1000", caller)).json)
    assert lines(await golden.get(f"{path}&format=ndjson", caller)) == expected
    found = table(await golden.get(f"{path}&format=csv", caller))
    assert [list(row) for row in found] == [list(row) for row in expected]
    for row, wanted in zip(found, expected, strict=True):
        for name, cell in row.items():
            assert cell.removeprefix("'") == plain(wanted[name]).removeprefix("'")


async def test_accounts_are_a_table_too(golden: Api) -> None:
    expected = flat((await golden.get("accounts?sort=-name&page[size]=1000", 1)).json)
    assert expected
    answer = await golden.get("accounts?sort=-name&format=ndjson", 1)
    assert lines(answer) == expected
    assert re.fullmatch(r'attachment; filename="accounts_\d{8}T\d{6}Z.ndjson"', answer.headers["content-disposition"])


async def test_the_head_says_what_it_is(golden: Api) -> None:
    answer = await golden.get(f"cdrs?{EVERYTHING}", 1, headers=AS_CSV)
    assert answer.headers["content-type"] == "text/csv; charset=utf-8; header=present"
    assert answer.headers["vary"] == "Accept, Accept-Encoding"
    assert answer.headers["cache-control"] == "no-cache"
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert "etag" not in answer.headers
    name = "cdrs_20260301T000000Z_20260312T000000Z.csv"
    assert answer.headers["content-disposition"] == f'attachment; filename="{name}"'


async def test_an_empty_table_has_a_head_and_nothing_else(golden: Api) -> None:
    path = f"cdrs?{EVERYTHING}&filter[id_eq]=0&fields[cdrs]=duration"
    assert (await golden.get(f"{path}&format=csv", 1)).body == b"id,duration\r\n"
    assert (await golden.get(f"{path}&format=ndjson", 1)).body == b""


@pytest.mark.parametrize(
    ("accept", "query", "kind"),
    [
        ("text/csv", "", "text/csv"),
        ("TEXT/CSV; charset=utf-8", "", "text/csv"),
        ("application/x-ndjson", "", "application/x-ndjson"),
        ("application/x-ndjson;q=0.5, text/csv;q=0.9", "", "text/csv"),
        ("text/csv, */*;q=0.1", "", "text/csv"),
        ("text/csv, application/vnd.api+json", "", "application/vnd.api+json"),
        ("text/csv;q=0.5, */*", "", "application/vnd.api+json"),
        ("*/*", "", "application/vnd.api+json"),
        ("text/csv;q=0, */*", "", "application/vnd.api+json"),
        ("*/*", "&format=csv", "text/csv"),
        ("text/html", "&format=csv", "text/csv"),
        ("text/csv", "&format=ndjson", "application/x-ndjson"),
        ("*/*", "&format=json", "application/vnd.api+json"),
        ("*/*", "&format=", "application/vnd.api+json"),
        ("*/*", "&format[]=csv", "application/vnd.api+json"),
    ],
)
async def test_the_client_chooses(golden: Api, accept: str, query: str, kind: str) -> None:
    answer = await golden.get(f"cdrs?{EVERYTHING}{query}", 1, headers={"Accept": accept})
    assert (answer.status, answer.headers["content-type"].partition(";")[0]) == (200, kind)


@pytest.mark.parametrize(
    ("path", "accept", "status"),
    [
        ("cdrs", "text/*", 406),
        ("cdrs", "text/csv;q=0", 406),
        ("cdrs", "text/csv; header=absent; x=1", 406),
        ("cdrs?format=json", "text/csv", 406),
        ("cdrs/1", "text/csv", 406),
        ("accounts/0e1d9a70-6c1b-4f6e-9b6a-000000000110", "text/csv", 406),
    ],
)
async def test_only_lists_are_tables(golden: Api, path: str, accept: str, status: int) -> None:
    answer = await golden.get(path, 1, headers={"Accept": accept})
    assert answer.error[0] == status


@pytest.mark.parametrize(
    ("query", "said"),
    [
        ("page[size]=10", "page"),
        ("page=2", "page"),
        ("page[after]=", "page"),
        ("count=1", "count"),
        ("count[]=true", "count"),
        ("format=xlsx", "csv, ndjson or json"),
        ("filter[foo]=1", "foo is not allowed"),
        ("sort=rec", "rec is not a valid sort"),
        ("filter[time_start_gteq]=2020-01-01", "at most 31 days"),
        ("filter[time_start_gteq]=2026-01-01&filter[time_start_lt]=2026-02-02", "this one covers 32"),
        ("filter[time_start_gt]=0001-01-01&filter[time_start_lteq]=9999-12-31", "at most 31 days"),
    ],
)
async def test_what_cannot_be_exported_is_refused_in_words(golden: Api, query: str, said: str) -> None:
    answer = await golden.get(f"incoming-cdrs?format=csv&{query}", 1)
    assert answer.status == 400
    assert answer.headers["content-type"] == "application/vnd.api+json"
    assert said in answer.json["errors"][0]["detail"]


@pytest.mark.parametrize(
    "query",
    [
        "filter[time_start_gteq]=2026-01-01&filter[time_start_lt]=2026-02-01",
        "filter[time_start_eq]=2020-01-01",
        "filter[time_start_gteq]=2020-01-01&filter[time_start_in]=2020-01-01,2020-01-05",
        "filter[time_start_gteq]=2999-01-01",
        "",
    ],
)
async def test_a_window_that_is_not_too_wide_is_let_through(golden: Api, query: str) -> None:
    assert (await golden.get(f"incoming-cdrs?format=csv&{query}", 1)).status == 200


async def test_nobody_exports_without_a_token(golden: Api) -> None:
    assert (await golden.get("cdrs?format=csv")).error == (401, "401")


async def test_what_is_hidden_stays_hidden(serve: Serve, data: Data) -> None:
    data.customer(7)
    data.account(71, 7, ACCOUNT)
    data.call(1, vendor_id=7, vendor_acc_id=71, vendor_price=3)
    api = await serve(data.dsn, RESOURCES__INCOMING_CDR_HIDE_FIELDS='["vendor_price", "account"]')
    [row] = lines(await api.get("incoming-cdrs?format=ndjson&include=account", 7))
    assert "vendor-price" not in row
    assert "account" not in row
    assert b"vendor-price" not in (await api.get("incoming-cdrs?format=csv", 7)).body


async def test_an_account_out_of_scope_is_empty(api: Api, data: Data) -> None:
    data.customer(7)
    data.customer(8)
    data.account(71, 7, ACCOUNT)
    data.account(81, 8, FOREIGN)
    for id, account in ((1, 71), (2, 81), (3, None), (4, 71)):
        data.call(id, vendor_id=7, vendor_acc_id=account)
    answer = await api.get("incoming-cdrs?format=csv&include=account&sort=id&fields[incoming-cdrs]=account", 7)
    assert [row["account"] for row in table(answer)] == [ACCOUNT, "", "", ACCOUNT]
    assert FOREIGN not in answer.body.decode()


@pytest.mark.parametrize(
    ("text", "cell"),
    [
        ("=1+1", "'=1+1"),
        ("+1-1", "'+1-1"),
        ("-cmd|' /C calc'!A0", "'-cmd|' /C calc'!A0"),
        ("@SUM(A1)", "'@SUM(A1)"),
        ("\tx", "'\tx"),
        ("\rx", "'\rx"),
        ("\nx", "'\nx"),
        ("\uff1d1", "'\uff1d1"),
        ("+", "'+"),
        ("=5", "'=5"),
        ("+5\n", "'+5\n"),
        ("+380441234567", "+380441234567"),
        ("-1.25", "-1.25"),
        ("1=1", "1=1"),
        (" =1", " =1"),
        ("", ""),
        ('a"b,c', 'a"b,c'),
    ],
)
async def test_no_cell_is_a_formula_and_numbers_stay_numbers(
    shared_api: Api, shared_data: Data, text: str, cell: str
) -> None:
    id = next(IDS)
    shared_data.customer(id)
    shared_data.call(id, vendor_id=id, src_name_out=text, vendor_price="-3.5")
    [row] = table(await shared_api.get("incoming-cdrs?format=csv", id))
    assert (row["src-name-out"], row["vendor-price"], row["rec"], row["duration"]) == (cell, "-3.5", "false", "")
    [record] = lines(await shared_api.get("incoming-cdrs?format=ndjson", id))
    assert record["src-name-out"] == text


async def test_spreadsheets_have_a_dialect(api: Api, data: Data) -> None:
    data.customer(7)
    data.account(71, 7, ACCOUNT)
    data.call(1, vendor_id=7, vendor_acc_id=71, src_name_out="380441234567", vendor_price="-3.5", duration=5)
    fields = "fields[incoming-cdrs]=src-name-out,vendor-price,duration,rec,account&include=account"
    for choice, headers in (("format=csv&", None), ("", AS_CSV)):
        path = f"incoming-cdrs?{choice}dialect=excel&{fields}"
        answer = await api.get(path, 7, **({"headers": headers} if headers else {}))
        assert answer.headers["content-type"] == "text/csv; charset=utf-8; header=present"
        assert answer.headers["content-disposition"].endswith('.csv"')
        assert answer.body == (
            b"\xef\xbb\xbfid;src-name-out;vendor-price;duration;rec;account\r\n"
            b'1;"=""380441234567""";-3,5;5;false;' + ACCOUNT.encode() + b"\r\n"
        )
    assert (await api.get(f"incoming-cdrs?format=csv&dialect=&{fields}", 7)).body.startswith(b"id,src-name-out")
    assert (await api.get("incoming-cdrs?dialect=excel", 7)).ids == ["1"]


@pytest.mark.parametrize(
    "query",
    [
        "format=csv&dialect=calc",
        "format=csv&dialect[]=excel",
        "format=csv&dialect=Excel",
        "format=ndjson&dialect=excel",
    ],
)
async def test_another_dialect_is_refused(golden: Api, query: str) -> None:
    answer = await golden.get(f"cdrs?{query}", 1)
    assert answer.error == (400, "118")
    assert answer.json["errors"][0]["source"] == {"parameter": "dialect"}


async def test_a_month_with_an_hour_more_is_exported(serve: Serve, data: Data) -> None:
    data.customer(7)
    api = await serve(data.dsn, RESOURCES__TIME_ZONE="Europe/Berlin")
    month = "filter[time_start_gteq]=2025-10-01&filter[time_start_lt]=2025-11-01"
    answer = await api.get(f"cdrs?format=csv&{month}", 7)
    assert answer.status == 200
    name = 'attachment; filename="cdrs_20250930T220000Z_20251031T230000Z.csv"'
    assert answer.headers["content-disposition"] == name
    assert (await api.get(f"cdrs?format=csv&{month}T00:00:01", 7)).error == (400, "400")


def test_lines_end_and_quotes_double_as_the_standard_says() -> None:
    assert CSV.head(["id", "a-b"]) + CSV.piece([{"id": "1", "a-b": 'x "y", z'}, {"id": "2", "a-b": "x\ny"}]) == (
        b'id,a-b\r\n1,"x ""y"", z"\r\n2,"x\ny"\r\n'
    )


@pytest.mark.parametrize(
    ("accept", "taken"),
    [
        ("gzip", True),
        ("GZIP;q=0.5", True),
        ("deflate, gzip;q=1.0, *;q=0.5", True),
        ("*", True),
        ("x-gzip", True),
        ("gzip;q=0", False),
        ("gzip;q=0, *", False),
        ("gzip;q=0.2, identity;q=0.8", False),
        ("*;q=0", False),
        ("identity", False),
        ("br", False),
        ("gzip;q=2", False),
        ("", False),
    ],
)
def test_gzip_is_chosen_by_quality(accept: str, taken: bool) -> None:
    assert takes_gzip(accept) is taken


@CDRS
@pytest.mark.parametrize("format_", ["csv", "ndjson"])
async def test_a_compressed_table_is_the_same_table(golden: Api, cdrs: str, format_: str) -> None:
    path = f"{cdrs}?{EVERYTHING}&format={format_}"
    as_is = await golden.get(path, 1, headers={"Accept-Encoding": "identity"})
    packed = await golden.get(path, 1, headers={"Accept-Encoding": "gzip"}, auto_decompress=False)
    assert packed.headers["content-encoding"] == "gzip"
    assert gzip.decompress(packed.body) == as_is.body
    assert len(packed.body) < len(as_is.body) / 3


async def test_a_count_is_told_when_asked_for(golden: Api) -> None:
    answer = await golden.get(f"cdrs?{EVERYTHING}&format=ndjson&count=true", 1)
    assert int(answer.headers["x-total-count"]) == len(lines(answer)) == 152
    assert "x-total-count" not in (await golden.get(f"cdrs?{EVERYTHING}&format=ndjson", 1)).headers


async def test_head_is_answered_with_the_headers_alone(golden: Api) -> None:
    answer = await golden.get(f"cdrs?{EVERYTHING}&format=csv&count=true", 1, method="HEAD")
    assert (answer.status, answer.body, answer.headers["x-total-count"]) == (200, b"", "152")
    assert (await golden.get(f"cdrs?{EVERYTHING}&format=csv", 1)).status == 200


async def test_a_session_by_cookie_is_renewed(golden: Api) -> None:
    cookie = f"_yeti_customer_v1_session={golden.tokens.issue(1)}"
    answer = await golden.get(f"cdrs?{EVERYTHING}&format=csv", headers={"Cookie": cookie})
    assert answer.headers["set-cookie"].startswith("_yeti_customer_v1_session=")


MANY = 60_000


@pytest.fixture(scope="module")
def many(postgres: Databases, prepared: str) -> Iterator[Data]:
    """More calls than the buffers between service and client can hold; only read, so all tests share them."""
    data = Data(postgres, postgres.create(prepared))
    fill(data)
    yield data
    postgres.drop(data.name)


def fill(data: Data) -> None:
    data.customer(7)
    data.execute(
        "INSERT INTO cdr.cdr (id, time_start, vendor_id, customer_id, is_last_cdr, legb_user_agent, lega_user_agent)"
        " SELECT n, date_trunc('day', now()) - interval '1 hour', 7, 7, true, repeat('x', 200), repeat('x', 200)"
        " FROM generate_series(1, %s) AS n",
        (MANY,),
    )


@asynccontextmanager
async def reading(api: Api, path: str) -> AsyncIterator[aiohttp.ClientResponse]:
    """An export of which the client has read no more than the first bytes."""
    headers = {"Authorization": api.tokens.issue(7), "Accept-Encoding": "identity"}
    url = api.client.make_url(f"/api/rest/customer/v1/{path}")
    async with api.client.session.get(url, headers=headers) as response:
        assert response.status == 200
        assert await response.content.read(10)
        yield response


ALL = "incoming-cdrs?filter[time_start_gteq]=2000-01-01&format=csv&sort=id"
WIDE = {"EXPORT__MAX_DAYS": "36600"}
# A transaction of the service's, whether it works or waits at this moment.
HELD = (
    "SELECT pid FROM pg_stat_activity"
    " WHERE datname = current_database() AND application_name = 'cdr-api' AND xact_start IS NOT NULL"
)


async def test_a_slow_reader_gets_every_row_that_is_there_all_the_time_once(serve: Serve, data: Data) -> None:
    fill(data)
    api = await serve(data.dsn, **WIDE)
    async with reading(api, ALL) as response:
        await until(lambda: not data.execute(HELD))
        data.execute("DELETE FROM cdr.cdr WHERE id % 2 = 0")
        rest = await response.read()
    ids = [int(line.partition(b",")[0]) for line in rest.split(b"\r\n")[1:-1]]
    assert len(set(ids)) == len(ids)
    assert set(range(1, MANY + 1, 2)) <= set(ids)


async def test_a_failure_in_the_middle_breaks_the_connection(serve: Serve, many: Data) -> None:
    api = await serve(many.dsn, **WIDE)
    async with reading(api, ALL) as response:
        [(pid,)] = many.execute(HELD)
        many.execute("SELECT pg_terminate_backend(%s)", (pid,))
        with pytest.raises((aiohttp.ClientPayloadError, ConnectionResetError)):
            await response.read()
    assert (await api.get("incoming-cdrs?filter[id_eq]=1&format=csv", 7)).status == 200


async def test_a_client_of_the_old_protocol_sees_it_too(serve: Serve, many: Data) -> None:
    """Without chunks the end of the connection is the end of the body, so it must not look like one."""
    api = await serve(many.dsn, EXPORT__MAX_ROWS=str(MANY - 1), **WIDE)
    reader, writer = await asyncio.open_connection(api.client.host, api.client.port)
    path = f"/api/rest/customer/v1/{ALL}".replace("[", "%5B").replace("]", "%5D")
    writer.write(f"GET {path} HTTP/1.0\r\nAuthorization: {api.tokens.issue(7)}\r\n\r\n".encode())
    assert b"200 OK" in await reader.readline()
    with pytest.raises(ConnectionResetError):
        await reader.read()
    writer.close()


async def test_too_many_rows_never_look_complete(serve: Serve, many: Data) -> None:
    api = await serve(many.dsn, EXPORT__MAX_ROWS=str(MANY - 1), **WIDE)
    async with reading(api, ALL) as response:
        with pytest.raises((aiohttp.ClientPayloadError, ConnectionResetError)):
            await response.read()
    counted = await api.get(f"{ALL}&count=true", 7)
    assert counted.status == 400
    assert f"would contain {MANY}" in counted.json["errors"][0]["detail"]
    exactly = await serve(many.dsn, EXPORT__MAX_ROWS=str(MANY), **WIDE)
    assert (await exactly.get(ALL, 7)).body.count(b"\r\n") == MANY + 1


async def test_a_client_that_leaves_frees_its_cursor(serve: Serve, many: Data) -> None:
    api = await serve(many.dsn, **WIDE)
    async with reading(api, ALL) as response:
        assert many.execute(HELD)
        response.close()
    await until(lambda: not many.execute(HELD))


async def test_a_client_that_stops_reading_is_left(
    serve: Serve, many: Data, capsys: pytest.CaptureFixture[str]
) -> None:
    api = await serve(many.dsn, LISTEN__WRITE_TIMEOUT="0.2", **WIDE)
    async with reading(api, ALL) as response:
        await until(lambda: "response truncated" in capsys.readouterr().out)
        with pytest.raises((aiohttp.ClientPayloadError, ConnectionResetError)):
            await response.read()


@pytest.mark.parametrize(
    ("setting", "value"), [("streams.max_duration", "0.01"), ("streams.min_rate", "1000000000")], ids=["long", "slow"]
)
async def test_a_stream_that_takes_too_long_is_ended(
    serve: Serve,
    many: Data,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    setting: str,
    value: str,
) -> None:
    """Also if its client reads all the time."""
    monkeypatch.setattr(streaming, "GRACE", 0.0)
    api = await serve(many.dsn, **{setting.upper().replace(".", "__"): value}, **WIDE)
    async with reading(api, ALL) as response:
        with pytest.raises((aiohttp.ClientPayloadError, ConnectionResetError)):
            await response.read()
    await until(lambda: setting in capsys.readouterr().out)
    assert (await api.get("incoming-cdrs?filter[time_start_gteq]=2000-01-01&page[size]=1", 7)).status == 200


async def test_exports_keep_no_list_waiting(serve: Serve, many: Data) -> None:
    api = await serve(
        many.dsn,
        EXPORT__POOL_SIZE="1",
        DATABASES__CDR__POOL_SIZE="1",
        DATABASES__ACQUIRE_TIMEOUT="0.1",
        **WIDE,
    )
    async with reading(api, ALL):
        assert (await api.get("incoming-cdrs?filter[time_start_gteq]=2000-01-01&page[size]=1", 7)).status == 200
        assert (await api.get(ALL.replace("sort=id", "filter[id_lt]=9"), 7)).body.count(b"\r\n") == 9


async def test_a_statement_that_takes_too_long_is_refused_before_anything_is_sent(serve: Serve, many: Data) -> None:
    api = await serve(many.dsn, DATABASES__STATEMENT_TIMEOUT="0.01", **WIDE)
    answer = await api.get(f"{ALL.replace('sort=id', 'sort=legb_user_agent,-dst_prefix_out')}", 7)
    assert answer.error == (504, "504")


async def test_an_idle_connection_that_has_died_is_replaced(api: Api, data: Data) -> None:
    data.customer(7)
    data.call(1, vendor_id=7)
    for _ in range(2):
        assert len(lines(await api.get("incoming-cdrs?format=ndjson", 7))) == 1
        data.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
            " WHERE datname = current_database() AND pid <> pg_backend_pid()"
        )
