"""Cursor pagination: the `page` parameter, and the links of a page.

Follows the profile https://jsonapi.org/profiles/ethanresnick/cursor-pagination/, with two additions: an empty cursor
means the start or the end of the list, and `page[total]=true` requests the total.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from service import errors
from service.jsonapi.cursors import CursorSigner, InvalidCursorError, PositionTooLongError
from service.jsonapi.links import kept
from service.jsonapi.query_string import Parameters, Value, encode
from service.query import CursorPage, KeysetPosition, Page, Sort
from service.schemas.resource import Resource

POSITIVE = re.compile(r"0*[1-9]\d{0,8}", re.ASCII)
FLAGS = {None: False, "true": True, "false": False}


@dataclass(frozen=True, slots=True)
class CursorPaging:
    """Enables cursor pagination. `profiled`: the client requested the profile in Accept."""

    signer: CursorSigner
    profiled: bool

    def wanted(self, parameters: Parameters) -> bool:
        """True if the request has a cursor, or requests the profile without a page number."""
        page = parameters.get("page")
        if page is not None and not isinstance(page, dict):
            return False
        given = page or {}
        if any(given.get(end) is not None for end in ("after", "before")):
            return True
        return self.profiled and given.get("number") is None


def parse(
    resource: Resource, parameters: Parameters, sorts: Sequence[Sort], signer: CursorSigner, max_size: int
) -> CursorPage:
    """The requested page. Raises BadRequestError."""
    _check_order(resource, sorts)
    given = _given(parameters)
    if given.get("number") is not None:
        raise errors.page_number_with_cursor()
    after, before = (_position(given, end, sorts, signer) for end in ("after", "before"))
    starts, ends = (given.get(end) is not None for end in ("after", "before"))
    return CursorPage(
        _size(given.get("size"), max_size if starts and ends else Page().size, max_size),
        after,
        before,
        backwards=ends and not starts,
        ranged=ends and starts,
        total=_total(given.get("total")),
    )


def cursors(signer: CursorSigner, sorts: Sequence[Sort], positions: Sequence[KeysetPosition]) -> list[str]:
    """A cursor for each position. Raises BadRequestError if a value is too long for a URL."""
    try:
        return signer.sign(sorts, positions)
    except PositionTooLongError as error:
        raise errors.sort_value_too_long(sorts[0].column) from error


def links(
    url: str, parameters: Parameters, page: CursorPage, shown: Sequence[str], more: bool
) -> dict[str, str | None]:
    """The links first, prev, next and last; None if the page does not exist. `shown`: cursors of the page's records."""
    given = _given(parameters)
    # An empty page is between the requested cursors, or at the start or end of the list.
    first = shown[0] if shown else str(given.get("before") or "")
    last = shown[-1] if shown else str(given.get("after") or "")
    has_prev = more if page.backwards else page.after is not None
    has_next = page.before is not None or (more and not page.backwards)

    def link(end: str, cursor: str) -> str:
        pages: Parameters = {end: cursor, "size": str(page.size), **({"total": "true"} if page.total else {})}
        return f"{url}?{encode({**kept(parameters), 'page': pages})}"

    return {
        "first": link("after", ""),
        "prev": link("before", first) if has_prev else None,
        "next": link("after", last) if has_next else None,
        "last": link("before", ""),
    }


def _given(parameters: Parameters) -> Mapping[str, Value]:
    page = parameters.get("page")
    return page if isinstance(page, dict) else {}


def _check_order(resource: Resource, sorts: Sequence[Sort]) -> None:
    """Rejects hidden sort keys, because clients can decode the values in a cursor."""
    hidden = {resource.attributes[name].column for name in resource.hidden if name in resource.attributes}
    for sort in sorts:
        if sort.column in hidden:
            raise errors.unsupported_sort(sort.column)


def _position(
    given: Mapping[str, Value], end: str, sorts: Sequence[Sort], signer: CursorSigner
) -> KeysetPosition | None:
    text = given.get(end)
    if text is None or text == "":
        return None
    try:
        if isinstance(text, str):
            return signer.verify(sorts, text)
    except InvalidCursorError:
        pass
    raise errors.invalid_cursor(end)


def _size(text: Value, default: int, max_size: int) -> int:
    if text is None:
        return default
    if not isinstance(text, str) or not POSITIVE.fullmatch(text):
        raise errors.invalid_cursor_page_size()
    if int(text) > max_size:
        raise errors.cursor_page_too_large(max_size)
    return int(text)


def _total(text: Value) -> bool:
    if text is not None and (not isinstance(text, str) or text not in FLAGS):
        raise errors.invalid_flag("page[total]")
    return FLAGS[text]
