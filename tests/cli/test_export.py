"""`cdr-api export` as a separate process: a complete file, or none."""

import csv
import io
import json
import subprocess
from pathlib import Path
from typing import Any

import pyarrow.parquet
import pytest

from tests.conftest import Api, Data, Databases
from tests.corpus import GOLDEN_SECRET
from tests.programs import called, on_database, run

NOWHERE = "host=127.0.0.1 port=1 dbname=x"
EVERYTHING = "filter[time_start_gteq]=2026-03-01&filter[time_start_lt]=2026-03-12"


@pytest.fixture
def known(postgres: Databases, golden_database: str) -> dict[str, str]:
    dsn = postgres.dsn(golden_database)
    return on_database(dsn, AUTH__SECRETS=json.dumps([GOLDEN_SECRET]))


def export(
    known: dict[str, str], type_: str, query: str, output: Path, *words: str
) -> subprocess.CompletedProcess[str]:
    whose = words or ("--api-access", "1")
    return run(["export", type_, *whose, "--query", query, "--output", str(output)], **known)


def asked(type_: str) -> str:
    return "sort=-id" if type_ == "accounts" else f"{EVERYTHING}&sort=-id&include=account"


@pytest.mark.parametrize(("type_", "suffix"), [("incoming-cdrs", "csv"), ("cdrs", "ndjson"), ("accounts", "csv")])
async def test_the_file_is_what_the_api_exports(
    golden: Api, known: dict[str, str], tmp_path: Path, type_: str, suffix: str
) -> None:
    output = tmp_path / f"calls.{suffix}"
    ended = export(known, type_, asked(type_), output)
    assert ended.returncode == 0, ended.stderr
    answer = await golden.get(f"{type_}?{asked(type_)}&format={suffix}", 1)
    assert answer.body
    assert output.read_bytes() == answer.body


@pytest.mark.parametrize("type_", ["incoming-cdrs", "accounts"])
async def test_parquet_holds_the_same_in_types(golden: Api, known: dict[str, str], tmp_path: Path, type_: str) -> None:
    output = tmp_path / "calls.parquet"
    ended = export(known, type_, asked(type_), output)
    answer = await golden.get(f"{type_}?{asked(type_)}&format=ndjson", 1)
    rows = [json.loads(line) for line in answer.body.splitlines()]
    assert ended.stderr.splitlines()[-1] == f"{len(rows)} records to {output}"
    table = pyarrow.parquet.read_table(output)
    assert [typed(row) for row in rows] == [typed(row) for row in table.to_pylist()]
    assert {str(table.schema.field(name).type) for name in table.column_names} >= {"int64", "double", "string"}


def typed(row: dict[str, Any]) -> dict[str, Any]:
    """A row with its numerics and times in one spelling, whether they came as text or as values."""
    shown = {}
    for name, value in row.items():
        if value is not None and name.startswith("time-"):
            value = f"{value:%Y-%m-%dT%H:%M:%S.%f}"[:-3] + "Z" if not isinstance(value, str) else value
        elif value is not None and name.endswith(("rate", "fee", "price", "balance", "limit")):
            value = float(value)
        elif name == "id":
            value = str(value)
        shown[name] = value
    return shown


def test_a_dynamic_subject_and_standard_output(known: dict[str, str]) -> None:
    words = ["export", "cdrs", "--customer-id", "10", "--query", f"{EVERYTHING}&fields[cdrs]=duration"]
    ended = run([*words, "--format", "csv", "--output", "-"], **known)
    rows = list(csv.DictReader(ended.stdout.splitlines()))
    assert len(rows) == 152
    assert list(rows[0]) == ["id", "duration"]
    assert ended.stderr.splitlines()[-1] == "152 records to standard output"


@pytest.mark.parametrize(
    ("query", "name", "words", "code", "said"),
    [
        ("filter[foo_eq]=1", "x.csv", (), 2, "foo_eq is not allowed."),
        ("", "x.xlsx", (), 2, "--format: must be one of csv, ndjson, parquet"),
        ("", "x.csv", ("--api-access", "99999"), 1, "access row, the customer or the profile does not exist"),
        ("", "nowhere/x.csv", (), 1, "No such file"),
    ],
)
def test_what_cannot_be_exported_is_said_in_words(
    known: dict[str, str], tmp_path: Path, query: str, name: str, words: tuple[str, ...], code: int, said: str
) -> None:
    ended = export(known, "cdrs", query, tmp_path / name, *words)
    assert ended.returncode == code
    assert said in ended.stderr
    assert "Traceback" not in ended.stderr
    assert list(tmp_path.iterdir()) == []


def test_a_question_mark_from_a_url_is_no_part_of_the_query(known: dict[str, str], tmp_path: Path) -> None:
    query = f"{EVERYTHING}&sort=-id&count=true"
    for name, text in (("plain.csv", query), ("marked.csv", f"?{query}"), ("joined.csv", f"?&{query}")):
        assert export(known, "cdrs", text, tmp_path / name).returncode == 0
    [text] = {path.read_bytes().decode() for path in tmp_path.iterdir()}
    assert len(list(csv.DictReader(io.StringIO(text, newline="")))) == 152


@pytest.mark.parametrize(
    ("query", "name"),
    [
        ("??filter[duration_gt]=0", "?filter"),
        ("filters[duration_gt]=0", "filters"),
        ("Filter[duration_gt]=0", "Filter"),
        ("filter%255Bduration_gt%255D=0", "filter%5Bduration_gt%5D"),
        (" filter[duration_gt]=0", " filter"),
        ("duration_gt=0", "duration_gt"),
        ("sorts=id", "sorts"),
        ("format=ndjson", "format"),
        ("dialect=excel", "dialect"),
        ("page[size]=10", "page"),
        ("https://example.net/cdrs?filter[duration_gt]=0", "https://example.net/cdrs?filter"),
    ],
)
def test_a_parameter_without_effect_is_refused_before_any_database_is_asked(
    tmp_path: Path, query: str, name: str
) -> None:
    nowhere = on_database(NOWHERE)
    words = ["export", "cdrs", "--api-access", "1", "--query", query, "--output", str(tmp_path / "x.csv")]
    ended = called(words, **nowhere)
    assert ended.returncode == 2
    assert ended.stderr == f"cdr-api: --query: {name} is not one of filter, sort, fields, include, count\n"
    assert list(tmp_path.iterdir()) == []


async def test_the_dialect_of_spreadsheets_is_the_apis(golden: Api, known: dict[str, str], tmp_path: Path) -> None:
    output = tmp_path / "calls.csv"
    ended = run(
        [
            "export",
            "cdrs",
            "--api-access",
            "1",
            "--query",
            asked("cdrs"),
            "--dialect",
            "excel",
            "--output",
            str(output),
        ],
        **known,
    )
    assert ended.returncode == 0, ended.stderr
    answer = await golden.get(f"cdrs?{asked('cdrs')}&format=csv&dialect=excel", 1)
    assert answer.body.startswith(b"\xef\xbb\xbfid;time-start;")
    assert output.read_bytes() == answer.body


@pytest.mark.parametrize("suffix", ["ndjson", "parquet"])
def test_only_csv_has_dialects(known: dict[str, str], tmp_path: Path, suffix: str) -> None:
    words = ["export", "cdrs", "--api-access", "1", "--dialect", "excel", "--output", str(tmp_path / f"x.{suffix}")]
    ended = called(words, **known)
    assert (ended.returncode, ended.stderr) == (2, "cdr-api: --dialect: requires --format csv\n")


def test_a_file_that_did_not_become_whole_leaves_the_old_one(data: Data, tmp_path: Path) -> None:
    data.customer(7)
    for id in range(1, 4):
        data.call(id, vendor_id=7)
    known = on_database(data.dsn, EXPORT__MAX_ROWS="2")
    output = tmp_path / "calls.csv"
    output.write_text("old")
    ended = run(["export", "incoming-cdrs", "--api-access", "7", "--output", str(output)], **known)
    assert ended.returncode != 0
    assert "at most 2 records" in ended.stderr
    assert [path.read_text() for path in tmp_path.iterdir()] == ["old"]
