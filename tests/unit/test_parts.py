"""Division of a list into parts: the rows of each part, and the lists that are read in parts."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.db import parts
from service.db.parts import Part
from service.query import Caller, Filter, Query, Sort
from service.schemas.resource import configured

ANYONE, LIMITED = Caller(7, None, False), Caller(7, (71,), False)
START, END = datetime(2026, 3, 1, tzinfo=UTC), datetime(2026, 3, 31, tzinfo=UTC)
TESTS = {
    "gteq": lambda value, bound: value >= bound,
    "gt": lambda value, bound: value > bound,
    "lteq": lambda value, bound: value <= bound,
    "lt": lambda value, bound: value < bound,
}
DIRECTIONS = pytest.mark.parametrize("descending", [True, False], ids=["newest first", "oldest first"])


def has(part: Part, value: Any) -> bool:
    return all(TESTS[bound.operator](value, bound.values[0]) for bound in part.bounds)


def place(found: list[Part], value: Any) -> int:
    [number] = [number for number, part in enumerate(found) if has(part, value)]
    return number


@given(st.booleans(), st.integers(-(2**62), 2**62), st.integers(-(2**62), 2**62), st.lists(st.integers()))
def test_each_id_is_in_one_part_and_parts_follow_the_order(
    descending: bool, low: int, high: int, ids: list[int]
) -> None:
    found = parts.split([Sort("id", descending)], (low, high))
    numbers = [place(found, id) for id in sorted(ids, reverse=descending)]
    assert numbers == sorted(numbers)


@DIRECTIONS
def test_each_moment_is_in_one_part_also_outside_of_the_extent(descending: bool) -> None:
    found = parts.split([Sort("time_start", descending), Sort("id", descending)], (START, END))
    moments = [START + timedelta(hours=hours) for hours in range(-48, 32 * 24, 7)]
    numbers = [place(found, moment) for moment in sorted(moments, reverse=descending)]
    assert numbers == sorted(numbers)
    assert set(numbers) == {0, 1, 2}


@DIRECTIONS
def test_only_a_small_first_part_is_left_to_the_planner(descending: bool) -> None:
    found = parts.split([Sort("time_start", descending)], (START, END))
    assert [part.one_pass for part in found] == [False, True, True]
    middle = [START + (END - START) * number / 1000 for number in range(1, 1000)]
    assert sum(has(found[0], moment) for moment in middle) < 5


@pytest.mark.parametrize("extent", [None, (END, START), (START, START)], ids=["unknown", "turned round", "empty"])
def test_a_list_without_an_extent_is_one_part(extent: Any) -> None:
    assert parts.split([Sort("time_start", True)], extent) == [Part(one_pass=True)]


def test_another_order_is_one_part() -> None:
    assert parts.split([Sort("duration"), Sort("id")], (START, END)) == [Part(one_pass=True)]


@pytest.mark.parametrize(
    ("filters", "caller", "selective"),
    [
        ([], ANYONE, False),
        ([], LIMITED, True),
        ([Filter("time_start", "gteq", (START,)), Filter("id", "gt", (9,))], ANYONE, False),
        ([Filter("time_start", "gteq", (START,)), Filter("success", "eq", (True,))], ANYONE, True),
        ([Filter("success", "eq", (True,)), Filter("id", "in", (1, 2))], LIMITED, False),
    ],
)
def test_what_more_than_a_window_is_asked_for_may_be_selective(
    filters: list[Filter], caller: Caller, selective: bool
) -> None:
    query = Query(configured(UTC, {})["cdrs"], ("id",), caller, tuple(filters))
    assert parts.is_selective(query) is selective


def test_filters_narrow_the_extent_of_their_column() -> None:
    day = timedelta(days=1)
    filters = [
        Filter("time_start", "gteq", (START + day,)),
        Filter("time_start", "lt", (END - day,)),
        Filter("time_start", "not_eq", (START,)),
        Filter("time_end", "lt", (START,)),
    ]
    assert parts.bounded("time_start", filters, (START, END)) == (START + day, END - day)
