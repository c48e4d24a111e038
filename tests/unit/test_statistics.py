"""Buckets compared with a clock that is read minute by minute, and rounding."""

from datetime import UTC, datetime, timedelta
from decimal import Decimal
from zoneinfo import ZoneInfo

import orjson
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from service.statistics import buckets
from service.statistics.buckets import CALENDAR, CLOCK, MAX_BUCKETS, TooManyBucketsError
from service.statistics.report import _number, _ratio

ZONES = [
    "UTC",
    "Europe/Berlin",
    "America/New_York",
    "Asia/Kolkata",
    "Asia/Kathmandu",
    "Australia/Lord_Howe",
    "America/St_Johns",
    "America/Havana",
    "Asia/Beirut",
    "Africa/Casablanca",
    "Pacific/Apia",
    "America/Sao_Paulo",
]
moments = st.datetimes(datetime(2011, 1, 1), datetime(2027, 1, 1), timezones=st.just(UTC))
zones = st.sampled_from(ZONES).map(ZoneInfo)


def clock_bucket(zone: ZoneInfo, size: int, moment: datetime) -> datetime:
    """Back minute by minute, as long as clock and offset show the same bucket; clocks are changed at whole minutes."""

    def label(at: datetime) -> object:
        local = at.astimezone(zone)
        return local.utcoffset(), (local.replace(tzinfo=None) - datetime(2000, 1, 1)) // timedelta(seconds=size)

    start = moment.replace(second=0, microsecond=0)
    while label(start - timedelta(minutes=1)) == label(moment):
        start -= timedelta(minutes=1)
    return start


def day_bucket(zone: ZoneInfo, sampling: str, moment: datetime) -> datetime:
    """Back by quarters of an hour, as long as the date is of the same day, week or month."""

    def label(at: datetime) -> object:
        day = at.astimezone(zone).date()
        if sampling == "week":
            return day - timedelta(days=(day.weekday() + 1) % 7)
        return day.replace(day=1) if sampling == "month" else day

    minutes = timedelta(minutes=15)
    start = moment.replace(minute=moment.minute // 15 * 15, second=0, microsecond=0)
    while label(start - minutes) == label(moment):
        start -= minutes
    return start


def starts(sampling: str, zone: ZoneInfo, first: datetime, last: datetime) -> list[datetime]:
    return [buckets.moment(second) for second in buckets.starts(sampling, zone, first, last)]


@settings(max_examples=300, deadline=None)
@given(zones, st.sampled_from(list(CLOCK)), moments, st.integers(0, 3 * 86400), st.randoms())
def test_a_moment_lies_in_the_bucket_of_the_clock(
    zone: ZoneInfo, sampling: str, first: datetime, length: int, random: object
) -> None:
    last = first + timedelta(seconds=length)
    found = starts(sampling, zone, first, last)
    moment = first + timedelta(seconds=random.randint(0, length))  # type: ignore[attr-defined]
    assert found == sorted(set(found))
    assert max(start for start in found if start <= moment) == clock_bucket(zone, CLOCK[sampling], moment)
    assert (found[0] <= first, found[-1] <= last) == (True, True)


@settings(max_examples=100, deadline=None)
@given(zones, st.sampled_from(CALENDAR), moments, st.integers(0, 40 * 86400), st.randoms())
def test_a_moment_lies_in_the_bucket_of_the_calendar(
    zone: ZoneInfo, sampling: str, first: datetime, length: int, random: object
) -> None:
    assume(zone.key != "America/St_Johns" or first.year > 2011)  # It changed its clocks just after midnight.
    last = first + timedelta(seconds=length)
    found = starts(sampling, zone, first, last)
    moment = first + timedelta(seconds=random.randint(0, length))  # type: ignore[attr-defined]
    assert found == sorted(set(found))
    assert max(start for start in found if start <= moment) == day_bucket(zone, sampling, moment)


def test_days_have_23_and_25_hours() -> None:
    berlin = ZoneInfo("Europe/Berlin")
    for day, hours in ((datetime(2026, 3, 29), 23), (datetime(2026, 10, 25), 25)):
        first = day.replace(tzinfo=berlin).astimezone(UTC)
        last = first + timedelta(days=2)
        days = starts("day", berlin, first, last)
        assert days[1] - days[0] == timedelta(hours=hours)
        assert [start for start in starts("hour", berlin, first, last) if start < days[1]] == [
            first + timedelta(hours=n) for n in range(hours)
        ]


def test_weeks_start_on_sunday() -> None:
    found = starts("week", ZoneInfo("UTC"), datetime(2026, 3, 4, 12, tzinfo=UTC), datetime(2026, 3, 8, tzinfo=UTC))
    assert found == [datetime(2026, 3, 1, tzinfo=UTC), datetime(2026, 3, 8, tzinfo=UTC)]


def test_a_date_that_a_zone_left_out_is_no_bucket() -> None:
    """Samoa had no 30 December 2011."""
    apia = ZoneInfo("Pacific/Apia")
    found = starts("day", apia, datetime(2011, 12, 29, 12, tzinfo=UTC), datetime(2012, 1, 1, tzinfo=UTC))
    assert [start.astimezone(apia).day for start in found] == [29, 31, 1]


@pytest.mark.parametrize("sampling", [*CLOCK, *CALENDAR])
@pytest.mark.parametrize("zone", ["UTC", "Pacific/Kiritimati", "Pacific/Niue"])
def test_any_range_ends(sampling: str, zone: str) -> None:
    least, most = datetime.min.replace(tzinfo=UTC), datetime.max.replace(tzinfo=UTC)
    with pytest.raises(TooManyBucketsError):
        buckets.starts(sampling, ZoneInfo(zone), least, most)
    assert len(buckets.starts(sampling, ZoneInfo(zone), most, most)) == 1
    assert len(buckets.starts(sampling, ZoneInfo(zone), least, least)) == 1
    assert buckets.starts(sampling, ZoneInfo(zone), most, least) == []


def test_so_many_buckets_and_no_more() -> None:
    first = datetime(2026, 1, 1, tzinfo=UTC)
    last = first + timedelta(minutes=MAX_BUCKETS) - timedelta(microseconds=1)
    assert len(buckets.starts("minute", UTC, first, last)) == MAX_BUCKETS
    with pytest.raises(TooManyBucketsError):
        buckets.starts("minute", UTC, first, last + timedelta(microseconds=1))


@given(st.integers(-(10**20), 10**20), st.integers(1, 10**9), st.integers(0, 3))
def test_ratios_are_rounded_half_away_from_zero(numerator: int, denominator: int, digits: int) -> None:
    found = _ratio(numerator, denominator, digits)
    twice = 2 * (int(found.scaleb(digits)) * denominator - numerator * 10**digits)  # What is off, in halves.
    assert abs(twice) <= denominator
    assert abs(twice) != denominator or (twice > 0) == (numerator > 0)


@pytest.mark.parametrize(
    ("number", "text"),
    [("86.100", "86.1"), ("750.00", "750"), ("0.00", "0"), ("-0.00", "0"), ("1E+3", "1000"), ("100", "100")],
)
def test_numbers_are_written_without_noise(number: str, text: str) -> None:
    assert orjson.dumps(_number(Decimal(number))).decode() == text
