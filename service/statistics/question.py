"""What a statistic asks: each endpoint's declaration, and its parameters as frozen values."""

from dataclasses import dataclass
from datetime import datetime

from service.query import Filter
from service.statistics.buckets import CALENDAR

FINE, COARSE = ("minute", "5minutes"), ("hour", *CALENDAR)


@dataclass(frozen=True, slots=True)
class Statistic:
    """One endpoint. `resource` is the type whose calls are counted, `price` and `billed` columns of its SQL."""

    resource: str
    price: str
    billed: str  # The duration that is paid for.
    has_auth_ip: bool
    quality: bool = False

    @property
    def samplings(self) -> tuple[str, ...]:
        """The sizes of buckets that may be asked for."""
        return (*FINE, "15minutes") if self.quality else (*FINE, *COARSE)


STATISTICS = {
    f"{name}-statistics{suffix}": Statistic(*declared, quality=bool(suffix))
    for name, declared in {
        "origination": ("cdrs", "customer_price", "customer_duration", True),
        "termination": ("incoming-cdrs", "vendor_price", "vendor_duration", False),
    }.items()
    for suffix in ("", "-quality")
}


@dataclass(frozen=True, slots=True)
class Question:
    """The calls from `first` to `last`, both included, by buckets, of which that of `until` is the last."""

    statistic: Statistic
    sampling: str
    first: datetime
    last: datetime
    until: datetime
    filters: tuple[Filter, ...]
