"""The prepared renderers, for cases that no existing resource has."""

import json
from typing import Any

import pytest

from service.jsonapi import render
from service.schemas.base import ResourceSchema
from service.schemas.fields import Identifier, Integer, String, ToAccount
from service.schemas.resource import Resource


class Loud(String):
    """A type that the compiler has never heard of."""

    def _serialize(self, value: str | None, *_: Any, **__: Any) -> str | None:
        return None if value is None else value.upper()


class OddSchema(ResourceSchema):
    """Names that Python reserves, or that generated code could use itself."""

    id = Identifier("Number.")
    rows = Loud("A text.")
    url = Integer("A number.")
    lambda_ = String("A word.")
    account = ToAccount("The account.")

    class Meta(ResourceSchema.Meta):
        type_ = "odd"


ODD = Resource(OddSchema(), frozenset(), {})


@pytest.mark.parametrize("names", [None, ("rows",), ("url", "rows"), ("account",), ()])
def test_an_unknown_type_and_odd_names_are_rendered_as_the_schema_dumps_them(names: tuple[str, ...] | None) -> None:
    record = {"id": 7, "rows": "quiet", "url": 1, "lambda_": "λ"}
    renderer = render.get_renderer(ODD, names)
    row = tuple(record[column] for column in renderer.columns)
    [found], [flat] = renderer.records([row], "http://h"), renderer.flat([row])
    dumped = OddSchema(base="http://h", fieldset=names).dump(record)["data"]
    assert json.loads(found) == dumped
    assert flat == {"id": "7", **dumped.get("attributes", {})}


def test_columns_that_follow_the_renderers_own_do_not_matter() -> None:
    renderer = render.get_renderer(ODD, ("url",), linked=True)
    assert renderer.columns == ("id", "url", "account_id")
    row = (7, 1, 5, "more", "still more")
    [found] = renderer.records([row], "http://h", {5: "u"})
    assert json.loads(found)["attributes"] == {"url": 1}
    assert renderer.flat([row], {5: "u"}) == [{"id": "7", "url": 1}]


def test_a_linked_row_names_its_account_if_that_is_known() -> None:
    renderer = render.get_renderer(ODD, ("account",), linked=True)
    known, unknown = (json.loads(record) for record in renderer.records([(7, 5), (8, 6)], "http://h", {5: "u"}))
    assert known["relationships"]["account"]["data"] == {"type": "accounts", "id": "u"}
    assert unknown["relationships"]["account"]["data"] is None
    assert [flat["account"] for flat in renderer.flat([(7, 5), (8, 6)], {5: "u"})] == ["u", None]


def test_a_host_that_a_client_made_up_stays_text() -> None:
    [found] = render.get_renderer(ODD, ("account",)).records([(7,)], "http://'\"{}%s")
    links = json.loads(found)["relationships"]["account"]["links"]
    assert links["related"] == "http://'\"{}%s/api/rest/customer/v1/odd/7/account"
