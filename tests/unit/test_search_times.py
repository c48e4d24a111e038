"""Which searches run as prepared statements, and for how long."""

import pytest

from service.db.search_times import MAX_ENTRIES, VALID_SECONDS, SearchTimes


class Clock:
    now = 100.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def times(clock: Clock) -> SearchTimes:
    return SearchTimes(clock)


def test_a_search_is_prepared_after_it_was_fast(times: SearchTimes) -> None:
    assert times.limit("a") is None
    times.measured("a", 0.02)
    times.measured("b", 0.3)
    assert (times.limit("a"), times.limit("b")) == (pytest.approx(0.09), None)
    times.measured("b", 0.1)
    assert times.limit("b") == pytest.approx(0.25)


def test_a_search_that_exceeds_its_limit_is_planned_with_its_values_for_a_time(
    times: SearchTimes, clock: Clock
) -> None:
    times.measured("a", 0.02)
    times.exceeded("a")
    times.measured("a", 0.02)
    assert times.limit("a") is None
    clock.now += VALID_SECONDS
    assert times.limit("a") is None
    times.measured("a", 0.02)
    assert times.limit("a") is not None


def test_searches_are_measured_again(times: SearchTimes, clock: Clock) -> None:
    times.measured("a", 0.02)
    clock.now += VALID_SECONDS
    assert times.limit("a") is None
    times.measured("a", 0.3)
    assert times.limit("a") is None


def test_the_oldest_searches_are_forgotten(times: SearchTimes) -> None:
    for key in range(MAX_ENTRIES + 1):
        times.measured(str(key), 0.02)
    assert [key for key in range(MAX_ENTRIES + 1) if times.limit(str(key)) is None] == [0]
