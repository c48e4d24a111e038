"""Documents are correct: links, settings, commands, and the numbers of cited rules."""

import re
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from scripts import configuration_page
from service import cli

ROOT = Path(__file__).parents[2]
PAGES = sorted((ROOT / "docs").glob("*.md"))
DOCUMENTS = sorted([*ROOT.glob("*.md"), *PAGES, ROOT / "examples" / "README.md", ROOT / "sql" / "README.md"])
MAX_README_WORDS = 700

# Where rules are cited by number: contract 5.6, (12.2), 0.1.13, E7, D5.
CITING = [
    path
    for folder in ("service", "sql", "tests", "config", "docs")
    for path in sorted((ROOT / folder).rglob("*"))
    if path.suffix in (".py", ".sql", ".md", ".toml", ".conf")
    and "golden" not in path.parts
    and "data" not in path.parts
]
SECTIONS = re.compile(r"\bcontract ((?:\d+(?:\.\d+)*)(?:(?:, | and )\d+(?:\.\d+)*)*)")
IN_BRACKETS = re.compile(r" \(([1-9]\d?\.\d{1,2})\)")
CLARIFICATION = re.compile(r"(?<![\d.])(0\.1\.[1-9]\d?)(?![\d.])")
DIFFERENCE = re.compile(r"\b(D[1-9]\d?)\b")
ERROR = re.compile(r"\b(E[1-9]\d?[a-c]?)\b")


def text(path: Path) -> str:
    return path.read_text(encoding="utf-8")


def name(path: Path) -> str:
    return str(path.relative_to(ROOT))


def keys(values: dict[str, Any], path: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    for key, value in values.items():
        if isinstance(value, dict):
            yield from keys(value, (*path, key))
        else:
            yield (*path, key)


def anchors(document: Path) -> set[str]:
    """The anchors that a renderer makes from the headings."""
    headings = re.findall(r"^#+ (.+)$", text(document), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


DEFAULTS = ROOT / "config" / "default.toml"
SETTINGS = sorted(keys(tomllib.loads(text(DEFAULTS))))


def test_the_page_of_settings_is_what_make_docs_writes() -> None:
    assert text(ROOT / "docs" / "configuration.md") == configuration_page.page(text(DEFAULTS))


@pytest.mark.parametrize("setting", SETTINGS, ids=".".join)
def test_every_setting_is_explained_with_its_environment_variable(setting: tuple[str, ...]) -> None:
    variable = f"CDR_API_{'__'.join(setting).upper()}"
    row = rf"^\| `{re.escape('.'.join(setting))}` \| `{variable}` \| `.+` \| \w.+\. \|$"
    assert re.search(row, text(ROOT / "docs" / "configuration.md"), re.MULTILINE)


def test_the_readme_is_short() -> None:
    assert len(text(ROOT / "README.md").split()) <= MAX_README_WORDS


@pytest.mark.parametrize("page", PAGES, ids=name)
def test_the_readme_leads_to_every_page(page: Path) -> None:
    assert f"](docs/{page.name})" in text(ROOT / "README.md")


@pytest.mark.parametrize("page", PAGES, ids=name)
def test_a_page_has_a_heading_and_says_first_whom_it_is_for(page: Path) -> None:
    assert re.match(r"# .+\n\nFor [a-z]", text(page))


@pytest.mark.parametrize("document", DOCUMENTS, ids=name)
def test_whatever_a_document_links_to_exists(document: Path) -> None:
    links = re.findall(r"\]\(([^)#:]*)(?:#([^)]*))?\)", text(document))
    targets = [(document.parent / target if target else document, anchor) for target, anchor in links]
    assert [target for target, _ in targets if not target.exists()] == []
    assert [anchor for target, anchor in targets if anchor and anchor not in anchors(target)] == []


@pytest.mark.parametrize("document", DOCUMENTS, ids=name)
def test_whatever_setting_a_document_names_there_is(document: Path) -> None:
    known = {f"CDR_API_{'__'.join(setting).upper()}" for setting in SETTINGS} | {
        "CDR_API_CONFIG",
        "CDR_API_",
        "CDR_API_TEST_CITUS_DSN",
    }
    known |= {"CDR_API_SERVICE_HOST", "CDR_API_PORT"}  # What Kubernetes sets, which are not settings.
    named = set(re.findall(r"CDR_API_[A-Z0-9_]*(?!\*)(?=[^A-Z0-9_*])", text(document)))
    assert named - known == set()
    paths = {".".join(setting[:length]) for setting in SETTINGS for length in range(1, len(setting) + 1)}
    dotted = re.findall(r"`((?:[a-z_0-9]+\.)+[a-z_0-9]+)`", text(document))
    assert {
        path for path in dotted if path.split(".")[0] in paths and not path.endswith((".py", ".conf"))
    } - paths == set()


@pytest.mark.parametrize("document", DOCUMENTS, ids=name)
def test_whatever_a_document_makes_is_a_target(document: Path) -> None:
    targets = set(re.findall(r"^([a-z-]+):", text(ROOT / "Makefile"), re.MULTILINE))
    assert set(re.findall(r"(?:^|`)make ([a-z-]+)", text(document), re.MULTILINE)) - targets == set()


@pytest.mark.parametrize("document", DOCUMENTS, ids=name)
def test_whatever_command_a_document_names_there_is(document: Path) -> None:
    commands = re.findall(r"(?:^|[`/( ])cdr-api ((?:database )?[a-z]+)(?=[\s`])(?! -)", text(document), re.MULTILINE)
    for command in {command for command in commands if command not in ("database", "is")}:
        with pytest.raises(SystemExit) as ended:
            cli.main([*command.split(), "--help"])
        assert ended.value.code == 0, command


@pytest.mark.parametrize("document", DOCUMENTS, ids=name)
def test_no_document_names_the_discontinued_program_of_compose(document: Path) -> None:
    assert re.findall(r"docker-compose(?!\.yml)", text(document)) == []


def rules() -> set[str]:
    """The numbers that have a heading, a row or an item in the two pages of rules."""
    contract, differences = text(ROOT / "docs" / "contract.md"), text(ROOT / "docs" / "differences.md")
    rows = re.findall(r"^\| (\S+) \|", contract + differences, re.MULTILINE)
    sections = re.findall(r"^#{2,3} (\d+(?:\.\d+)*)\.? ", contract, re.MULTILINE)
    items = re.split(r"^### 5\.4 .*$|^### 5\.5 .*$", contract, flags=re.MULTILINE)[1]
    values = [f"5.4.{number}" for number in re.findall(r"^(\d)\. ", items, re.MULTILINE)]
    groups = [row[:-1] for row in rows if re.fullmatch(r"E\d+[a-c]", row)]
    return {*rows, *sections, *values, *groups}


def cited(path: Path) -> set[str]:
    content = text(path)
    sections = [number for listed in SECTIONS.findall(content) for number in re.split(r", | and ", listed)]
    if path.suffix == ".py" and path.parts[-2] != "unit":
        sections += IN_BRACKETS.findall(content)
    if "service" in path.parts or "docs" in path.parts:
        sections += ERROR.findall(content)
    return {*sections, *CLARIFICATION.findall(content), *DIFFERENCE.findall(content)}


def test_every_rule_that_is_cited_by_its_number_has_a_place() -> None:
    known = rules()
    assert {f"D{number}" for number in range(1, 24)} | {"E7", "E12", "0.1.13", "5.6", "20", "21"} <= known
    dangling = {name(path): sorted(missing) for path in CITING if (missing := cited(path) - known)}
    assert dangling == {}


def test_the_code_cites_rules() -> None:
    assert cited(ROOT / "service" / "jsonapi" / "filters.py") >= {"5", "5.6"}
    assert cited(ROOT / "service" / "errors.py") >= {"12", "E1", "E12", "D2"}
