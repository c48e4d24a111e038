"""The distribution is built and installed in each way that pip offers, and runs outside of the checkout."""

import json
import os
import shutil
import signal
import subprocess
import sys
import urllib.request
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from tests.conftest import SECRET, Data, Databases
from tests.programs import Program, environment, on_database

ROOT = Path(__file__).parents[2]
API = "/api/rest/customer/v1"
LEFT_OUT = (
    ".git",
    ".venv*",
    ".demo",
    ".bench",
    ".*_cache",
    ".hypothesis",
    "build",
    "dist",
    "*.egg-info",
    "__pycache__",
)
MAIN = "import sys\nfrom service.cli import main\nsys.exit(main())\n"

pytestmark = pytest.mark.slow


def done(command: Sequence[str | Path], cwd: Path, variables: Mapping[str, str] = os.environ) -> str:
    """Run what must succeed, and give what it printed."""
    ended = subprocess.run(command, cwd=cwd, env=variables, capture_output=True, text=True, timeout=600)
    assert ended.returncode == 0, ended.stdout + ended.stderr
    return ended.stdout


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the checkout, because building leaves files behind."""
    copy = tmp_path_factory.mktemp("source") / "cdr-api"
    shutil.copytree(ROOT, copy, symlinks=True, ignore=shutil.ignore_patterns(*LEFT_OUT))
    return copy


@pytest.fixture(scope="module")
def built(source: Path) -> Path:
    """A folder with an sdist, and the wheel that was built from it."""
    done([sys.executable, "-m", "build", "--outdir", "dist", "."], source)
    return source / "dist"


@dataclass(frozen=True)
class Installed:
    """A program that was installed: its command, and the environment variables by which it is found."""

    command: list[str]
    variables: dict[str, str] = field(default_factory=dict)


@pytest.fixture
def installed(request: pytest.FixtureRequest, tmp_path: Path) -> Installed:
    """The program, installed in the way that the test's parameter names."""
    way: str = request.param
    bin_ = tmp_path / "environment" / "bin"
    visible = ["--system-site-packages"] if way == "user" else []  # Without it pip refuses --user.
    done([sys.executable, "-m", "venv", *visible, bin_.parent], tmp_path)
    if way in ("wheel", "sdist"):
        (what,) = request.getfixturevalue("built").glob("*.whl" if way == "wheel" else "*.tar.gz")
    else:
        what = request.getfixturevalue("source")
    pip = [bin_ / "pip", "install", "--quiet", "--disable-pip-version-check"]
    if way == "user":
        base = {"PYTHONUSERBASE": str(tmp_path / "base")}
        done([*pip, "--user", f"{what}[docs]"], tmp_path, os.environ | base)
        return Installed([str(tmp_path / "base" / "bin" / "cdr-api")], base)
    if way in ("target", "folder"):
        target = tmp_path / "app"
        done([*pip, "--target", target, f"{what}[docs]"], tmp_path)
        if way == "target":
            return Installed([str(bin_ / "python"), "-m", "service"], {"PYTHONPATH": str(target)})
        (target / "__main__.py").write_text(MAIN)
        return Installed([str(bin_ / "python"), str(target)])
    done([*pip, f"{what}[docs]"], tmp_path)
    return Installed([str(bin_ / "cdr-api")])


@pytest.fixture
def elsewhere(tmp_path: Path) -> Iterator[Path]:
    """A working folder from which nothing of the checkout is found."""
    folder = tmp_path / "elsewhere"
    folder.mkdir()
    yield folder
    assert list(folder.iterdir()) == []


@pytest.mark.parametrize("installed", ["wheel", "sdist", "checkout", "user", "target", "folder"], indirect=True)
def test_it_prepares_a_database_and_serves(installed: Installed, postgres: Databases, elsewhere: Path) -> None:
    data = Data(postgres, postgres.create())
    known = environment(
        **on_database(data.dsn), AUTH__SECRETS=json.dumps([SECRET]), LISTEN__PORT="0", LOG__FORMAT="json"
    )
    known = {name: value for name, value in known.items() if name != "PYTHONPATH"} | installed.variables
    config = done([*installed.command, "config"], elsewhere, known)
    assert json.loads(config)["listen"]["keepalive_timeout"] == 75.0
    assert "cdr: 03_cdr.sql" in done([*installed.command, "database", "apply"], elsewhere, known).splitlines()
    data.customer(7)
    token = done([*installed.command, "token", "--api-access", "7"], elsewhere, known).strip()
    serve = [*installed.command, "serve"]
    process = subprocess.Popen(serve, cwd=elsewhere, env=known, stderr=subprocess.PIPE, text=True)
    program = Program(process)
    try:
        with urllib.request.urlopen(f"{program.url}{API}/docs", timeout=10) as page:
            assert b"swagger-ui" in page.read()
        with urllib.request.urlopen(f"{program.url}{API}/openapi.json", timeout=10) as description:
            assert "/cdrs" in json.load(description)["paths"]
        request = urllib.request.Request(f"{program.url}{API}/cdrs", headers={"Authorization": token})
        with urllib.request.urlopen(request, timeout=10) as calls:
            assert json.load(calls)["data"] == []
        assert program.end(signal.SIGTERM) == 0
    finally:
        if process.poll() is None:
            process.kill()
            process.wait()
        program.joined()


def test_a_program_that_imports_it_sees_its_types(built: Path, tmp_path: Path) -> None:
    (wheel,) = built.glob("*.whl")
    shutil.unpack_archive(wheel, tmp_path, "zip")
    assert (tmp_path / "service" / "py.typed").exists()
