"""The files around the code: containers, packaging, and the CI workflow."""

import re
import subprocess
import sys
from configparser import ConfigParser
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from ruamel.yaml import YAML

from scripts import lowest_versions

ROOT = Path(__file__).parents[2]


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


REQUIREMENTS = [
    line
    for value in (setup("options")["install_requires"], *setup("options.extras_require").values())
    for line in value.split("\n")
    if line and not line.startswith("cdr-api[")
]
TARGETS = set(re.findall(r"^([a-z-]+):", text("Makefile"), re.MULTILINE))
WORKFLOW = ".github/workflows/test.yml"
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


def test_the_image_is_labelled_with_the_version_and_licence_of_the_distribution() -> None:
    labels = dict(re.findall(r'org\.opencontainers\.image\.(\w+)="((?:[^"\\]|\\.)*)"', text("Dockerfile")))
    assert (labels["version"], labels["licenses"]) == (setup("metadata")["version"], setup("metadata")["license"])
    assert text("LICENSE").startswith(f"{labels['licenses']} License")


def test_the_lock_has_every_requirement_of_the_image_in_an_allowed_version() -> None:
    locked = dict(re.findall(r"^([\w.-]+)==([\w.+]+)", text("requirements.lock"), re.MULTILINE))
    extras = setup("options.extras_require")
    for line in f"{setup('options')['install_requires']}\n{extras['docs']}\n{extras['s3']}".split("\n"):
        if line:
            requirement = Requirement(line)
            assert requirement.specifier.contains(locked[canonicalize_name(requirement.name)]), line
    assert "setuptools" in locked  # The image builds without an isolated environment.


def test_the_lock_names_no_index() -> None:
    assert "://" not in text("requirements.lock")


def test_the_lowest_versions_are_the_floors_of_every_requirement() -> None:
    pinned = dict(line.split("==") for line in lowest_versions.constraints(text("setup.cfg")))
    assert set(pinned) == set(DEPENDENCIES)
    for line in REQUIREMENTS:
        requirement = Requirement(line)
        assert requirement.specifier.contains(pinned[requirement.name]), line


def test_a_requirement_without_a_floor_is_refused() -> None:
    with pytest.raises(ValueError, match="'tzdata' has no lowest version"):
        list(lowest_versions.constraints("[options]\ninstall_requires =\n    tzdata\n[options.extras_require]\n"))


def test_the_workflow_is_valid_and_runs_only_targets_of_the_makefile() -> None:
    command = [sys.executable, "-m", "check_jsonschema", "--builtin-schema", "vendor.github-workflows"]
    check = subprocess.run([*command, WORKFLOW], cwd=ROOT, capture_output=True, text=True)
    assert check.returncode == 0, check.stdout + check.stderr
    jobs = YAML(typ="safe").load(ROOT / WORKFLOW)["jobs"]
    commands = [step["run"] for job in jobs.values() for step in job["steps"] if "run" in step]
    assert len(commands) >= len(jobs)
    for run in commands:
        make, target, *_ = run.split()
        assert (make, target in TARGETS) == ("make", True), run


def test_the_hooks_before_a_commit_are_the_checks_of_make_lint() -> None:
    (local,) = YAML(typ="safe").load(ROOT / ".pre-commit-config.yaml")["repos"]
    entries = {hook["entry"].removeprefix(".venv/bin/") for hook in local["hooks"]}
    checked = re.search(r"^lint:.*\n((?:\t.+\n)+)", text("Makefile"), re.MULTILINE)
    assert checked
    lint = {line.removeprefix("\t$(BIN)/").removesuffix(" .") for line in checked[1].splitlines()}
    assert entries == lint


@pytest.mark.parametrize("name", ["sql", "config"])
def test_the_package_links_to_the_data_that_it_is_built_with(name: str) -> None:
    assert (ROOT / "service" / "data" / name).resolve() == ROOT / name
    assert (ROOT / "service" / "py.typed").exists()


@pytest.mark.parametrize("dependency", DEPENDENCIES)
def test_every_dependency_has_its_reason(dependency: str) -> None:
    assert re.search(rf"^\| {re.escape(dependency)}( \(`[\w`, ]+`\))? \| \S", text("ARCHITECTURE.md"), re.MULTILINE)


def test_no_file_names_a_folder_of_one_machine() -> None:
    machine = re.compile(rb"(?<![\w.}/-])/(home|root|Users|work)/[\w.]")
    assert [path for path in repository_files() if machine.search(path.read_bytes())] == []
