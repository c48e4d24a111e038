"""Accept and Accept-Encoding as clients send them; hostile ones are parsed in linear time."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.jsonapi import quality_values
from service.jsonapi.quality_values import MAX_CACHED_LENGTH, MAX_LENGTH, parse


def names(header: str) -> list[str]:
    return [choice.name for choice in parse(header)]


@pytest.mark.parametrize(
    ("header", "found"),
    [
        ("text/html, image/gif, image/jpeg, *; q=.2, */*; q=.2", ["text/html", "image/gif", "image/jpeg", "*", "*/*"]),
        ('a/b;x="c, d/e", f/g', ["a/b", "f/g"]),
        (r'a/b;x="\", c/d", e/f', ["a/b", "e/f"]),
        ('a/b;x=", c/d', ["c/d"]),
        (r'a/b, c/d;x="\", e/f', ["a/b", "e/f"]),
        ("a/b c/d, é/f, g/h;i, j/k;l=", []),
        ("GZIP;Q=0.5,\t*", ["gzip", "*"]),
        (",, ,", []),
        ("", []),
    ],
)
def test_what_can_be_read_is_read_and_the_rest_left_out(header: str, found: list[str]) -> None:
    assert names(header) == found


@pytest.mark.parametrize(
    ("text", "quality"), [(".8", 0.8), ("0.5000", 0.5), ("1.", 1), ("1.00000", 1), ("0", 0), ("0.", 0), (".0", 0)]
)
def test_qualities_are_read_as_they_are_written(text: str, quality: float) -> None:
    assert [choice.quality for choice in parse(f"a/b;q={text}")] == [quality]


@pytest.mark.parametrize("text", ["", ".", "1.1", "2", "-1", "1e-1", "٠", '"1"', "00.5"])
def test_what_is_no_quality_leaves_its_element_out(text: str) -> None:
    assert "a/b" not in names(f"a/b;q={text}")


@given(st.text(alphabet='ab/*;=,"\\ \tq.01', max_size=60))
def test_nothing_that_can_be_read_is_lost_behind_what_cannot(header: str) -> None:
    """A readable element in front is read, whatever follows."""
    assert names(f"x/y,{header}")[0] == "x/y"


def test_what_is_too_long_means_nothing() -> None:
    assert names("a/b" + " " * (MAX_LENGTH - 3)) == ["a/b"]
    assert names("a/b" + " " * (MAX_LENGTH - 2)) == []


def test_long_headers_are_not_remembered() -> None:
    before = quality_values._cached.cache_info().currsize
    for number in range(100):
        parse(f"a/b;x={number}" + " " * MAX_CACHED_LENGTH)
    assert quality_values._cached.cache_info().currsize == before


@pytest.mark.parametrize("unit", [",", ";", '"', '\\"', "a/b,", "a/b;", 'a/b;c="', "a;", " ,", '",', " ", "a", "q=0"])
def test_a_header_is_read_once_however_it_is_made(unit: str) -> None:
    """Were parts of it read again and again, this would not end for hours."""
    quality_values._parse("a/b;c=" + unit * (100000 // len(unit)) + "@")
