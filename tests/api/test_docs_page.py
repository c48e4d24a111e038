"""The documentation page: its files, and what a person sees and does in a browser."""

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from service.web import docs
from service.web.responses import SECURITY
from tests import browser
from tests.conftest import Api, Data, Databases, Serve
from tests.example_data import CUSTOMER, fill

FILES = {
    "openapi.json": "application/json",
    "docs": "text/html; charset=utf-8",
    "docs/viewer.js": "text/javascript; charset=utf-8",
    "docs/swagger-ui.css": "text/css; charset=utf-8",
    "docs/swagger-ui-bundle.js": "text/javascript; charset=utf-8",
    "docs/favicon-32x32.png": "image/png",
}
NOWHERE = "host=127.0.0.1 port=1"


@pytest.mark.parametrize("path", FILES)
@pytest.mark.parametrize("spelling", ["{}", "{}/", "/api//rest/customer/v1/{}"])
async def test_its_files_need_no_token_no_database_and_no_accept(serve: Serve, path: str, spelling: str) -> None:
    api = await serve(NOWHERE, LOG__LEVEL="error")
    answer = await api.get(spelling.format(path), headers={"Accept": "text/none"})
    assert (answer.status, answer.headers["content-type"]) == (200, FILES[path])
    assert {name: answer.headers.get(name) for name in SECURITY} == SECURITY
    assert "unsafe" not in answer.headers["content-security-policy"]
    assert "set-cookie" not in answer.headers
    head = await api.get(path, method="HEAD")
    assert (head.status, head.headers["content-length"], head.body) == (200, str(len(answer.body)), b"")
    again = await api.get(path, headers={"If-None-Match": answer.headers["etag"]})
    assert (again.status, again.body) == (304, b"")
    assert again.headers["content-security-policy"] == answer.headers["content-security-policy"]


@pytest.mark.parametrize("path", ["docs/nosuch.js", "docs/../setup.cfg", "docs/%2e%2e/setup.cfg", "docs//etc/passwd"])
async def test_there_are_no_other_files(serve: Serve, path: str) -> None:
    api = await serve(NOWHERE, LOG__LEVEL="error")
    assert (await api.get(path)).error == (404, "404")


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "OPTIONS"])
async def test_they_are_only_read(serve: Serve, method: str) -> None:
    api = await serve(NOWHERE, LOG__LEVEL="error")
    assert (await api.get("docs", method=method)).error == (404, "404")


async def test_without_the_viewer_there_is_still_the_description(serve: Serve, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(docs, "PACKAGE", "no_such_package")
    api = await serve(NOWHERE, LOG__LEVEL="error")
    assert (await api.get("docs")).error == (404, "404")
    assert (await api.get("openapi.json")).status == 200


def test_the_viewer_is_read_and_never_run() -> None:
    assert docs.PACKAGE not in sys.modules


@pytest.fixture
def filled(postgres: Databases, prepared: str) -> Iterator[Data]:
    data = fill(postgres, prepared)
    yield data
    postgres.drop(data.name)


async def tried(tab: browser.Tab, operation: str, parameter: str, field: str, value: str) -> str:
    """Asks with one parameter, and what came with status 200."""
    await tab.click(f"{operation} .opblock-summary-control")
    await tab.click(f"{operation} .try-out__btn")
    await tab.fill(f"{operation} tr[data-param-name={parameter}] {field}", value)
    await tab.click(f"{operation} .execute")
    live = f"{operation} .live-responses-table tbody"
    assert (await tab.text(f"{live} .response-col_status")).startswith("200")
    return str(await tab.text(f"{live} .response-col_description"))


@pytest.mark.slow
@pytest.mark.skipif(browser.CHROMIUM is None, reason="Chromium is not installed")
async def test_a_person_can_read_it_and_try_a_request(serve: Serve, filled: Data, tmp_path: Path) -> None:
    """With a pasted token, and nothing is loaded from elsewhere, nor forbidden by the page's policy."""
    api: Api = await serve(filled.dsn)
    origin = str(api.client.make_url("/"))
    async with browser.tab(tmp_path / "profile") as tab:
        await tab.open(f"{origin}api/rest/customer/v1/docs")
        await tab.appears("#operations-cdrs-getCdr")
        assert (await tab.text(".info .title")).startswith("Calls and accounts")
        (tmp_path / "page.png").write_bytes(await tab.screenshot())
        await tab.click(".auth-wrapper .authorize")
        await tab.fill("#auth-bearer-value", api.tokens.issue(CUSTOMER))
        await tab.click(".modal-ux .authorize")
        await tab.click(".modal-ux .btn-done")
        operation = "#operations-cdrs-getCdr"
        assert '"local-tag": "8-1A2B3C4D"' in await tried(tab, operation, "id", "input", "902")
        await tab.evaluate(f"document.querySelector({operation!r}).scrollIntoView()")
        (tmp_path / "tried.png").write_bytes(await tab.screenshot())
        # A table, which nothing is in the way of that the page sends by itself.
        table = await tried(tab, "#operations-accounts-listAccounts", "format", "select", "csv")
        assert "content-type: text/csv" in table
        assert await tab.evaluate("violations") == []
    assert tab.errors == []
    assert [url for url in tab.requested if not url.startswith((origin, "data:"))] == []
