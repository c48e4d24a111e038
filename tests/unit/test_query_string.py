"""Conversion of query strings to nested parameters, and back to links."""

import pytest

from service.errors import ApiError
from service.jsonapi import query_string
from service.jsonapi.query_string import Parameters


@pytest.mark.parametrize(
    ("text", "parsed"),
    [
        ("", {}),
        ("&&a=1&", {"a": "1"}),
        ("a", {"a": None}),
        ("a=", {"a": ""}),
        ("=x", {}),
        ("a=1&a=2", {"a": "2"}),
        ("a=b=c", {"a": "b=c"}),
        ("a+b=c+d%2B", {"a b": "c d+"}),
        ("filter[x]=1&filter%5By%5D=2", {"filter": {"x": "1", "y": "2"}}),
        ("a[]=1&a[]=2", {"a": ["1", "2"]}),
        ("a[b][]=1", {"a": {"b": ["1"]}}),
        ("a[b][c]=1", {"a": {"b": {"c": "1"}}}),
        ("[a]=1", {"[a]": "1"}),
        ("a[b=1", {"a": {"[b": "1"}}),
        ("a[b[c]=1", {"a": {"b[c": "1"}}),
        ("a[b]c=1", {"a": {"b": {"c": "1"}}}),
        ("a[b]c[d]=1", {"a": {"b": {"c[d]": "1"}}}),
        ("a[=1", {"a[": "1"}),
        ("a]=1", {"a]": "1"}),
    ],
)
def test_brackets_nest(text: str, parsed: Parameters) -> None:
    assert query_string.parse(text) == parsed


@pytest.mark.parametrize(
    "text",
    ["a=%", "a=%zz", "%f=1", "a=%ff", "a=1&a[b]=2", "a[b]=1&a=2", "a[]=1&a[b]=2", "a[b]=1&a[]=2", "a" + "[b]" * 40],
)
def test_what_cannot_be_read_is_a_bad_request(text: str) -> None:
    with pytest.raises(ApiError) as refused:
        query_string.parse(text)
    assert refused.value.errors[0].code == "400"


def test_links_sort_each_level_and_encode_like_a_form() -> None:
    parsed = query_string.parse("sort=-a&filter[b]=x%20y&filter[a_in]=1,*&fields[cdrs]=~é")
    assert query_string.encode(parsed) == (
        "fields%5Bcdrs%5D=~%C3%A9&filter%5Ba_in%5D=1%2C%2A&filter%5Bb%5D=x+y&sort=-a"
    )
