"""The declarations of the statistics, and the parsed parameters of a request."""

from dataclasses import dataclass
from datetime import datetime

from service.query import Filter
from service.statistics.buckets import CALENDAR

FINE, COARSE = ("minute", "5minutes"), ("hour", *CALENDAR)


@dataclass(frozen=True, slots=True)
class Statistic:
    """One endpoint. `resource` is the type of the counted calls; `price` and `billed` are columns of its SQL."""

    resource: str
    price: str
    billed: str  # The billed duration.
    has_auth_ip: bool
    quality: bool = False

    @property
    def samplings(self) -> tuple[str, ...]:
        """The supported sizes of buckets."""
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
    """The calls from `first` to `last`, both included, in buckets up to that of `until`."""

    statistic: Statistic
    sampling: str
    first: datetime
    last: datetime
    until: datetime
    filters: tuple[Filter, ...]
