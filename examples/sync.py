"""Keeps a copy of the calls in SQLite, without missing or repeating late calls (docs/sync.md)."""

import json
import re
import sqlite3
import sys
import time
from collections.abc import Callable, Iterable, Sequence
from contextlib import closing
from datetime import UTC, datetime, timedelta
from typing import Any, NamedTuple

from cdr_client import Client, run

TYPE = "incoming-cdrs"
LAG = 300.0  # Seconds: longer than any transaction that writes calls, plus the replication lag.
REACH = timedelta(days=3)  # Longer than any call, plus the time until it is stored.

TABLES = """
CREATE TABLE IF NOT EXISTS calls (id INTEGER PRIMARY KEY, attributes TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS polls (started REAL NOT NULL, ended REAL NOT NULL, newest INTEGER NOT NULL);
"""


class Poll(NamedTuple):
    """The start and end time of a poll, and the largest id known at its end."""

    started: float
    ended: float
    newest: int


def settled(polls: Sequence[Poll]) -> Poll:
    """The last poll that cannot have missed a call. The next poll requests calls with ids after its newest id.

    The id of a call that the latest poll did not see was assigned less than LAG before that poll started, or later, so
    it is larger than all ids of the returned poll.
    """
    return max((poll for poll in polls if poll.ended <= polls[-1].started - LAG), default=NOTHING)


NOTHING = Poll(0, 0, -(2**63))


class Copy:
    """The copy, with a record of its polls."""

    def __init__(self, client: Client, path: str, clock: Callable[[], float] = time.time) -> None:
        self._client, self._clock = client, clock
        self._database = sqlite3.connect(path)
        self._database.executescript(TABLES)

    def poll(self) -> int:
        """Fetches new calls in one transaction. Returns their number."""
        polls = [Poll(*found) for found in self._database.execute("SELECT * FROM polls ORDER BY started")]
        started, base = self._clock(), settled(polls)
        with self._database:
            before = self._count()
            found = map(row, self._since(base.newest, started))
            self._database.executemany("INSERT OR IGNORE INTO calls VALUES (?, ?)", found)
            [(newest,)] = self._database.execute("SELECT coalesce(max(id), ?) FROM calls", (NOTHING.newest,))
            self._database.execute("DELETE FROM polls WHERE ended < ?", (base.ended,))
            self._database.execute("INSERT INTO polls VALUES (?, ?, ?)", (started, self._clock(), newest))
            return self._count() - before

    def close(self) -> None:
        self._database.close()

    def _since(self, after: int, now: float) -> Iterable[dict[str, Any]]:
        start = datetime.fromtimestamp(now, UTC) - REACH
        asked = {"filter[id_gt]": str(after), "filter[time_start_gteq]": start.isoformat(), "sort": "id"}
        return self._client.records(TYPE, asked)

    def _count(self) -> int:
        [(count,)] = self._database.execute("SELECT count(*) FROM calls")
        return int(count)


def row(record: dict[str, Any]) -> tuple[int, str]:
    return int(record.pop("id")), json.dumps(record)


def main() -> None:
    """`python examples/sync.py FILE [SECONDS]` polls once, or every SECONDS until it is interrupted."""
    if len(sys.argv) not in (2, 3) or not all(re.fullmatch(r"\d+(\.\d+)?", word) for word in sys.argv[2:]):
        sys.exit("usage: python examples/sync.py FILE [SECONDS]")
    with closing(Copy(Client.from_environment(), sys.argv[1])) as copy:
        while True:
            print(f"{copy.poll()} new calls", flush=True)
            if len(sys.argv) < 3:
                return
            time.sleep(float(sys.argv[2]))


if __name__ == "__main__":
    run(main)
