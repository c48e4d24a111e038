"""The private server starts, keeps its data, ends with its parent, and reports start failures clearly."""

import os
import pwd
import select
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import psycopg2
import pytest

from service.demo import postgres, privileges
from service.demo.postgres import EmbeddedPostgresError, Server, find_binaries

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[2]
SECONDS = 30

# A parent that says where its server is, and then waits to be killed.
PARENT = """
import sys
from pathlib import Path
from service.demo.postgres import Server
with Server.start(Path(sys.argv[1])) as server:
    print(server.pid, server.port, flush=True)
    sys.stdin.read()
"""

# Everything is imported before root steps down: its interpreter may be out of reach for others.
ORDINARY = """
import os, pwd, sys
from pathlib import Path
import psycopg2
from service.demo.postgres import Server
nobody = pwd.getpwnam("nobody")
os.setgroups([]), os.setgid(nobody.pw_gid), os.setuid(nobody.pw_uid)
with Server.start(Path(sys.argv[1])) as server:
    psycopg2.connect(server.dsn()).close()
    print("answered to", os.geteuid())
"""


@pytest.fixture
def folder() -> Iterator[Path]:
    """An empty folder."""
    with open_folder() as path:
        yield path


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    """A server that tests only ask."""
    with open_folder() as path, Server.start(path) as started:
        yield started


@pytest.fixture(scope="module")
def made() -> Iterator[Path]:
    """A folder in which a server has run; it is only copied."""
    with open_folder() as path:
        Server.start(path).stop()
        yield path


@pytest.fixture
def used(made: Path, folder: Path) -> Path:
    """A folder in which a server has run, so that the next one starts at once."""
    subprocess.run(["cp", "-a", f"{made}/.", folder], check=True)  # Python's own copies lose their owner.
    return folder


@contextmanager
def open_folder() -> Iterator[Path]:
    """A folder that nobody, too, can reach: pytest's own are closed to other users."""
    with tempfile.TemporaryDirectory() as name:
        Path(name).chmod(0o755)
        yield Path(name)


def ask(server: Server, statement: str) -> object:
    """Run a statement and return the first value it yields, if it yields any."""
    with closing(psycopg2.connect(server.dsn())) as connection:
        connection.autocommit = True
        with connection.cursor() as cursor:
            cursor.execute(statement)
            row = cursor.fetchone() if cursor.description else None
            return row and row[0]


def has_ended(pid: int) -> bool:
    """Wait for the end of a process that is not a child of this one."""
    try:
        handle = os.pidfd_open(pid)
    except ProcessLookupError:
        return True
    try:
        return bool(select.select([handle], [], [], SECONDS)[0])
    finally:
        os.close(handle)


def test_it_speaks_utf8_and_sorts_by_code_point(server: Server) -> None:
    assert ask(server, "SHOW server_encoding") == "UTF8"
    assert ask(server, "SELECT 'Z' < 'a' AND 'z' < 'ä' AND upper('ä') = 'Ä'") is True


def test_it_listens_on_the_loopback_only(server: Server) -> None:
    assert ask(server, "SHOW listen_addresses") == "127.0.0.1"
    assert ask(server, "SHOW unix_socket_directories") == ""


def test_a_database_is_part_of_the_url(server: Server) -> None:
    ask(server, 'CREATE DATABASE "a/b c"')
    with closing(psycopg2.connect(server.dsn("a/b c"))) as connection:
        assert connection.info.dbname == "a/b c"


def test_options_override_the_defaults(used: Path) -> None:
    with Server.start(used, options={"max_connections": "7"}) as server:
        assert ask(server, "SHOW max_connections") == "7"
        assert ask(server, "SHOW fsync") == "off"


def test_a_wrong_option_is_quoted_from_the_log(used: Path) -> None:
    with pytest.raises(EmbeddedPostgresError, match="no_such_option"):
        Server.start(used, options={"no_such_option": "1"})


def test_a_second_start_reuses_the_data(folder: Path) -> None:
    said: list[str] = []
    with Server.start(folder, progress=said.append) as server:
        ask(server, "CREATE TABLE kept AS SELECT 42 AS answer")
    assert len(said) == 1
    with Server.start(folder, progress=said.append) as server:
        assert ask(server, "SELECT answer FROM kept") == 42
    assert len(said) == 1


def test_stop_may_be_repeated_and_frees_the_port(used: Path) -> None:
    server = Server.start(used)
    server.stop()
    server.stop()
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", server.port))


def test_committed_data_survive_a_kill(used: Path) -> None:
    with Server.start(used, options={"synchronous_commit": "on"}) as server:
        ask(server, "CREATE TABLE kept AS SELECT 42 AS answer")
        server.kill()
    with Server.start(used) as server:
        assert ask(server, "SELECT answer FROM kept") == 42


def test_a_server_killed_by_a_stranger_starts_again(used: Path) -> None:
    with Server.start(used) as server, closing(psycopg2.connect(server.dsn())):
        os.kill(server.pid, signal.SIGKILL)
        with Server.start(used) as successor:
            assert ask(successor, "SELECT 1") == 1


def test_the_server_ends_with_its_parent(used: Path) -> None:
    command = [sys.executable, "-c", PARENT, str(used)]
    with subprocess.Popen(command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as parent:
        assert parent.stdout
        pid, port = map(int, parent.stdout.readline().split())
        parent.kill()
    assert has_ended(pid)
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", port))


def test_ctrl_c_reaches_only_the_parent_which_stops_the_server(used: Path) -> None:
    command = [sys.executable, "-c", PARENT, str(used)]
    with subprocess.Popen(
        command,
        cwd=ROOT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    ) as parent:
        assert parent.stdout
        pid = int(parent.stdout.readline().split()[0])
        assert os.getpgid(pid) != os.getpgid(parent.pid)
        os.killpg(parent.pid, signal.SIGINT)
        parent.communicate(timeout=SECONDS)
    assert has_ended(pid)
    assert "database system is shut down" in (used / "log").read_text()


def test_a_busy_folder_is_refused_and_its_server_lives_on(used: Path) -> None:
    with Server.start(used) as server:
        with pytest.raises(EmbeddedPostgresError, match="Another PostgreSQL server runs in"):
            Server.start(used)
        assert ask(server, "SELECT 1") == 1


def test_data_of_another_major_version_are_made_anew(used: Path) -> None:
    with Server.start(used) as server:
        ask(server, "CREATE TABLE lost ()")
    (used / "data" / "PG_VERSION").write_text("9\n")
    said: list[str] = []
    with Server.start(used, progress=said.append) as server:
        assert ask(server, "SELECT to_regclass('lost')") is None
    assert "PostgreSQL 9" in said[0]


def test_an_interrupted_initdb_is_begun_again(folder: Path) -> None:
    (folder / "data.unfinished").mkdir()
    (folder / "data.unfinished" / "PG_VERSION").write_text("15\n")
    with Server.start(folder) as server:
        assert ask(server, "SELECT 1") == 1


def test_a_port_that_somebody_was_quicker_to_take_is_given_up(used: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    free_port = postgres._free_port
    with socket.create_server(("127.0.0.1", 0)) as taken:
        ports = iter([taken.getsockname()[1]])
        monkeypatch.setattr(postgres, "_free_port", lambda: next(ports, None) or free_port())
        with Server.start(used) as server:
            assert ask(server, "SELECT 1") == 1


def test_a_system_without_c_utf8_gets_a_database_all_the_same(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(postgres, "LOCALES", ("--locale=no_SUCH.UTF-8", *postgres.LOCALES[1:]))
    with Server.start(folder) as server:
        assert ask(server, "SELECT 'Z' < 'a' AND 'z' < 'ä'") is True


def test_a_wrong_cdr_pg_bin_is_named(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CDR_PG_BIN", str(folder))
    with pytest.raises(EmbeddedPostgresError, match=f"CDR_PG_BIN is {folder}"):
        find_binaries()


def test_cdr_pg_bin_comes_before_all_others(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for program in ("initdb", "postgres"):
        (folder / program).touch(mode=0o755)
    monkeypatch.setenv("CDR_PG_BIN", str(folder))
    assert find_binaries() == folder


def test_programs_that_do_not_run_are_a_clear_error(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for program in ("initdb", "postgres"):
        (folder / program).write_text("#!/bin/sh\necho broken on purpose\nexit 1\n")
        (folder / program).chmod(0o755)
    monkeypatch.setenv("CDR_PG_BIN", str(folder))
    with pytest.raises(EmbeddedPostgresError, match="broken on purpose"):
        Server.start(folder / "server")


def test_a_folder_that_cannot_be_made_is_a_clear_error(folder: Path) -> None:
    (folder / "file").touch()
    with pytest.raises(EmbeddedPostgresError, match="cannot run in"):
        Server.start(folder / "file" / "server")


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become others")
def test_root_may_keep_its_data_below_a_folder_of_its_own(folder: Path) -> None:
    if not shutil.which("unshare") or subprocess.run(["unshare", "--user", "true"]).returncode:
        pytest.skip("user namespaces are forbidden here")
    folder.chmod(0o700)
    with Server.start(folder / "below") as server:
        assert ask(server, "SELECT 1") == 1


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become others")
def test_root_without_namespaces_runs_it_as_nobody(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def forbidden(alias: int) -> None:
        raise PermissionError("unshare")

    monkeypatch.setattr(privileges, "_enter_namespace", forbidden)
    with Server.start(folder) as server:
        assert ask(server, "SELECT 1") == 1
        assert Path(f"/proc/{server.pid}").stat().st_uid == pwd.getpwnam("nobody").pw_uid


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become others")
def test_an_ordinary_user_needs_nothing(folder: Path) -> None:
    binaries = find_binaries()
    if any(path.stat().st_mode & 0o005 != 0o005 for path in (binaries, *binaries.parents)):
        pytest.skip("the binaries are out of reach for others")
    nobody = pwd.getpwnam("nobody")
    os.chown(folder, nobody.pw_uid, nobody.pw_gid)
    said = subprocess.check_output([sys.executable, "-c", ORDINARY, str(folder)], cwd=ROOT, text=True)
    assert said == f"answered to {nobody.pw_uid}\n"
    assert (folder / "data").stat().st_uid == nobody.pw_uid
