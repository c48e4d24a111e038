"""The recorded corpus of the reference, replayed against the program as an operator starts it."""

import json
import re
import signal
import subprocess
import sys

import pytest

from tests.conftest import GOLDEN, GOLDEN_SECRET, Databases
from tests.programs import on_database, serving

HIDDEN = json.loads((GOLDEN / "golden_hidden.config.json").read_text())


@pytest.mark.parametrize(
    ("corpus", "settings"),
    [
        ("golden_dev.jsonl", {}),
        (
            "golden_hidden_dev.jsonl",
            {
                "RESOURCES__INCOMING_CDR_HIDE_FIELDS": json.dumps(HIDDEN["incoming_cdr_hide_fields"]),
                "RESOURCES__OUTGOING_CDR_HIDE_FIELDS": json.dumps(HIDDEN["outgoing_cdr_hide_fields"]),
                "RECORDINGS__FORMAT": HIDDEN["rec_format"],
            },
        ),
    ],
)
def test_every_recorded_request_is_answered_as_the_reference_did(
    postgres: Databases, golden_database: str, corpus: str, settings: dict[str, str]
) -> None:
    entries = (GOLDEN / corpus).read_text(encoding="utf-8").count("\n")
    dsn = postgres.dsn(golden_database)
    known = on_database(dsn, AUTH__SECRETS=json.dumps([GOLDEN_SECRET]))
    with serving(**known, **settings) as program:
        replay = [sys.executable, str(GOLDEN / "replay.py"), "--golden", str(GOLDEN / corpus)]
        where = ["--base-url", program.url, "--tokens", str(GOLDEN / "tokens.json")]
        run = subprocess.run([*replay, *where], capture_output=True, text=True, timeout=120, check=False)
        assert re.search(rf"^{entries} passed, 0 failed$", run.stdout, re.MULTILINE), run.stdout[-4000:]
        assert program.end(signal.SIGTERM) == 0
