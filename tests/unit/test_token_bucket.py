"""The token bucket, with a clock of the test."""

from hypothesis import given
from hypothesis import strategies as st

from service.web import token_bucket
from service.web.token_bucket import RateLimit, TokenBucketLimiter


def test_all_requests_may_come_at_once_and_the_next_is_too_many() -> None:
    limited = TokenBucketLimiter(3, 60)
    assert [limited.take("a", 0) for _ in range(4)] == [
        RateLimit(3, 2, 20, 0),
        RateLimit(3, 1, 40, 0),
        RateLimit(3, 0, 60, 0),
        RateLimit(3, 0, 60, 20),
    ]


def test_who_waits_as_told_may_ask_again_and_not_before() -> None:
    limited = TokenBucketLimiter(1, 10)
    assert not limited.take("a", 0).exceeded
    assert limited.take("a", 9.5).exceeded
    assert not limited.take("a", 9.5 + limited.take("a", 9.5).retry_after).exceeded


def test_one_caller_does_not_spend_what_another_has() -> None:
    limited = TokenBucketLimiter(1, 10)
    assert [limited.take(caller, 0).exceeded for caller in "aabb"] == [False, True, False, True]


def test_the_number_of_callers_is_bounded() -> None:
    limited = TokenBucketLimiter(1, 10)
    for caller in range(token_bucket.MAX_BUCKETS + 100):
        limited.take(caller, 0)
    assert len(limited._tokens) == token_bucket.MAX_BUCKETS


@given(st.integers(1, 20), st.floats(0.1, 1000), st.lists(st.floats(0, 10), min_size=1, max_size=60))
def test_nobody_gets_more_than_the_limit_and_what_has_been_filled_since(
    limit: int, period: float, pauses: list[float]
) -> None:
    limited, now, granted = TokenBucketLimiter(limit, period), 0.0, 0
    for pause in pauses:
        now += pause
        granted += not limited.take("a", now).exceeded
    assert granted <= limit + now * limit / period + 1e-6
