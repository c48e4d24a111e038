"""The statements of `cdr-api export`: those of its list and no others."""

from pathlib import Path
from typing import Any

import pytest

from service.commands import export
from service.db.pool import Pool
from tests.conftest import Data, configured


def test_an_export_runs_the_statements_of_its_list_only(
    data: Data, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """However many partitions there are: no directory of them, no pings, nothing that a server does beside requests."""
    data.customer(7)
    data.call(1, vendor_id=7)
    ran: list[str] = []
    execute = Pool._execute

    async def counting(self: Pool, connection: Any, statement: Any) -> Any:
        ran.append(statement.name)
        return await execute(self, connection, statement)

    monkeypatch.setattr(Pool, "_execute", counting)
    job = export.ExportJob("incoming-cdrs", "", 7, "csv", tmp_path / "calls.csv")
    export.run(configured(data.dsn), job)
    assert ran == ["api_access", "count", "begin", "export", "next_records", "next_records", "rollback"]
    assert (tmp_path / "calls.csv").read_bytes().count(b"\r\n") == 2
