"""A primary and a hot standby, from which calls are read."""

import json
from collections.abc import Iterator

import pytest

from service.observability import metrics
from tests.conftest import Serve
from tests.layouts.checks import EVER, Answers, all_calls_of, started
from tests.layouts.servers import Layout, Servers, days, golden_days, plain
from tests.standby import Standby

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def layout(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Layout]:
    with Servers(()) as servers:
        plain(servers, "calls", days())
        servers.fill("calls")
        plain(servers, "golden", golden_days())
        servers.copy_golden("golden")
        standby = Standby(servers.running["server"], tmp_path_factory.mktemp("standby"))
        settings = {
            database: servers.settings(database)
            | {"DATABASES__CDR__REPLICAS": json.dumps([standby.server.dsn(database).replace("postgres@", "cdr_api@")])}
            for database in ("golden", "calls")
        }
        yield Layout(settings["golden"], settings["calls"], servers.dsn("calls", "postgres"))
        standby.server.stop()


class TestAnswers(Answers):
    pass


async def test_lists_are_read_from_the_standby(serve: Serve, layout: Layout) -> None:
    api = await started(serve, dict(layout.calls))
    before = [statements(pool) for pool in ("replica 1", "cdr")]
    assert (await api.get(f"incoming-cdrs?{EVER}&sort=id&page[size]=7", 3)).ids == all_calls_of(3)[:7]
    assert [statements(pool) for pool in ("replica 1", "cdr")] == [before[0] + 1, before[1]]


def statements(pool: str) -> float:
    """How many lists a pool has read in this process."""
    labels = {"pool": pool, "statement": "list"}
    return metrics.REGISTRY.get_sample_value("cdr_api_statement_seconds_count", labels) or 0
