"""The blocks of docs/integration.md that can be run here: the grants, and the file of environment variables."""

import json
import os
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from datetime import date
from pathlib import Path

import psycopg2
import pytest

from service.db import schema
from service.files import SQL
from tests.conftest import Data, Databases

GUIDE = (Path(__file__).parents[2] / "docs" / "integration.md").read_text(encoding="utf-8")
CREATE_ROLE, CDR_GRANTS, ROUTING_GRANTS = re.findall(r"^```sql\n(.+?)^```", GUIDE, re.MULTILINE | re.DOTALL)
(VARIABLES,) = re.findall(r"^```\n# /etc/cdr-api\.env\n(.+?)^```", GUIDE, re.MULTILINE | re.DOTALL)
TODAY, TOMORROW = date(2031, 5, 5), date(2031, 5, 6)


@pytest.fixture
def installation(postgres: Databases) -> Iterator[Data]:
    """A database as Yeti has it: the role yeti owns its tables and creates its partitions."""
    data = Data(postgres, postgres.create())
    data.execute("CREATE ROLE yeti LOGIN SUPERUSER")
    owner = data.dsn.replace("postgres@", "yeti@")
    for part in ("cdr", "routing"):
        schema.apply(owner, SQL / "schema" / part)
    schema.create_partitions(owner, TODAY, TODAY)
    data.execute(CREATE_ROLE)
    yield data
    for role in ("cdr_api", "yeti"):
        data.execute(f"DROP OWNED BY {role} CASCADE")
        data.execute(f"DROP ROLE {role}")
    postgres.drop(data.name)


def as_service(data: Data, statement: str) -> None:
    """Run a statement as the role of the service."""
    role = data.dsn.replace("postgres@", "cdr_api@")
    with closing(psycopg2.connect(role)) as connection, connection.cursor() as cursor:
        cursor.execute(statement)


def readable(data: Data, table: str) -> bool:
    """Whether the role of the service may read a table."""
    try:
        as_service(data, f"SELECT FROM {table}")
    except psycopg2.errors.InsufficientPrivilege:
        return False
    return True


def test_the_grants_of_the_guide_open_what_the_service_reads_and_nothing_more(installation: Data) -> None:
    installation.execute(CDR_GRANTS)
    installation.execute(ROUTING_GRANTS)
    read = ("cdr.cdr", "public.contractors", "sys.api_access", "sys.customer_portal_access_profiles")
    for table in (*read, "billing.accounts", "billing.account_balance_notification_settings"):
        assert readable(installation, table), table
    with pytest.raises(psycopg2.errors.InsufficientPrivilege):
        as_service(installation, "INSERT INTO cdr.cdr DEFAULT VALUES")


def test_the_partition_that_yeti_creates_tomorrow_is_readable_by_itself(installation: Data) -> None:
    installation.execute(CDR_GRANTS)
    schema.create_partitions(installation.dsn.replace("postgres@", "yeti@"), TOMORROW, TOMORROW)
    assert readable(installation, "cdr.cdr_2031_05_05")
    assert readable(installation, "cdr.cdr_2031_05_06")


def test_without_the_name_of_yetis_role_it_would_not_be(installation: Data) -> None:
    installation.execute(CDR_GRANTS.replace("FOR ROLE yeti ", ""))
    schema.create_partitions(installation.dsn.replace("postgres@", "yeti@"), TOMORROW, TOMORROW)
    assert readable(installation, "cdr.cdr_2031_05_05")
    assert not readable(installation, "cdr.cdr_2031_05_06")


def test_the_file_of_variables_means_the_same_to_a_shell_and_to_systemd(tmp_path: Path) -> None:
    file = tmp_path / "cdr-api.env"
    file.write_text(VARIABLES)
    unset = {name: value for name, value in os.environ.items() if not name.startswith("CDR_API_")}
    python, dump = shlex.quote(sys.executable), "import json, os; print(json.dumps(dict(os.environ)))"
    show = f"set -a; . {file}; set +a; {python} -m service config && {python} -c {shlex.quote(dump)}"
    shell = subprocess.run(["sh", "-c", show], env=unset, capture_output=True, text=True, check=True)
    config, end = json.JSONDecoder().raw_decode(shell.stdout)
    assert config["auth"]["secrets"] == ["********"]
    in_shell = {name: value for name, value in json.loads(shell.stdout[end:]).items() if name.startswith("CDR_API_")}
    # systemd takes what is between single quotes as it is, and knows no other rule for such a line.
    assert in_shell == dict(re.findall(r"^(CDR_API_\w+)='([^'\\]*)'$", VARIABLES, re.MULTILINE))
    assert len(in_shell) == len(VARIABLES.splitlines()) == 3
