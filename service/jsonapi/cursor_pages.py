"""The `page` parameter by cursors: which list asks for it, what it asks for, and where its pages link to.

After the profile https://jsonapi.org/profiles/ethanresnick/cursor-pagination/, with two additions of our own: an empty
cursor stands for the list's start or end, and `page[total]=true` asks for a total.
"""

import re
from collections.abc import Mapping, Sequence

from service import errors
from service.jsonapi.cursors import CursorSigner, InvalidCursorError, PositionTooLongError
from service.jsonapi.links import kept
from service.jsonapi.query_string import Query, Value, encode
from service.query import CursorPage, KeysetPosition, Page, Sort
from service.schemas.resource import Resource

POSITIVE = re.compile(r"0*[1-9]\d{0,8}", re.ASCII)
FLAGS = {None: False, "true": True, "false": False}


def asked(query: Query, profiled: bool) -> bool:
    """Whether a list is to be paged by cursors: one is given, or the client named the profile and no page number."""
    page = query.get("page")
    if page is not None and not isinstance(page, dict):
        return False
    given = page or {}
    return any(given.get(end) is not None for end in ("after", "before")) or (profiled and given.get("number") is None)


def read(resource: Resource, query: Query, sorts: Sequence[Sort], seal: CursorSigner, most: int) -> CursorPage:
    """The page asked for; `most` is the largest there is. Raises ApiError."""
    _check_order(resource, sorts)
    given = _given(query)
    if given.get("number") is not None:
        raise errors.invalid_parameter("page[number]", "page[number] does not go with page[after] and page[before].")
    after, before = (_place(given, end, sorts, seal) for end in ("after", "before"))
    starts, ends = (given.get(end) is not None for end in ("after", "before"))
    return CursorPage(
        _size(given.get("size"), most if starts and ends else Page().size, most),
        after,
        before,
        backwards=ends and not starts,
        ranged=ends and starts,
        total=_total(given.get("total")),
    )


def cursors(seal: CursorSigner, sorts: Sequence[Sort], places: Sequence[KeysetPosition]) -> list[str]:
    """A cursor for each record. Raises ApiError where a value is too long to be part of a URL."""
    try:
        return seal.write(sorts, places)
    except PositionTooLongError as error:
        name = sorts[0].column
        raise errors.unsupported_sort(name, "has a value here that is too long for a cursor.") from error


def links(url: str, query: Query, page: CursorPage, shown: Sequence[str], more: bool) -> dict[str, str | None]:
    """first, prev, next and last; null where there is no such page. `shown` are the cursors of the page's records."""
    given = _given(query)
    # An empty page lies between the cursors it was asked for by, or else at an end of the list.
    first = shown[0] if shown else str(given.get("before") or "")
    last = shown[-1] if shown else str(given.get("after") or "")
    has_prev = more if page.backwards else page.after is not None
    has_next = page.before is not None or (more and not page.backwards)

    def link(end: str, cursor: str) -> str:
        pages: Query = {end: cursor, "size": str(page.size), **({"total": "true"} if page.total else {})}
        return f"{url}?{encode({**kept(query), 'page': pages})}"

    return {
        "first": link("after", ""),
        "prev": link("before", first) if has_prev else None,
        "next": link("after", last) if has_next else None,
        "last": link("before", ""),
    }


def _given(query: Query) -> Mapping[str, Value]:
    page = query.get("page")
    return page if isinstance(page, dict) else {}


def _check_order(resource: Resource, sorts: Sequence[Sort]) -> None:
    """A cursor can be read by whoever holds it, so it must hold nothing that is hidden."""
    hidden = {resource.attributes[name].column for name in resource.hidden if name in resource.attributes}
    for sort in sorts:
        if sort.column in hidden:
            raise errors.unsupported_sort(sort.column, "cannot be the order of pages by cursor.")


def _place(given: Mapping[str, Value], end: str, sorts: Sequence[Sort], seal: CursorSigner) -> KeysetPosition | None:
    text = given.get(end)
    if text is None or text == "":
        return None
    try:
        if isinstance(text, str):
            return seal.read(sorts, text)
    except InvalidCursorError:
        pass
    raise errors.invalid_parameter(f"page[{end}]", f"page[{end}] is no cursor of this list in this order.")


def _size(text: Value, default: int, most: int) -> int:
    if text is None:
        return default
    if not isinstance(text, str) or not POSITIVE.fullmatch(text):
        raise errors.invalid_parameter("page[size]", "page[size] must be a positive integer.")
    if int(text) > most:
        raise errors.cursor_page_too_large(most)
    return int(text)


def _total(text: Value) -> bool:
    if text is not None and (not isinstance(text, str) or text not in FLAGS):
        raise errors.invalid_parameter("page[total]", "page[total] must be true or false.")
    return FLAGS[text]
