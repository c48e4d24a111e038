"""Rate limits with a token bucket for each caller."""

from collections import OrderedDict
from collections.abc import Hashable
from dataclasses import dataclass
from math import ceil

MAX_BUCKETS = 10000  # The least recently used one is dropped beyond this.


@dataclass(frozen=True, slots=True)
class RateLimit:
    """The state of a caller's bucket. `reset`, `retry_after`: seconds until all tokens, or one token, are available."""

    limit: int
    remaining: int
    reset: int
    retry_after: int

    @property
    def exceeded(self) -> bool:
        """True if the request exceeded the limit."""
        return self.retry_after > 0


class TokenBucketLimiter:
    """Permits `limit` requests in `period` seconds for each caller, also in one burst."""

    def __init__(self, limit: int, period: float) -> None:
        self._limit = limit
        self._rate = limit / period
        self._tokens: OrderedDict[Hashable, tuple[float, float]] = OrderedDict()

    def take(self, caller: Hashable, now: float) -> RateLimit:
        """Takes a token of the caller, if available. `now` is monotonic, in seconds."""
        tokens, since = self._tokens.pop(caller, (float(self._limit), now))
        tokens = min(float(self._limit), tokens + (now - since) * self._rate)
        taken = tokens >= 1
        tokens -= taken
        self._tokens[caller] = tokens, now
        if len(self._tokens) > MAX_BUCKETS:
            self._tokens.popitem(last=False)
        reset = ceil((self._limit - tokens) / self._rate)
        return RateLimit(self._limit, int(tokens), reset, 0 if taken else ceil((1 - tokens) / self._rate))

    def give_back(self, caller: Hashable) -> None:
        """Returns a token to the caller's bucket."""
        if caller in self._tokens:
            tokens, since = self._tokens[caller]
            self._tokens[caller] = min(float(self._limit), tokens + 1), since
