"""A third-party JSON:API client reads the responses."""

import json
from collections.abc import Iterator

import pytest
from jsonapi_client import Filter, Inclusion, Modifier, Session
from jsonapi_client.exceptions import DocumentError

from tests.conftest import Databases
from tests.corpus import GOLDEN_SECRET
from tests.programs import on_database, run, serving


@pytest.fixture(scope="module")
def session(postgres: Databases, golden_database: str) -> Iterator[Session]:
    """A session as customer 10, at the service in a process of its own."""
    dsn = postgres.dsn(golden_database)
    known = on_database(dsn, AUTH__SECRETS=json.dumps([GOLDEN_SECRET]))
    token = run(["token", "--api-access", "1"], **known).stdout.strip()
    headers = {"Authorization": f"Bearer {token}", "Accept": "application/vnd.api+json"}
    with serving(**known) as program:
        url = f"{program.url}/api/rest/customer/v1"
        with Session(url, request_kwargs={"headers": headers}) as session:
            yield session


ALL = Filter(time_start_gteq="2026-03-01")
SMALL = Modifier("page[size]=100")


@pytest.mark.parametrize(("type_", "total"), [("incoming-cdrs", 223), ("cdrs", 165)])
def test_it_follows_pages_to_the_end(session: Session, type_: str, total: int) -> None:
    ids = [record.id for record in session.iterate(type_, ALL + SMALL)]
    assert len(ids) == len(set(ids)) == total


def test_it_reads_attributes_and_follows_relationships(session: Session) -> None:
    call = session.get("incoming-cdrs", "5000157").resource
    assert call.local_tag == "8-REC-0001"
    [account] = call.account  # Without linkage it cannot know that there is only one.
    assert account.type == "accounts"
    assert account.currency in ("USD", "EUR", "UAH")


def test_it_finds_included_records(session: Session) -> None:
    page = session.get("cdrs", ALL + SMALL + Inclusion("account"))
    assert {record.type for record in page.included} == {"accounts"}
    assert page.meta.total_count == 165


def test_it_decodes_errors(session: Session) -> None:
    with pytest.raises(DocumentError, match="Filter not allowed"):
        session.get("cdrs", Filter(nosuch_eq="1"))
