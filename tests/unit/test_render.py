"""The compiler of renderers where the resources that exist do not lead it."""

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
    renderer = render.compiled(ODD, names)
    row = tuple(record[column] for column in renderer.columns)
    [found] = renderer.records([row], "http://h")
    assert found == OddSchema(base="http://h", fieldset=names).dump(record)["data"]


def test_columns_that_follow_the_renderers_own_do_not_matter() -> None:
    renderer = render.compiled(ODD, ("url",), linked=True)
    assert renderer.columns == ("id", "url", "account_id")
    [found] = renderer.records([(7, 1, 5, "more", "still more")], "http://h", {5: "u"})
    assert found["attributes"] == {"url": 1}


def test_a_host_that_a_client_made_up_stays_text() -> None:
    [found] = render.compiled(ODD, ("account",)).records([(7,)], "http://'\"{}%s")
    assert found["relationships"]["account"]["links"]["related"] == "http://'\"{}%s/api/rest/customer/v1/odd/7/account"
