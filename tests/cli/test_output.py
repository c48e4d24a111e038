"""Targets of `cdr-api export`: files, devices, pipes and links, and the state after an abort."""

import json
import os
import signal
import stat
import subprocess
import time
from pathlib import Path

import pytest

from tests.conftest import Data
from tests.programs import SERVICE, environment, on_database, run

CALLS = 3
HEADING = "id,duration"


@pytest.fixture
def known(data: Data) -> dict[str, str]:
    data.customer(7)
    for id in range(1, CALLS + 1):
        data.call(id, vendor_id=7, duration=id)
    return on_database(data.dsn, LOG__LEVEL="error")


def words(output: Path | str, *more: str) -> list[str]:
    asked = ["--query", "fields[incoming-cdrs]=duration&sort=id", "--format", "csv", "--output", str(output), *more]
    return ["export", "incoming-cdrs", "--api-access", "7", *asked]


def whole(text: str) -> bool:
    return text.split() == [HEADING, *(f"{id},{id}" for id in range(1, CALLS + 1))]


def test_a_device_stays_one(known: dict[str, str], tmp_path: Path) -> None:
    device = tmp_path / "null"
    try:
        os.mknod(device, stat.S_IFCHR | 0o666, os.stat("/dev/null").st_rdev)
    except PermissionError:
        device = Path("/dev/null")  # Only root makes devices; another user could not replace this one.
    ended = run(words(device), **known)
    assert (ended.returncode, ended.stderr) == (0, f"{CALLS} records to {device}\n")
    assert stat.S_ISCHR(device.stat().st_mode)


def test_a_named_pipe_is_written_and_stays_one(known: dict[str, str], tmp_path: Path) -> None:
    pipe = tmp_path / "pipe.csv"
    os.mkfifo(pipe)
    with subprocess.Popen(["cat", pipe], stdout=subprocess.PIPE, text=True) as reader:
        assert run(words(pipe), **known).returncode == 0
        assert whole(reader.communicate(timeout=30)[0])
    assert stat.S_ISFIFO(pipe.stat().st_mode)


@pytest.mark.parametrize("name", ["-", "/dev/stdout", "/dev/fd/1", "/proc/self/fd/1"])
def test_every_name_of_standard_output_is_written_straight(known: dict[str, str], tmp_path: Path, name: str) -> None:
    assert whole(run(words(name), **known).stdout)
    file = tmp_path / "appended.csv"
    file.write_text("before\n")
    with file.open("a") as output:
        subprocess.run([*SERVICE, *words(name)], env=environment(**known), stdout=output, check=True, timeout=60)
    assert file.read_text().startswith(f"before\n{HEADING}")


@pytest.mark.parametrize("there", [True, False])
def test_a_symbolic_link_stays_and_what_it_leads_to_is_written(
    known: dict[str, str], tmp_path: Path, there: bool
) -> None:
    target, link = tmp_path / "other" / "real.csv", tmp_path / "link.csv"
    target.parent.mkdir()
    if there:
        target.write_text("old")
    link.symlink_to(target)
    assert run(words(link), **known).returncode == 0
    assert link.is_symlink()
    assert whole(target.read_text())
    assert sorted(path.name for path in tmp_path.rglob("*")) == ["link.csv", "other", "real.csv"]


def test_permissions_are_those_of_the_old_file_or_of_a_new_one(known: dict[str, str], tmp_path: Path) -> None:
    old, new, plain = tmp_path / "old.csv", tmp_path / "new.csv", tmp_path / "plain"
    old.touch()
    old.chmod(0o640)
    plain.touch()
    for output in (old, new):
        assert run(words(output), **known).returncode == 0
    assert stat.S_IMODE(old.stat().st_mode) == 0o640
    assert stat.S_IMODE(new.stat().st_mode) == stat.S_IMODE(plain.stat().st_mode)


@pytest.mark.parametrize("name", ["missing/x.csv", ".", "loop.csv"])
def test_what_cannot_be_written_is_named(known: dict[str, str], tmp_path: Path, name: str) -> None:
    (tmp_path / "loop.csv").symlink_to("loop.csv")
    ended = run(words(tmp_path / name), **known)
    assert ended.returncode == 1
    assert ended.stderr.startswith(f"cdr-api: {tmp_path / name}: ")
    assert [path.name for path in tmp_path.iterdir()] == ["loop.csv"]


def test_a_reader_that_has_enough_ends_it_without_a_word(known: dict[str, str]) -> None:
    shown = json.dumps(["x" * 32] * 3000)
    for command in (words("-"), ["config"]):
        known_also = {**known, "AUTH__SECRETS": shown} if command == ["config"] else known
        with subprocess.Popen(
            [*SERVICE, *command], env=environment(**known_also), stdout=subprocess.PIPE, stderr=subprocess.PIPE
        ) as process:
            assert process.stdout is not None
            process.stdout.close()
            assert process.stderr is not None
            assert process.stderr.read() == b""
        assert process.returncode == 128 + signal.SIGPIPE


@pytest.fixture
def many(data: Data, known: dict[str, str]) -> dict[str, str]:
    """So many calls that an export takes long enough to be met at work."""
    data.execute(
        "INSERT INTO cdr.cdr (id, time_start, vendor_id, duration)"
        " SELECT n, now() - interval '1 hour', 7, 1 FROM generate_series(1000, 400000) AS n"
    )
    return known


def parts(folder: Path) -> list[Path]:
    return [path for path in folder.glob("*.part") if path.stat().st_size > 10_000]


def begun(known: dict[str, str], output: Path, count: int) -> subprocess.Popen[str]:
    """An export that has written the first part of its file; `count` files are unfinished then."""
    process = subprocess.Popen([*SERVICE, *words(output)], env=environment(**known), stderr=subprocess.PIPE, text=True)
    end = time.monotonic() + 60
    while len(parts(output.parent)) < count:
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < end
        time.sleep(0.01)
    return process


def test_a_statement_that_takes_too_long_is_one_line(data: Data, known: dict[str, str], tmp_path: Path) -> None:
    with data.locked():
        ended = run(words(tmp_path / "calls.csv"), **known, DATABASES__STATEMENT_TIMEOUT="0.1")
    assert ended.returncode == 1
    assert ended.stderr.startswith("cdr-api: The query took too long.")
    assert len(ended.stderr.splitlines()) == 1
    assert list(tmp_path.iterdir()) == []


@pytest.mark.slow
@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 143), (signal.SIGHUP, 129), (signal.SIGINT, 130)])
def test_a_signal_leaves_the_old_file_and_nothing_else(
    many: dict[str, str], tmp_path: Path, number: signal.Signals, code: int
) -> None:
    output = tmp_path / "calls.csv"
    output.write_text("old")
    with begun(many, output, 1) as process:
        process.send_signal(number)
        _, said = process.communicate(timeout=30)
    assert (process.returncode, said) == (code, "")
    assert {path.name: path.read_text() for path in tmp_path.iterdir()} == {"calls.csv": "old"}


@pytest.mark.slow
def test_two_exports_to_one_name_do_not_meet(many: dict[str, str], tmp_path: Path) -> None:
    output = tmp_path / "calls.csv"
    running = [begun(many, output, count) for count in (1, 2)]
    for process in running:
        _, said = process.communicate(timeout=120)
        assert (process.returncode, said.split()[0]) == (0, str(399_001 + CALLS))
    with output.open() as lines:
        assert len(set(lines)) == 399_001 + CALLS + 1
    assert list(tmp_path.iterdir()) == [output]
