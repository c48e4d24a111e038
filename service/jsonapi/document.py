"""Whole documents: what a response's body holds, as bytes."""

import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import orjson

from service.errors import ErrorObject
from service.jsonapi import links
from service.jsonapi.query_string import Query
from service.query import Page

Records = Sequence[bytes]  # Resource objects as JSON.


def one(record: bytes | None, included: Records = ()) -> bytes:
    """A single record, or null."""
    return _document(b"", [record or b"null"], b"", included, {})


def many(records: Records, included: Records, total: int, url: str, query: Query, page: Page) -> bytes:
    """A page of a list; `url` is the list's own, without a query."""
    rest = {"meta": {"total-count": total}, "links": links.pages(url, query, page, total)}
    return _document(b"[", records, b"]", included, rest)


def stretch(
    records: Records,
    cursors: Sequence[str],
    included: Records,
    page: Mapping[str, Any],
    addresses: Mapping[str, str | None],
) -> bytes:
    """A page of a list by cursors, each record with its own; `page` is what there is to say about it."""
    placed = [
        b'%b,"meta":%b}' % (record[:-1], orjson.dumps({"page": {"cursor": cursor}}))
        for record, cursor in zip(records, cursors, strict=True)
    ]
    meta = {"meta": {"page": page}} if page else {}
    return _document(b"[", placed, b"]", included, {**meta, "links": addresses})


def relationship(data: dict[str, str] | None, addresses: dict[str, str]) -> bytes:
    """Linkage alone."""
    return orjson.dumps({"data": data, "links": addresses})


def errors(problems: Iterable[ErrorObject]) -> bytes:
    """An error document. Texts may quote what a client sent, so what is no Unicode becomes a question mark."""
    entries = [
        {"title": p.title, "detail": p.detail, "code": p.code, "status": str(p.status), **(p.more or {})}
        for p in problems
    ]
    text = json.dumps({"errors": entries}, ensure_ascii=False, separators=(",", ":"))
    return text.encode("utf-8", "replace")


def _document(opening: bytes, records: Records, closing: bytes, included: Records, rest: Mapping[str, Any]) -> bytes:
    """Puts the parts together by hand, since there may be a MiB of records."""
    also = b',"included":[%b]' % b",".join(included) if included else b""
    end = b"," + orjson.dumps(rest)[1:] if rest else b"}"
    return b"".join((b'{"data":', opening, b",".join(records), closing, also, end))
