"""What surrounds the code: containers, packaging and documents that say what there is."""

import re
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from configparser import ConfigParser
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]
DOCUMENTS = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/*.md")])
DATA = (ROOT / "config" / "default.toml", *(ROOT / "config" / "docs").iterdir())
PARTS = sorted([*(ROOT / "sql").rglob("*.sql"), *DATA])


def setup(section: str) -> dict[str, str]:
    parser = ConfigParser(delimiters=("=",))
    parser.read(ROOT / "setup.cfg", encoding="utf-8")
    return dict(parser[section])


def text(name: str) -> str:
    return (ROOT / name).read_text(encoding="utf-8")


def repository_files() -> list[Path]:
    """What is committed, or would be."""
    if not (ROOT / ".git").exists():
        pytest.skip("this is no clone")
    command = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    listed = subprocess.run(command, cwd=ROOT, capture_output=True, check=True, text=True).stdout
    return [ROOT / name for name in listed.split("\0") if name and (ROOT / name).is_file()]


def settings(values: dict[str, Any], path: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    for key, value in values.items():
        if isinstance(value, dict):
            yield from settings(value, (*path, key))
        else:
            yield (*path, key)


SETTINGS = sorted(settings(tomllib.loads(text("config/default.toml"))))
REQUIREMENTS = [
    line
    for value in (setup("options")["install_requires"], *setup("options.extras_require").values())
    for line in value.split("\n")
    if line and not line.startswith("cdr-api[")
]
DEPENDENCIES = sorted({re.split(r"[ \[<>=!~;]", requirement)[0] for requirement in REQUIREMENTS})


def test_the_compose_file_is_valid() -> None:
    command = [sys.executable, "-m", "check_jsonschema", "--builtin-schema", "vendor.compose-spec"]
    check = subprocess.run([*command, "docker-compose.yml"], cwd=ROOT, capture_output=True, text=True)
    assert check.returncode == 0, check.stdout + check.stderr


def test_whatever_the_compose_file_mounts_exists() -> None:
    mounted = re.findall(r"^\s+- \./([^:\s]+):", text("docker-compose.yml"), re.MULTILINE)
    assert mounted
    assert [name for name in mounted if not (ROOT / name).exists()] == []


def test_whatever_the_image_copies_exists_and_is_not_ignored() -> None:
    copied = re.findall(r"^COPY (?!--from)(.+) \S+$", text("Dockerfile"), re.MULTILINE)
    names = [name for line in copied for name in line.split()]
    assert names
    assert [name for name in names if not (ROOT / name).exists()] == []
    assert set(names) == set(re.findall(r"^!(.+)$", text(".dockerignore"), re.MULTILINE))


@pytest.mark.parametrize("part", PARTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_every_data_file_is_installed_under_its_own_folder(part: Path) -> None:
    folder = part.parent.relative_to(ROOT)
    patterns = setup("options.data_files").get(f"share/cdr-api/{folder}", "").split()
    assert part in [path for pattern in patterns for path in ROOT.glob(pattern)]


@pytest.mark.parametrize("dependency", DEPENDENCIES)
def test_every_dependency_has_its_reason(dependency: str) -> None:
    assert re.search(rf"^\| {re.escape(dependency)}( \(`[\w`, ]+`\))? \| \S", text("ARCHITECTURE.md"), re.MULTILINE)


@pytest.mark.parametrize("setting", SETTINGS, ids=".".join)
def test_every_setting_is_explained_with_its_environment_variable(setting: tuple[str, ...]) -> None:
    variable = f"CDR_API_{'__'.join(setting).upper()}"
    assert f"| `{'.'.join(setting)}` | `{variable}` |" in text("README.md")


@pytest.mark.parametrize("command", ["make run", "make test", "make bench", "make bench-quick"])
def test_the_readme_names_the_command(command: str) -> None:
    target = command.removeprefix("make ")
    assert f"`{command}`" in text("README.md")
    assert re.search(rf"^{target}:", text("Makefile"), re.MULTILINE)


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_whatever_a_document_links_to_exists(document: Path) -> None:
    links = re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", document.read_text(encoding="utf-8"))
    assert [link for link in links if not (document.parent / link).exists()] == []


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_whatever_setting_a_document_names_there_is(document: Path) -> None:
    known = {f"CDR_API_{'__'.join(setting).upper()}" for setting in SETTINGS} | {"CDR_API_CONFIG", "CDR_API_"}
    named = set(re.findall(r"CDR_API_[A-Z0-9_]*(?!\*)(?=[^A-Z0-9_*])", document.read_text(encoding="utf-8")))
    assert named - known == set()


def test_no_file_names_a_folder_of_one_machine() -> None:
    machine = re.compile(rb"(?<![\w.}/-])/(home|root|Users|work)/[\w.]")
    assert [path for path in repository_files() if machine.search(path.read_bytes())] == []
