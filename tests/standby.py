"""A hot standby of a server, created by pg_basebackup."""

import os
import subprocess
from contextlib import closing
from pathlib import Path
from typing import Any

import psycopg2

from service.demo.postgres import Server, find_binaries


def execute(dsn: str, statement: str) -> Any:
    with closing(psycopg2.connect(dsn)) as connection:
        connection.autocommit = True
        with connection.cursor() as cursor:
            cursor.execute(statement)
            return cursor.fetchall() if cursor.description else None


class Standby:
    """A hot standby of the primary, on data of its own."""

    def __init__(self, primary: Server, folder: Path) -> None:
        command = [find_binaries() / "pg_basebackup", "-D", folder / "data", "-R", "-X", "stream", "-c", "fast"]
        subprocess.run([*command, "-d", primary.dsn()], check=True, env={**os.environ, "LC_ALL": "C"})
        self.server = Server.start(folder, options={"max_standby_streaming_delay": "0"})
        self.dsn = self.server.dsn()
