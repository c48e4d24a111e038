"""The links of a list: its pages, with what the client asked for in sorted, form-encoded spelling (contract 7)."""

from service.jsonapi.query_string import Query, encode
from service.query import Page

KEPT = ("fields", "include", "sort", "filter")


def pages(url: str, query: Query, page: Page, total: int) -> dict[str, str]:
    """first and last always, prev and next where there are such pages. `url` is the list's own, without a query."""
    last = max(1, -(-total // page.size))
    numbers = {"first": 1, "prev": page.number - 1, "next": page.number + 1, "last": last}
    if page.number == 1:
        del numbers["prev"]
    if page.number >= last:
        del numbers["next"]
    asked = kept(query)
    after = f"&{encode({'sort': asked.pop('sort')})}" if "sort" in asked else ""
    before = f"{encode(asked)}&" if asked else ""
    return {
        name: f"{url}?{before}page%5Bnumber%5D={number}&page%5Bsize%5D={page.size}{after}"
        for name, number in numbers.items()
    }


def kept(query: Query) -> Query:
    """The parameters that all pages of a list share."""
    return {name: query[name] for name in KEPT if query.get(name) is not None}
