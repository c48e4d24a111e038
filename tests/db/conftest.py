"""A primary with the schema, and a standby of it."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from service.db import schema
from service.demo.postgres import Server
from service.files import SQL
from tests.standby import Standby, execute


@pytest.fixture(scope="module")
def primary(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with Server.start(tmp_path_factory.mktemp("primary")) as server:
        for part in ("cdr", "routing"):
            schema.apply(server.dsn(), SQL / "schema" / part)
        today = datetime.now(UTC).date()
        schema.create_partitions(server.dsn(), today - timedelta(days=1), today + timedelta(days=1))
        execute(server.dsn(), "INSERT INTO public.contractors VALUES (7, 'seven', true, true, true)")
        execute(server.dsn(), "INSERT INTO sys.customer_portal_access_profiles VALUES (1, 'one', false)")
        execute(
            server.dsn(), "INSERT INTO sys.api_access (id, customer_id, login, password_digest) VALUES (7, 7, 'a', '')"
        )
        yield server


@pytest.fixture
def standby(primary: Server, tmp_path: Path) -> Iterator[Standby]:
    made = Standby(primary, tmp_path)
    yield made
    made.server.stop()
