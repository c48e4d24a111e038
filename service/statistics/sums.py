"""Sums of calls, which can be merged exactly."""

from decimal import MAX_EMAX, MIN_EMIN, Context, Decimal
from typing import NamedTuple

# Sufficient for any numeric of PostgreSQL; memory is used only for existing digits.
EXACT = Context(prec=200_000, Emax=MAX_EMAX, Emin=MIN_EMIN, traps=[])


class CallSums(NamedTuple):
    """Numbers of calls, durations in seconds, and price. `talked`: total duration of the successful calls."""

    calls: int = 0
    successful: int = 0
    failed: int = 0
    duration: int = 0
    talked: int = 0
    price: Decimal = Decimal(0)

    def plus(self, other: "CallSums") -> "CallSums":
        """The sums of both."""
        return CallSums(
            self.calls + other.calls,
            self.successful + other.successful,
            self.failed + other.failed,
            self.duration + other.duration,
            self.talked + other.talked,
            EXACT.add(self.price, other.price),
        )
