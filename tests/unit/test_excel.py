"""CSV for spreadsheets, as text and as read by LibreOffice."""

import csv
import io
import shutil
import subprocess
import xml.etree.ElementTree as ElementTree
from datetime import UTC
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from service.schemas.resource import configured
from service.tables import excel, formats

RESOURCES = configured(UTC, {})
FORMAT = excel.format_of(RESOURCES["cdrs"])
NAMES = ["id", "time-start", "duration", "success", "customer-price", "src-prefix-in", "auth-orig-ip", "account"]
bounded = settings(deadline=None, derandomize=True)


def record(**values: Any) -> dict[str, Any]:
    return {**dict.fromkeys(NAMES), "id": "1", **{name.replace("_", "-"): value for name, value in values.items()}}


def table(*records: dict[str, Any]) -> bytes:
    return FORMAT.head(NAMES) + FORMAT.piece(records)


def cells(*records: dict[str, Any]) -> list[dict[str, str]]:
    text = table(*records).decode("utf-8-sig")
    return list(csv.DictReader(io.StringIO(text, newline=""), delimiter=";"))


def test_a_table_has_a_byte_order_mark_semicolons_decimal_commas_and_the_line_ends_of_windows() -> None:
    written = record(
        time_start="2026-03-01T10:00:00.000Z",
        duration=61,
        success=True,
        customer_price="-0.0125",
        src_prefix_in="380441234567",
        auth_orig_ip="10.0.0.1",
        account="0e1d9a70-6c1b-4f6e-9b6a-000000000071",
    )
    assert table(written, record(id="2", src_prefix_in='a;"b"')) == (
        b"\xef\xbb\xbfid;time-start;duration;success;customer-price;src-prefix-in;auth-orig-ip;account\r\n"
        b'1;2026-03-01T10:00:00.000Z;61;true;-0,0125;"=""380441234567""";"=""10.0.0.1""";'
        b"0e1d9a70-6c1b-4f6e-9b6a-000000000071\r\n"
        b'2;;;;;"a;""b""";;\r\n'
    )


def test_an_empty_table_has_a_head() -> None:
    assert table() == FORMAT.head(NAMES) == ("\ufeff" + ";".join(NAMES) + "\r\n").encode()
    assert FORMAT.piece([]) == b""


TEXTS = [
    ("380441234567", '="380441234567"'),
    ("0", '="0"'),
    ("007", '="007"'),
    ("+380441234567", '="+380441234567"'),
    ("-5", '="-5"'),
    ("1.50", '="1.50"'),
    ("1,5", '="1,5"'),
    ("1e10", '="1e10"'),
    ("12E34567", '="12E34567"'),
    ("1-2", '="1-2"'),
    ("01.02.2026", '="01.02.2026"'),
    ("3/4", '="3/4"'),
    ("10:30", '="10:30"'),
    ("50%", '="50%"'),
    ("(5)", '="(5)"'),
    (" 12 ", '=" 12 "'),
    ("\uff11\uff12", '="\uff11\uff12"'),
    ("192.168.100.200", '="192.168.100.200"'),
    ("=1+1", "'=1+1"),
    ('="5"', '\'="5"'),
    ("+1-1", "'+1-1"),
    ("-1+2", "'-1+2"),
    ("@SUM(A1)", "'@SUM(A1)"),
    ("\t12", "'\t12"),
    ("\n12", "'\n12"),
    ("1\n2", "1\n2"),
    ("380-abc", "380-abc"),
    ("2b5e7c@10.0.0.1", "2b5e7c@10.0.0.1"),
    ("e", "e"),
    (" ", " "),
    ("", ""),
]


@pytest.mark.parametrize(("text", "cell"), TEXTS)
def test_texts_that_look_like_numbers_stay_texts_and_formulas_are_guarded(text: str, cell: str) -> None:
    [row] = cells(record(src_prefix_in=text))
    assert row["src-prefix-in"] == cell


@bounded
@given(st.text(st.sampled_from('=+-@0123456789.,;:/()%eE \t"\r\nx\uff1d')) | st.text(st.characters(codec="utf-8")))
def test_no_cell_is_a_formula_but_one_that_gives_its_own_text(text: str) -> None:
    [row] = cells(record(src_prefix_in=text))
    cell = row["src-prefix-in"]
    if cell != text and cell.startswith("="):
        assert cell == f'="{text}"'
        assert not set(text) & set('"=@')
    else:
        assert cell == formats.cell(text)
        assert not text.isdigit()


@pytest.mark.parametrize(
    ("name", "value", "cell"),
    [
        ("customer_price", "1234567.5", "1234567,5"),
        ("customer_price", "0.0", "0,0"),
        ("customer_price", "-0.000000001", "-0,000000001"),
        ("customer_price", None, ""),
        ("duration", 0, "0"),
        ("duration", None, ""),
        ("success", False, "false"),
        ("id", "123456789012345", "123456789012345"),
        ("id", "1234567890123456", '="1234567890123456"'),
    ],
)
def test_numbers_are_numbers_unless_excel_would_round_them(name: str, value: Any, cell: str) -> None:
    [row] = cells(record(**{name: value}))
    assert row[name.replace("_", "-")] == cell


def test_accounts_have_decimal_commas_and_names_that_stay_texts() -> None:
    table = excel.format_of(RESOURCES["accounts"])
    account = {"id": "0e1d9a70-6c1b-4f6e-9b6a-000000000071", "name": "4711", "balance": "-12.5", "total-capacity": 3}
    assert table.piece([account]) == b'0e1d9a70-6c1b-4f6e-9b6a-000000000071;"=""4711""";-12,5;3\r\n'


OFFICE = shutil.which("soffice") or shutil.which("libreoffice")
OPEN = "{urn:oasis:names:tc:opendocument:xmlns:office:1.0}"
TABLE = "{urn:oasis:names:tc:opendocument:xmlns:table:1.0}"
TEXT = "{urn:oasis:names:tc:opendocument:xmlns:text:1.0}"
# Semicolons, double quotes, UTF-8, from the first line, no columns' formats, German, quoted cells are not all texts.
GERMAN = "CSV:59,34,76,1,,1031,false,true,false,false"


def opened(file: Path) -> list[list[tuple[str | None, str | None]]]:
    """Rows of cells as LibreOffice reads them: type, and value or text."""
    command = [str(OFFICE), f"-env:UserInstallation=file://{file.parent}/profile", "--headless", f"--infilter={GERMAN}"]
    subprocess.run(
        [*command, "--convert-to", "fods", "--outdir", str(file.parent), str(file)],
        check=True,
        capture_output=True,
        timeout=300,
    )
    root = ElementTree.parse(file.with_suffix(".fods")).getroot()
    return [[shown(cell) for cell in row.findall(f"{TABLE}table-cell")] for row in root.iter(f"{TABLE}table-row")]


def shown(cell: ElementTree.Element) -> tuple[str | None, str | None]:
    kind = cell.get(f"{OPEN}value-type")
    if kind == "string":
        return kind, "\n".join("".join(line.itertext()) for line in cell.findall(f"{TEXT}p"))
    return kind, cell.get(f"{OPEN}value") or cell.get(f"{OPEN}boolean-value")


@pytest.mark.slow
@pytest.mark.skipif(OFFICE is None, reason="LibreOffice is not installed")
def test_libreoffice_reads_numbers_as_numbers_and_texts_as_texts(tmp_path: Path) -> None:
    texts = [text for text, _ in TEXTS if text.strip() == text != "" and not set(text) & set("\n\t")]
    texts += ["\u041a\u0438\u0457\u0432 \u00e9 \U0001f600", 'a;"b"']
    file = tmp_path / "calls.csv"
    file.write_bytes(
        table(
            *(
                record(id=str(n), src_prefix_in=text, customer_price="-1234.5", duration=60 + n, success=True)
                for n, text in enumerate(texts, 1)
            )
        )
    )
    head, *rows = opened(file)
    assert head[0] == ("string", "id")
    assert len(rows) >= len(texts)
    for number, (text, row) in enumerate(zip(texts, rows, strict=False), 1):
        assert row[0] == ("float", str(number))
        assert row[2] == ("float", str(60 + number))
        assert row[4] == ("float", "-1234.5")
        assert row[5] == ("string", formats.cell(text))
