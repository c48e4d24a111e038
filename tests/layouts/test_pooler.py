"""PgBouncer in transaction mode, configured as the guide says."""

from collections.abc import Iterator
from contextlib import ExitStack

import pytest

from tests import pooler
from tests.layouts.checks import Answers
from tests.layouts.servers import Layout, Servers, days, golden_days, plain

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not pooler.PROGRAM, reason="PgBouncer is not installed; `make test-pooler` installs it"),
]


@pytest.fixture(scope="module")
def layout(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Layout]:
    with Servers(()) as servers, ExitStack() as stack:
        settings = {}
        for database, these in (("calls", days()), ("golden", golden_days())):
            plain(servers, database, these)
            folder = tmp_path_factory.mktemp(database)
            dsn = stack.enter_context(pooler.pooler(folder, servers.running["server"].dsn(database), "transaction"))
            settings[database] = {
                "DATABASES__CDR__DSN": dsn,
                "DATABASES__ROUTING__DSN": dsn,
                "DATABASES__TRANSACTION_POOLING": "true",
            }
        servers.fill("calls")
        servers.copy_golden("golden")
        yield Layout(settings["golden"], settings["calls"], servers.dsn("calls", "postgres"))


class TestAnswers(Answers):
    pass
