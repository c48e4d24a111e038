"""The documentation page: its files, and its use in a browser."""

import json
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from yarl import URL

from service.web import docs
from service.web.responses import SECURITY
from tests import browser
from tests.conftest import Api, Data, Databases, Serve
from tests.example_data import CUSTOMER, fill

FILES = {
    "openapi.json": "application/json",
    "docs": "text/html; charset=utf-8",
    "docs/viewer.js": "text/javascript; charset=utf-8",
    "docs/viewer.css": "text/css; charset=utf-8",
    "docs/simplify.js": "text/javascript; charset=utf-8",
    "docs/components.js": "text/javascript; charset=utf-8",
    "docs/swagger-ui.css": "text/css; charset=utf-8",
    "docs/swagger-ui-bundle.js": "text/javascript; charset=utf-8",
    "docs/favicon-32x32.png": "image/png",
}
NOWHERE = "host=127.0.0.1 port=1"


@pytest.fixture(scope="module")
async def nowhere(shared_serve: Serve) -> Api:
    """The service without a database."""
    return await shared_serve(NOWHERE, LOG__LEVEL="error")


@pytest.mark.parametrize("path", FILES)
@pytest.mark.parametrize("spelling", ["{}", "{}/", "/api//rest/customer/v1/{}"])
async def test_its_files_need_no_token_no_database_and_no_accept(nowhere: Api, path: str, spelling: str) -> None:
    answer = await nowhere.get(spelling.format(path), headers={"Accept": "text/none"})
    assert (answer.status, answer.headers["content-type"]) == (200, FILES[path])
    assert {name: answer.headers.get(name) for name in SECURITY} == SECURITY
    assert "unsafe" not in answer.headers["content-security-policy"]
    assert "set-cookie" not in answer.headers
    head = await nowhere.get(path, method="HEAD")
    assert (head.status, head.headers["content-length"], head.body) == (200, str(len(answer.body)), b"")
    again = await nowhere.get(path, headers={"If-None-Match": answer.headers["etag"]})
    assert (again.status, again.body) == (304, b"")
    assert again.headers["content-security-policy"] == answer.headers["content-security-policy"]


@pytest.mark.parametrize("path", ["docs/nosuch.js", "docs/../setup.cfg", "docs/%2e%2e/setup.cfg", "docs//etc/passwd"])
async def test_there_are_no_other_files(nowhere: Api, path: str) -> None:
    assert (await nowhere.get(path)).error == (404, "404")


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "OPTIONS"])
async def test_they_are_only_read(nowhere: Api, method: str) -> None:
    assert (await nowhere.get("docs", method=method)).error == (404, "404")


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


async def entered(tab: browser.Tab, operation: str) -> None:
    """Opens the form of an operation."""
    await tab.click(f"{operation} .opblock-summary-control")
    await tab.click(f"{operation} .try-out__btn")


async def answered(tab: browser.Tab, operation: str) -> str:
    """Asks, and what came with status 200."""
    await tab.click(f"{operation} .execute")
    live = f"{operation} .live-responses-table tbody"
    assert (await tab.text(f"{live} .response-col_status")).startswith("200")
    return str(await tab.text(f"{live} .response-col_description"))


async def tried(tab: browser.Tab, operation: str, parameter: str, field: str, value: str) -> str:
    """Asks with one parameter, and what came with status 200."""
    await entered(tab, operation)
    await tab.fill(f"{operation} tr[data-param-name={parameter}] {field}", value)
    return await answered(tab, operation)


async def add(tab: browser.Tab, operation: str, parameter: str, member: str, value: str) -> None:
    """One more member of a parameter, such as a filter."""
    row = f"{operation} tr[data-param-name={parameter}]"
    await tab.click(f"{row} .members .add")
    for label, text in (("name", member), ("value", value)):
        await tab.fill(f"{row} .member:last-of-type [aria-label={label}]", text)


@pytest.mark.slow
@pytest.mark.skipif(browser.CHROMIUM is None, reason="Chromium is not installed")
async def test_a_person_can_read_it_and_try_a_request(serve: Serve, filled: Data, tmp_path: Path) -> None:
    """With a pasted token, and nothing is loaded from elsewhere, nor forbidden by the page's policy."""
    api: Api = await serve(filled.dsn)
    origin = str(api.client.make_url("/"))
    async with browser.tab(tmp_path / "profile") as tab:
        await tab.open(f"{origin}api/rest/customer/v1/docs")
        await tab.appears("#operations-cdrs-getCdr")
        assert not await tab.evaluate("document.querySelector('.opblock-head, [id$=Head]')")
        assert (await tab.text(".info .title")).startswith("Calls and accounts")
        (tmp_path / "page.png").write_bytes(await tab.screenshot())
        await tab.click(".auth-wrapper .authorize")
        assert await tab.evaluate("document.querySelectorAll('.modal-ux input').length") == 1
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


FILTERS = {"duration_gteq": "60", "id_in": "901,902"}


@pytest.mark.slow
@pytest.mark.skipif(browser.CHROMIUM is None, reason="Chromium is not installed")
@pytest.mark.parametrize(("width", "height"), [(1280, 800), (390, 844)])
async def test_a_list_is_filtered_within_two_screens(
    serve: Serve, filled: Data, tmp_path: Path, width: int, height: int
) -> None:
    api: Api = await serve(filled.dsn)
    operation = "#operations-cdrs-listCdrs"
    async with browser.tab(tmp_path / "profile") as tab:
        await tab.size(width, height)
        await tab.open(str(api.client.make_url("/api/rest/customer/v1/docs")))
        await tab.fill(".operation-filter-input", "CDRS")
        await tab.appears(operation)
        assert not await tab.evaluate("document.querySelector('#operations-accounts-listAccounts')")
        await tab.click(".auth-wrapper .authorize")
        await tab.fill("#auth-bearer-value", api.tokens.issue(CUSTOMER))
        await tab.click(".modal-ux .authorize")
        await tab.click(".modal-ux .btn-done")
        await entered(tab, operation)
        await tab.appears(f"{operation} .members .add")
        assert await tab.evaluate(f"document.querySelectorAll('{operation} :is(input, select, textarea)').length") < 30
        assert await distance(tab, operation) < 2 * height
        assert await tab.evaluate("document.documentElement.scrollWidth <= window.innerWidth")
        for name, value in {**FILTERS, "time_start_gteq": "2026-01-01"}.items():
            await add(tab, operation, "filter", name, value)
        await add(tab, operation, "page", "after", "")
        await tab.fill(f"{operation} tr[data-param-name=sort] input", "-duration,id")
        await tab.evaluate(f"document.querySelector('{operation} tr[data-param-name=filter]').scrollIntoView()")
        (tmp_path / "form.png").write_bytes(await tab.screenshot())
        await answered(tab, operation)
        found = json.loads(await tab.text(f"{operation} .live-responses-table .highlight-code pre"))
        assert [record["id"] for record in found["data"]] == ["902"]
        sent = URL(str(await tab.evaluate(f"document.querySelector('{operation} .request-url pre').innerText"))).query
        filters = {f"filter[{name}]": value for name, value in FILTERS.items()}
        assert sent == {**filters, "filter[time_start_gteq]": "2026-01-01", "page[after]": "", "sort": "-duration,id"}
        assert await tab.evaluate("violations") == []
    assert tab.errors == []


async def distance(tab: browser.Tab, operation: str) -> float:
    """Pixels from `Try it out` to where `Execute` is at the end of the form, when it does not stay in sight."""
    script = """
      (() => {
        const top = (part) => document.querySelector(OPERATION + part).getBoundingClientRect().top;
        const wrapper = document.querySelector(OPERATION + " .execute-wrapper");
        wrapper.style.position = "static";
        const found = top(" .execute") - top(" .try-out");
        wrapper.style.position = "";
        return found;
      })()
    """
    return float(await tab.evaluate(script.replace("OPERATION", repr(operation))))
