"""Spellings and lists in query values."""

import pytest

from service.db.statement import read_sql
from service.jsonapi.spelling import WHITE_SPACE, MalformedListError, is_blank, split_list, underscore


@pytest.mark.parametrize(
    ("text", "values"),
    [
        ("a,b", ["a", "b"]),
        ("a,", ["a", None]),
        (",", [None, None]),
        ('"a,b"', ["a,b"]),
        ('"a""b"', ['a"b']),
        ('"",x', ["", "x"]),
        ("a;b", ["a;b"]),
        (" a , b ", [" a ", " b "]),
        ("a\nb,c", ["a"]),
        ("a\r\nb", ["a"]),
        ('"a\nb"', ["a\nb"]),
        ("\nb", []),
    ],
)
def test_a_list_is_the_first_line_of_comma_separated_values(text: str, values: list[str | None]) -> None:
    assert split_list(text) == values


@pytest.mark.parametrize("text", ['a"b', '"a', 'a, "b"', '"a"b', '"a" ,b'])
def test_quotes_that_do_not_fit_together_are_refused(text: str) -> None:
    with pytest.raises(MalformedListError):
        split_list(text)


@pytest.mark.parametrize(
    ("spelling", "name"),
    [
        ("time_start_gteq", "time_start_gteq"),
        ("time-start-gteq", "time_start_gteq"),
        ("timeStartGteq", "time_start_gteq"),
        ("LOCAL_TAG_EQ", "local_tag_eq"),
        ("Local_Tag_Eq", "local_tag_eq"),
        ("HTMLTag", "html_tag"),
        ("éÉ_eq", "éé_eq"),
    ],
)
def test_three_spellings_are_one_name(spelling: str, name: str) -> None:
    assert underscore(spelling) == name


@pytest.mark.parametrize("character", WHITE_SPACE)
def test_every_unicode_white_space_is_blank(character: str) -> None:
    assert is_blank(character)
    assert not is_blank(f"{character}x")


def test_sql_and_python_agree_on_what_is_white_space() -> None:
    literal = read_sql("shapes/rec").split("E'")[1].split("'")[0]
    assert literal.encode().decode("unicode_escape") == WHITE_SPACE
