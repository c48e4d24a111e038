"""Buckets of time in a time zone, by their starts as Unix times.

A bucket of minutes or hours starts when the local time is a multiple of its size, and at every change of the UTC
offset, so a repeated hour is two buckets. A day starts at the first moment of its date; it has 23 or 25 hours if the
offset changes.
"""

from collections.abc import Callable, Iterator
from datetime import UTC, date, datetime, time, timedelta, tzinfo
from functools import partial

MAX_BUCKETS = 50_000
CLOCK = {"minute": 60, "5minutes": 300, "15minutes": 900, "hour": 3600}  # Sizes in seconds.
CALENDAR = ("day", "week", "month")

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
# The range in which Python's dates support all zones and samplings.
EARLIEST, LATEST = datetime(1, 1, 10, tzinfo=UTC), datetime(9999, 11, 20, tzinfo=UTC)
STEP = 6 * 3600  # Seconds. No zone changes its offset twice within that time.


class TooManyBucketsError(Exception):
    """The range has more than MAX_BUCKETS buckets."""


def starts(sampling: str, zone: tzinfo, first: datetime, last: datetime) -> list[int]:
    """The starts of the buckets from that of `first` to that of `last`, ascending. Raises TooManyBucketsError."""
    first, last = (min(max(moment, EARLIEST), LATEST) for moment in (first, last))
    found: list[int] = []
    every = _clock(CLOCK[sampling], zone, seconds(first)) if sampling in CLOCK else _calendar(sampling, zone, first)
    for start in every:
        if start > seconds(last):
            break
        if start not in found[-1:]:  # If a zone skips a date, the date and the next one have the same start.
            found.append(start)
        if len(found) > MAX_BUCKETS:
            raise TooManyBucketsError
    return found


def seconds(moment: datetime) -> int:
    """Whole seconds since 1970."""
    return (moment - EPOCH) // timedelta(seconds=1)


def moment(seconds: int) -> datetime:
    """The time in UTC."""
    return EPOCH + timedelta(seconds=seconds)


def _clock(size: int, zone: tzinfo, position: int) -> Iterator[int]:
    offset = _offset(zone, position)
    start = position - (position + offset) % size
    changed = _offset(zone, start) != offset
    yield _first(partial(_differs, zone, _offset(zone, start)), start, position) if changed else start
    while True:
        offset, end = _offset(zone, position), position + STEP
        if changed := _offset(zone, end) != offset:
            end = _first(partial(_differs, zone, offset), position, end)
        yield from range(position + size - (position + offset) % size, end, size)
        if changed or (end + offset) % size == 0:
            yield end
        position = end


def _calendar(sampling: str, zone: tzinfo, first: datetime) -> Iterator[int]:
    day = first.astimezone(zone).date()
    if sampling == "week":
        day -= timedelta(days=day.isoweekday() % 7)
    elif sampling == "month":
        day = day.replace(day=1)
    while True:
        yield _midnight(zone, day)
        if sampling == "month":
            day = day.replace(year=day.year + day.month // 12, month=day.month % 12 + 1)
        else:
            day += timedelta(days=7 if sampling == "week" else 1)


def _midnight(zone: tzinfo, day: date) -> int:
    """The first moment of a date, or of the next date if the zone skips it."""
    naive = datetime.combine(day, time())
    start = naive.replace(tzinfo=zone).astimezone(UTC)
    if start.astimezone(zone).replace(tzinfo=None) == naive:
        return seconds(start)
    end = seconds(start)  # The clock skips midnight.
    return _first(lambda second: moment(second).astimezone(zone).date() >= day, end - 86400, end)


def _offset(zone: tzinfo, second: int) -> int:
    """The UTC offset in seconds."""
    offset = moment(second).astimezone(zone).utcoffset()
    return 0 if offset is None else offset // timedelta(seconds=1)


def _differs(zone: tzinfo, offset: int, second: int) -> bool:
    return _offset(zone, second) != offset


def _first(true: Callable[[int], bool], low: int, high: int) -> int:
    """Bisects for the first second with `true`, which is false at `low` and true at `high`."""
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if true(middle) else (middle, high)
    return high
