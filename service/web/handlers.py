"""One handler for each action, the same for all resources."""

import asyncio
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime

from aiohttp import HttpVersion11, web

from service import errors
from service.concurrency.limiter import LimitExceededError
from service.db.records import Row
from service.jsonapi import cursor_pages, document, params, render
from service.jsonapi.cursor_pages import CursorPaging
from service.jsonapi.cursors import CursorSigner
from service.jsonapi.render import Renderer
from service.jsonapi.view import View
from service.observability import metrics
from service.query import CursorPage, Page, Query
from service.schemas.base import PREFIX
from service.web import auth, exports, origin, parameters, recording_delivery, responses, routes, statistics
from service.web.keys import ACCEPT, CALLER, ENDPOINT, FORMAT, ROUTE, SLOT, STATE

RENDER_BATCH = 100  # Records, which take one or two milliseconds.


async def list_records(request: web.Request) -> web.StreamResponse:
    """A page of a list, or all records as a table."""
    if table := request.get(FORMAT):
        return await exports.stream(request, table)
    services, caller, resource = request.app[STATE].services, request[CALLER], request[ROUTE].resource
    profile = request[ACCEPT].cursor_profile
    signer = CursorSigner(services.cursor_keys, resource.type, caller)
    paging = CursorPaging(signer, profiled=profile is not None)
    query, view = params.parse_list(resource, parameters.of(request), caller, datetime.now(UTC), paging)
    base = origin.base(request)
    result = await services.records.read(query)
    records, included = await _render(request, render.renderer_for(resource, view), view, result.rows, base)
    url = f"{base}{PREFIX}/{resource.type}"
    if not isinstance(query.window, CursorPage):
        page = query.window if isinstance(query.window, Page) else Page()
        body = document.page(records, included, page, result.total, result.more, url, parameters.of(request))
        return responses.ok(body)
    cursors = cursor_pages.cursors(signer, query.sorts, result.positions)
    addresses = cursor_pages.links(url, parameters.of(request), query.window, cursors, result.more)
    body = document.cursor_page(records, cursors, included, query.window, result.total, result.more, addresses)
    return responses.ok(body, profile)


async def one_record(request: web.Request) -> web.Response:
    """One record."""
    resource = request[ROUTE].resource
    view = params.parse_record(resource, parameters.of(request))
    renderer = render.renderer_for(resource, view)
    row = await _find(request, renderer.columns)
    (record,), included = await _render(request, renderer, view, [row], origin.base(request))
    return responses.ok(document.record(record, included))


async def related(request: web.Request) -> web.Response:
    """The account of a record."""
    params.identifier(request[ROUTE].resource, request[ROUTE].identifier)
    accounts = request[ROUTE].resource.accounts
    view = params.parse_related(accounts, parameters.of(request))
    renderer = render.get_renderer(accounts, view.fieldsets.get(accounts.type))
    found = await _accounts(request, renderer, [await _find(request, _account_column(request))])
    records = renderer.records(found.values(), origin.base(request))
    return responses.ok(document.record(records[0] if records else None))


async def linkage(request: web.Request) -> web.Response:
    """The relationship of a record to its account. Query parameters are ignored."""
    resource = request[ROUTE].resource
    row = await _find(request, _account_column(request))
    found = await _accounts(request, render.get_renderer(resource.accounts, ()), [row])
    identifier = next((account[0] for account in found.values()), None)
    addresses = render.links(f"{origin.base(request)}{PREFIX}/{resource.type}/{row[0]}")
    return responses.ok(document.relationship(render.linkage(identifier), addresses))


async def recording(request: web.Request) -> web.StreamResponse:
    """The recording of a call; an empty 404 if it does not exist or is not permitted."""
    _, local_tag, exists = await _find(request, ("id", "local_tag", "rec"))
    if not exists:
        return recording_delivery.missing(request)
    request[SLOT].release()
    return await recording_delivery.send(request, local_tag)


HANDLERS = {
    routes.LIST: list_records,
    routes.ONE: one_record,
    routes.RELATED: related,
    routes.LINKAGE: linkage,
    routes.RECORDING: recording,
    routes.LOGIN: auth.log_in,
    routes.SESSION: auth.show_session,
    routes.LOGOUT: auth.log_out,
    routes.STATISTICS: statistics.show,
}


async def dispatch(request: web.Request) -> web.StreamResponse:
    """Calls the handler for the route found by the route middleware."""
    return await HANDLERS[request[ENDPOINT].action](request)


async def expect(request: web.Request) -> None:
    """Sends 100 Continue to an HTTP/1.1 client that expects it; other expectations are ignored."""
    if request.version >= HttpVersion11 and request.headers["Expect"].lower() == "100-continue":
        await request.writer.write(b"HTTP/1.1 100 Continue\r\n\r\n")


async def _find(request: web.Request, columns: tuple[str, ...]) -> Row:
    """The record of the path in the caller's scope. Raises NotFoundError."""
    route, lookup = request[ROUTE], request.app[STATE].services.lookup
    identifier = params.identifier(route.resource, route.identifier)
    query = Query(route.resource, columns, request[CALLER])
    row = await lookup.nearby(query, identifier)
    if row is None:
        request[SLOT].release()  # A search is shared by all waiting requests and may take long.
        row = await _search(request, query, identifier)
    if row is None:
        raise errors.record_not_found(identifier)
    return row


async def _search(request: web.Request, query: Query, identifier: str) -> Row | None:
    state = request.app[STATE]
    try:
        async with state.searches.slot(query.caller.customer_id):
            return await state.services.lookup.everywhere(query, identifier)
    except LimitExceededError as error:
        metrics.REQUESTS_REFUSED.labels(error.reason).inc()
        raise errors.busy("Too many requests are searching for unknown records.") from error


def _account_column(request: web.Request) -> tuple[str, ...]:
    account = request[ROUTE].resource.account
    return ("id", account.column) if account else ("id",)  # Resources without an account do not have these routes.


async def _render(
    request: web.Request, renderer: Renderer, view: View, rows: Sequence[Row], base: str
) -> tuple[list[bytes], list[bytes]]:
    """The records, and their accounts if included."""
    if not renderer.linked:
        return await _records(renderer, rows, base), []
    target = request[ROUTE].resource.accounts
    accounts = render.get_renderer(target, view.fieldsets.get(target.type))
    found = await _accounts(request, accounts, rows)
    records = await _records(renderer, rows, base, {number: str(account[0]) for number, account in found.items()})
    return records, accounts.records(found.values(), base)


async def _records(
    renderer: Renderer, rows: Sequence[Row], base: str, accounts: Mapping[int, str] | None = None
) -> list[bytes]:
    """Renders in batches and yields to the event loop in between, so that long pages do not delay other requests."""
    records: list[bytes] = []
    for start in range(0, len(rows), RENDER_BATCH):
        if start:
            await asyncio.sleep(0)
        records += renderer.records(rows[start : start + RENDER_BATCH], base, accounts)
    return records


async def _accounts(request: web.Request, renderer: Renderer, rows: Iterable[Row]) -> dict[int, Row]:
    """The accounts in the caller's scope that the last column of rows refers to, in order of appearance."""
    numbers = dict.fromkeys(row[-1] for row in rows if row[-1] is not None)
    records, accounts = request.app[STATE].services.records, request[ROUTE].resource.accounts
    found = await records.by_numbers(accounts, renderer.columns, numbers, request[CALLER])
    return {number: found[number] for number in numbers if number in found}
