"""Reports the layouts that are skipped, with the reason."""

import os

import pytest

from tests import pooler


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    if not pooler.PROGRAM:
        terminalreporter.write_line(
            "Tests through PgBouncer are left out, because there is none; `make test-pooler` installs it."
        )
    if not os.environ.get("CDR_API_TEST_CITUS_DSN"):
        terminalreporter.write_line("Tests on Citus are left out, because CDR_API_TEST_CITUS_DSN names no coordinator.")
