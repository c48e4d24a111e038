"""Whole documents: what a response's body holds, as bytes."""

import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import orjson

from service.errors import Problem
from service.jsonapi import links
from service.jsonapi.query import Query
from service.jsonapi.render import Record
from service.selection import Page

Included = Sequence[Record] | None


def one(record: Record | None, included: Included = None) -> bytes:
    """A single record, or null."""
    return orjson.dumps({"data": record, **_included(included)})


def many(records: Sequence[Record], included: Included, total: int, url: str, query: Query, page: Page) -> bytes:
    """A page of a list; `url` is the list's own, without a query."""
    document = {
        "data": records,
        **_included(included),
        "meta": {"total-count": total},
        "links": links.pages(url, query, page, total),
    }
    return orjson.dumps(document)


def stretch(
    records: Sequence[Record], included: Included, page: Mapping[str, Any], addresses: Mapping[str, str | None]
) -> bytes:
    """A page of a list by cursors; `page` is what there is to say about it."""
    meta = {"meta": {"page": page}} if page else {}
    return orjson.dumps({"data": records, **_included(included), **meta, "links": addresses})


def relationship(data: dict[str, str] | None, addresses: dict[str, str]) -> bytes:
    """Linkage alone."""
    return orjson.dumps({"data": data, "links": addresses})


def errors(problems: Iterable[Problem]) -> bytes:
    """An error document. Texts may quote what a client sent, so what is no Unicode becomes a question mark."""
    entries = [
        {"title": p.title, "detail": p.detail, "code": p.code, "status": str(p.status), **(p.more or {})}
        for p in problems
    ]
    text = json.dumps({"errors": entries}, ensure_ascii=False, separators=(",", ":"))
    return text.encode("utf-8", "replace")


def _included(included: Included) -> dict[str, Any]:
    return {"included": included} if included else {}
