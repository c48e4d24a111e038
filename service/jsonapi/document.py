"""JSON:API documents as bytes."""

import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import orjson

from service.errors import ErrorObject
from service.jsonapi import links
from service.jsonapi.query_string import Parameters
from service.query import CursorPage, Page

Records = Sequence[bytes]  # Resource objects as JSON.


def record(record: bytes | None, included: Records = ()) -> bytes:
    """A single record, or null."""
    return _document(b"", [record or b"null"], b"", included, {})


def page(
    records: Records, included: Records, page: Page, total: int | None, more: bool, url: str, parameters: Parameters
) -> bytes:
    """A numbered page. `url` is that of the list, without a query. `total` is None if not counted (D22)."""
    meta = {"total-count-omitted": True} if total is None else {"total-count": total}
    rest = {"meta": meta, "links": links.page_links(url, parameters, page, total, more)}
    return _document(b"[", records, b"]", included, rest)


def cursor_page(
    records: Records,
    cursors: Sequence[str],
    included: Records,
    page: CursorPage,
    total: int | None,
    more: bool,
    addresses: Mapping[str, str | None],
) -> bytes:
    """A cursor page; each record has its cursor in `meta`."""
    placed = [
        b'%b,"meta":%b}' % (record[:-1], orjson.dumps({"page": {"cursor": cursor}}))
        for record, cursor in zip(records, cursors, strict=True)
    ]
    known: dict[str, Any] = {} if total is None else {"total": total}
    if page.ranged and more:
        known["rangeTruncated"] = True
    meta: dict[str, Any] = {"page": known} if known else {}
    if page.total and total is None:
        meta["total-count-omitted"] = True
    return _document(b"[", placed, b"]", included, {**({"meta": meta} if meta else {}), "links": addresses})


def relationship(data: dict[str, str] | None, addresses: dict[str, str]) -> bytes:
    """A relationship document: linkage and links."""
    return orjson.dumps({"data": data, "links": addresses})


def errors(errors: Iterable[ErrorObject], status: int) -> bytes:
    """An error document. Details may quote client input, so invalid Unicode is replaced by question marks."""
    entries = [
        {"title": e.title, "detail": e.detail, "code": e.code, "status": str(status), **(e.more or {})} for e in errors
    ]
    text = json.dumps({"errors": entries}, ensure_ascii=False, separators=(",", ":"))
    return text.encode("utf-8", "replace")


def _document(opening: bytes, records: Records, closing: bytes, included: Records, rest: Mapping[str, Any]) -> bytes:
    """Joins the parts as bytes, without parsing the records, which may be 1 MiB."""
    also = b',"included":[%b]' % b",".join(included) if included else b""
    end = b"," + orjson.dumps(rest)[1:] if rest else b"}"
    return b"".join((b'{"data":', opening, b",".join(records), closing, also, end))
