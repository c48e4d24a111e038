"""The Makefile without Python, with an old Python, and with an incomplete environment."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
# An interpreter that says it is of another version, and does all else.
OTHER = """#!/bin/sh
[ "$1" = -c ] || exec {python} "$@"
exec {python} -c 'import sys; sys.version_info = ({version}, "final", 0); exec(sys.argv[1])' "$2"
"""


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    folder = tmp_path / "checkout"
    folder.mkdir()
    for name in ("Makefile", "setup.cfg", "pyproject.toml"):
        shutil.copy(ROOT / name, folder)
    return folder


@pytest.fixture
def programs(tmp_path: Path) -> Path:
    """A PATH of its own: the usual tools without any Python."""
    folder = tmp_path / "programs"
    folder.mkdir()
    for name in ("cat", "echo", "expand", "id", "make", "rm", "sed", "sh", "touch"):
        found = shutil.which(name)
        assert found is not None
        (folder / name).symlink_to(found)
    return folder


def interpreter(programs: Path, name: str, *version: int) -> None:
    program = programs / name
    program.write_text(OTHER.format(python=sys.executable, version=", ".join(map(str, version))))
    program.chmod(0o755)


def make(checkout: Path, programs: Path, *words: str) -> subprocess.CompletedProcess[str]:
    known = {name: value for name, value in os.environ.items() if not name.startswith(("MAKE", "MFLAGS", "PYTHON"))}
    known["PATH"] = str(programs)
    return subprocess.run(["make", *words], cwd=checkout, env=known, capture_output=True, text=True, timeout=120)


@pytest.mark.parametrize("version", [(2, 7, 18), (3, 6, 15), (3, 10, 12)])
@pytest.mark.parametrize("goal", ["run", "test"])
def test_too_old_a_python_is_named_before_anything_is_made(
    checkout: Path, programs: Path, goal: str, version: tuple[int, ...]
) -> None:
    interpreter(programs, "python3", *version)
    ended = make(checkout, programs, goal)
    named = ".".join(map(str, version))
    wanted = f"Python 3.11 or later is required, this is {named}: make {goal} PYTHON=python3.12"
    assert ended.stderr.splitlines()[0] == wanted
    assert ended.returncode != 0
    assert "Creating" not in ended.stdout
    assert not (checkout / ".venv").exists()


def test_a_python_that_is_missing_is_named(checkout: Path, programs: Path) -> None:
    ended = make(checkout, programs, "run")
    assert ended.returncode != 0
    assert ended.stderr.splitlines()[0] == (
        "Python 3.11 or later is required, and python3 does not exist: make run PYTHON=/path/to/python3.12"
    )
    assert "other-python does not exist:" in make(checkout, programs, "run", "PYTHON=other-python").stderr


@pytest.mark.parametrize("newer", ["python3.11", "python3.12", "python3.13"])
def test_a_newer_python_is_found_beside_an_old_one(checkout: Path, programs: Path, newer: str) -> None:
    interpreter(programs, "python3", 3, 10, 12)
    interpreter(programs, newer, 3, 11, 0)
    assert f"{newer} -m venv .venv" in make(checkout, programs, "--dry-run", "run").stdout


@pytest.mark.slow
def test_an_environment_that_was_not_finished_or_moved_is_made_again(checkout: Path, programs: Path) -> None:
    interpreter(programs, "python3", *sys.version_info[:3])
    environment = checkout / ".venv"

    def made() -> bool:
        ended = make(checkout, programs, ".venv/made")
        assert ended.returncode == 0, ended.stderr
        return "Creating a virtual environment" in ended.stdout

    (environment / "bin").mkdir(parents=True)
    (environment / "bin" / "python").symlink_to(sys.executable)  # As an interrupted venv leaves it, without pip.
    assert made()
    assert (environment / "bin" / "pip").exists()
    assert not made()
    (environment / "made").unlink()
    assert made()
    (environment / "bin" / "python").unlink()  # As after an upgrade of the system.
    assert made()
    moved = checkout.with_name("moved")
    checkout.rename(moved)
    assert "Creating a virtual environment" in make(moved, programs, "--dry-run", "run").stdout


def test_help_lists_every_command(checkout: Path, programs: Path) -> None:
    listed = {line.split()[0] for line in make(checkout, programs, "help").stdout.splitlines()[1:]}
    assert {"run", "test", "test-all", "lint", "bench", "clean"} <= listed
    assert make(checkout, programs).stdout == make(checkout, programs, "help").stdout
