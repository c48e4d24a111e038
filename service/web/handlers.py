"""One handler for each thing that can be asked of a resource; none knows which resource it serves."""

from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from typing import Any

from aiohttp import web

from service import errors
from service.db.reader import Row
from service.jsonapi import accept, cursor_pages, document, params, render
from service.jsonapi.cursors import CursorSigner
from service.jsonapi.render import Renderer
from service.query import CursorPage, Selection
from service.schemas.base import PREFIX
from service.schemas.resource import Resource
from service.web import exports, origin, parameters, recording_delivery, responses, routes
from service.web.keys import CALLER, CURSOR_KEYS, FORMAT, READER, RELEASE, ROUTE


async def list_records(request: web.Request) -> web.StreamResponse:
    """A page of a list, or all of it as a table."""
    if table := request.get(FORMAT):
        return await exports.stream(request, parameters.of(request), table)
    resource, asked, base = request[ROUTE].resource, parameters.of(request), origin.base(request)
    profile = accept.cursor_profile(", ".join(request.headers.getall("Accept", ())))
    seal = CursorSigner(request.app[CURSOR_KEYS], resource.type, request[CALLER])
    selection = params.many(resource, asked, datetime.now(UTC), seal, profiled=profile is not None)
    renderer = render.renderer_for(resource, selection)
    if selection.stretch:
        return responses.ok(await _cursor_page(request, renderer, selection, selection.stretch, seal), profile)
    found = await request.app[READER].page(resource, renderer.columns, selection, request[CALLER])
    records, included = await _render_with_included(request, renderer, selection, found.rows, base)
    url = f"{base}{PREFIX}/{resource.type}"
    return responses.ok(document.many(records, included, found.total, url, asked, selection.page))


async def one_record(request: web.Request) -> web.Response:
    """One record."""
    resource = request[ROUTE].resource
    selection = params.one(resource, parameters.of(request))
    renderer = render.renderer_for(resource, selection)
    row = await _row(request, renderer.columns)
    (record,), included = await _render_with_included(request, renderer, selection, [row], origin.base(request))
    return responses.ok(document.one(record, included))


async def related(request: web.Request) -> web.Response:
    """The account that a record points to."""
    _identifier(request)
    target = _account_resource(request)
    renderer = render.get_renderer(target, params.related(target, parameters.of(request)).fieldsets.get(target.type))
    accounts = await _accounts(request, renderer, [await _row(request, _account_column(request))])
    records = renderer.records(accounts.values(), origin.base(request))
    return responses.ok(document.one(records[0] if records else None))


async def linkage(request: web.Request) -> web.Response:
    """Which account a record points to; query parameters mean nothing here."""
    row = await _row(request, _account_column(request))
    accounts = await _accounts(request, render.get_renderer(_account_resource(request), ()), [row])
    identifier = next((account[0] for account in accounts.values()), None)
    resource, base = request[ROUTE].resource, origin.base(request)
    addresses = render.links(f"{base}{PREFIX}/{resource.type}/{row[0]}", next(iter(resource.relationships)))
    return responses.ok(document.relationship(render.linkage(identifier), addresses))


async def recording(request: web.Request) -> web.StreamResponse:
    """The recording of a call; an empty 404 where the caller may not hear one."""
    _, local_tag, exists = await _row(request, ("id", "local_tag", "rec"))
    return await recording_delivery.answer(request, local_tag) if exists else recording_delivery.missing(request)


HANDLERS = {
    routes.LIST: list_records,
    routes.ONE: one_record,
    routes.RELATED: related,
    routes.LINKAGE: linkage,
    routes.RECORDING: recording,
}


async def dispatch(request: web.Request) -> web.StreamResponse:
    """The handler of what the route middleware has found."""
    return await HANDLERS[request[ROUTE].action](request)


async def expect(request: web.Request) -> None:
    """Lets a client go on that waits to be told so; what else it expects of a read does not matter."""
    if request.headers["Expect"].lower() == "100-continue":
        await request.writer.write(b"HTTP/1.1 100 Continue\r\n\r\n")


def _identifier(request: web.Request) -> str:
    return params.identifier(request[ROUTE].resource, request[ROUTE].identifier)


async def _row(request: web.Request, columns: tuple[str, ...]) -> Row:
    """The record that the path names, in the caller's scope."""
    identifier = _identifier(request)
    leave = request.get(RELEASE, lambda: None)  # Who waits for a search keeps no place from those who need none.
    row = await request.app[READER].one(request[ROUTE].resource, columns, identifier, request[CALLER], leave)
    if row is None:
        raise errors.record_not_found(identifier)
    return row


def _account_resource(request: web.Request) -> Resource:
    resource = request[ROUTE].resource
    (relationship,) = resource.relationships.values()
    return resource.registry[relationship.type_]


def _account_column(request: web.Request) -> tuple[str, ...]:
    (relationship,) = request[ROUTE].resource.relationships.values()
    return ("id", relationship.column)


async def _cursor_page(
    request: web.Request, renderer: Renderer, selection: Selection, wanted: CursorPage, seal: CursorSigner
) -> bytes:
    """A page of a list by cursors."""
    resource, base = request[ROUTE].resource, origin.base(request)
    found = await request.app[READER].stretch(resource, renderer.columns, selection, wanted, request[CALLER])
    records, included = await _render_with_included(request, renderer, selection, found.rows, base)
    cursors = cursor_pages.cursors(seal, selection.sorts, found.places)
    page: dict[str, Any] = {} if found.total is None else {"total": found.total}
    if wanted.ranged and found.more:
        page["rangeTruncated"] = True
    url = f"{base}{PREFIX}/{resource.type}"
    addresses = cursor_pages.links(url, parameters.of(request), wanted, cursors, found.more)
    return document.stretch(records, cursors, included, page, addresses)


async def _render_with_included(
    request: web.Request, renderer: Renderer, selection: Selection, rows: Sequence[Row], base: str
) -> tuple[list[bytes], list[bytes]]:
    """Records, and the accounts that they point to if those are asked for."""
    if not renderer.linked:
        return renderer.records(rows, base), []
    target = _account_resource(request)
    accounts = render.get_renderer(target, selection.fieldsets.get(target.type))
    found = await _accounts(request, accounts, rows)
    records = renderer.records(rows, base, {number: str(account[0]) for number, account in found.items()})
    return records, accounts.records(found.values(), base)


async def _accounts(request: web.Request, renderer: Renderer, rows: Iterable[Row]) -> dict[int, Row]:
    """The accounts that rows point to with their last column, in order of appearance, as far as the caller may see."""
    numbers = dict.fromkeys(row[-1] for row in rows if row[-1] is not None)
    found = await request.app[READER].by_numbers(_account_resource(request), renderer.columns, numbers, request[CALLER])
    return {number: found[number] for number in numbers if number in found}
