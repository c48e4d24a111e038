"""How many requests a caller may still send: a bucket of tokens for each caller, which fills steadily."""

from collections import OrderedDict
from collections.abc import Hashable
from dataclasses import dataclass
from math import ceil

MAX_CUSTOMERS = 10000  # TokenBucketLimiter that are remembered; the one that was touched longest ago goes first.


@dataclass(frozen=True, slots=True)
class RateLimit:
    """What is left to a caller: requests, and the seconds until all of them are there again or one is."""

    limit: int
    remaining: int
    reset: int
    retry_after: int

    @property
    def exceeded(self) -> bool:
        """Whether this request was one too many."""
        return self.retry_after > 0


class TokenBucketLimiter:
    """`limit` requests in `period` seconds for each caller, who may also send all of them at once."""

    def __init__(self, limit: int, period: float) -> None:
        self._limit = limit
        self._rate = limit / period
        self._tokens: OrderedDict[Hashable, tuple[float, float]] = OrderedDict()

    def take(self, caller: Hashable, now: float) -> RateLimit:
        """Takes a token of the caller's, if there is one; `now` is in seconds of a clock that never goes back."""
        tokens, since = self._tokens.pop(caller, (float(self._limit), now))
        tokens = min(float(self._limit), tokens + (now - since) * self._rate)
        taken = tokens >= 1
        tokens -= taken
        self._tokens[caller] = tokens, now
        if len(self._tokens) > MAX_CUSTOMERS:
            self._tokens.popitem(last=False)
        reset = ceil((self._limit - tokens) / self._rate)
        return RateLimit(self._limit, int(tokens), reset, 0 if taken else ceil((1 - tokens) / self._rate))

    def give_back(self, caller: Hashable) -> None:
        """Returns a token that was taken for something that does not count; the bucket never holds more than all."""
        if caller in self._tokens:
            tokens, since = self._tokens[caller]
            self._tokens[caller] = min(float(self._limit), tokens + 1), since
