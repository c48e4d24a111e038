"""What is added up about calls; sums of parts of a bucket add up to those of the bucket, exactly."""

from decimal import MAX_EMAX, MIN_EMIN, Context, Decimal
from typing import NamedTuple

# Wide enough for any numeric of PostgreSQL; it only takes as much memory as there are digits.
EXACT = Context(prec=200_000, Emax=MAX_EMAX, Emin=MIN_EMIN, traps=[])


class CallSums(NamedTuple):
    """Numbers of calls, seconds and money. `talked`: seconds of the successful calls, for their average duration."""

    calls: int = 0
    successful: int = 0
    failed: int = 0
    duration: int = 0
    talked: int = 0
    price: Decimal = Decimal(0)

    def plus(self, other: "CallSums") -> "CallSums":
        """The sums over the calls of both."""
        return CallSums(
            self.calls + other.calls,
            self.successful + other.successful,
            self.failed + other.failed,
            self.duration + other.duration,
            self.talked + other.talked,
            EXACT.add(self.price, other.price),
        )
