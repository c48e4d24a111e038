"""The links of numbered pages, with the request's parameters sorted and form-encoded (contract 7)."""

from service.jsonapi.query_string import Parameters, encode
from service.query import Page

KEPT = ("fields", "include", "sort", "filter")


def page_links(url: str, parameters: Parameters, page: Page, total: int | None, more: bool) -> dict[str, str]:
    """The links first, prev, next and last. Pages that do not exist are left out, and last if the total is unknown.

    `url` has no query. `more`: there is a record after the page.
    """
    last = None if total is None else max(1, -(-total // page.size))
    numbers = {"first": 1, "prev": page.number - 1, "next": page.number + 1}
    if page.number == 1:
        del numbers["prev"]
    if not more if last is None else page.number >= last:
        del numbers["next"]
    if last is not None:
        numbers["last"] = last
    asked = kept(parameters)
    after = f"&{encode({'sort': asked.pop('sort')})}" if "sort" in asked else ""
    before = f"{encode(asked)}&" if asked else ""
    return {
        name: f"{url}?{before}page%5Bnumber%5D={number}&page%5Bsize%5D={page.size}{after}"
        for name, number in numbers.items()
    }


def kept(parameters: Parameters) -> Parameters:
    """The parameters that all pages of a list share."""
    return {name: parameters[name] for name in KEPT if parameters.get(name) is not None}
