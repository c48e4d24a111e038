"""A real PgBouncer in front of a real server."""

import os
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from psycopg2.extensions import make_dsn, parse_dsn

from tests.programs import free_port

PROGRAM = shutil.which("pgbouncer") or shutil.which("pgbouncer", path="/usr/sbin")

CONFIGURATION = """
[databases]
* = host={host} port={port}
[pgbouncer]
listen_addr = 127.0.0.1
listen_port = {listen}
unix_socket_dir =
auth_type = any
pool_mode = {mode}
default_pool_size = {size}
server_login_retry = 1
logfile = {folder}/log
{more}
"""


@contextmanager
def pooler(folder: Path, dsn: str, mode: str, size: int = 4, more: str = "") -> Iterator[str]:
    """The DSN of the same database through PgBouncer in a pool mode; `more` are lines of its configuration."""
    assert PROGRAM, "PgBouncer is not installed"
    server, listen = parse_dsn(dsn), free_port()
    target = f"{dsn.rpartition('/')[2]}"
    more = f"{more}\n[databases]\n{target} = host={server['host']} port={server['port']} user={server['user']}"
    configuration = folder / "pgbouncer.ini"
    text = CONFIGURATION.format(
        host=server["host"], port=server["port"], listen=listen, mode=mode, size=size, folder=folder, more=more
    )
    configuration.write_text(text)
    ordinary = ["-u", "nobody"] if os.geteuid() == 0 else []
    for path in (folder, *list(folder.parents)[:3]):
        if path.stat().st_uid == os.geteuid():
            path.chmod(0o777 if path == folder else 0o755)
    process = subprocess.Popen([PROGRAM, *ordinary, str(configuration)], stderr=subprocess.DEVNULL)
    try:
        _wait_for(listen, process)
        yield make_dsn(dsn, host="127.0.0.1", port=listen)
    finally:
        process.terminate()
        process.wait(timeout=30)


def _wait_for(port: int, process: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline and process.poll() is None:
        try:
            socket.create_connection(("127.0.0.1", port), timeout=1).close()
        except OSError:
            time.sleep(0.01)
        else:
            return
    raise AssertionError("PgBouncer did not start")
