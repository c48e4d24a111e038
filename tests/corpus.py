"""The recorded corpus of the reference: its rows, and its requests replayed against the program."""

import csv
import json
import re
import signal
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tests.programs import serving

GOLDEN = Path(__file__).parent / "golden"
GOLDEN_SECRET = json.loads((GOLDEN / "tokens.json").read_text())["secret"]
HIDDEN = json.loads((GOLDEN / "golden_hidden.config.json").read_text())

CORPORA = [
    ("golden_dev.jsonl", {}),
    (
        "golden_hidden_dev.jsonl",
        {
            "RESOURCES__INCOMING_CDR_HIDE_FIELDS": json.dumps(HIDDEN["incoming_cdr_hide_fields"]),
            "RESOURCES__OUTGOING_CDR_HIDE_FIELDS": json.dumps(HIDDEN["outgoing_cdr_hide_fields"]),
            "RECORDINGS__FORMAT": HIDDEN["rec_format"],
        },
    ),
]


def replay(corpus: str, **settings: str) -> None:
    """Asserts that the program, with these settings, answers every request of a corpus as the reference did."""
    entries = (GOLDEN / corpus).read_text(encoding="utf-8").count("\n")
    with serving(AUTH__SECRETS=json.dumps([GOLDEN_SECRET]), **settings) as program:
        words = [sys.executable, str(GOLDEN / "replay.py"), "--golden", str(GOLDEN / corpus)]
        where = ["--base-url", program.url, "--tokens", str(GOLDEN / "tokens.json")]
        run = subprocess.run([*words, *where], capture_output=True, text=True, timeout=240, check=False)
        assert re.search(rf"^{entries} passed, 0 failed$", run.stdout, re.MULTILINE), run.stdout[-4000:]
        assert program.end(signal.SIGTERM) == 0


def copy_rows(cursor: Any, elsewhere: Mapping[str, str] = {}) -> None:
    """Copies the corpus's rows into the tables of both databases, or some of them into others."""
    for path in sorted((GOLDEN / "dataset").glob("*.csv")):
        with path.open(encoding="utf-8", newline="") as file:
            columns = ", ".join(next(csv.reader(file)))
            file.seek(0)
            table = elsewhere.get(path.stem, path.stem)
            cursor.copy_expert(rf"COPY {table} ({columns}) FROM STDIN WITH (FORMAT csv, HEADER, NULL '\N')", file)
