"""Times in filters: accepted formats and their values."""

from datetime import UTC, datetime, timedelta, timezone
from functools import lru_cache
from zoneinfo import ZoneInfo, available_timezones

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from marshmallow.exceptions import ValidationError

from service.schemas.fields import Timestamp
from service.schemas.resource import configured

bounded = settings(deadline=None, derandomize=True)
FIRST, LAST = datetime.min.replace(tzinfo=UTC), datetime.max.replace(tzinfo=UTC)
ZONES = sorted(available_timezones())


@lru_cache(8)
def field(zone: str) -> Timestamp:
    attribute = configured(ZoneInfo(zone), {})["cdrs"].attributes["time_start"]
    assert isinstance(attribute, Timestamp)
    return attribute


def read(text: str, zone: str = "UTC") -> datetime:
    moment = field(zone).deserialize(text)
    assert isinstance(moment, datetime)
    return moment


CLOCKS = ["10:20", "10:20:00", "10:20:00.000", "10:20:00.0000000"]


@pytest.mark.parametrize("clock", CLOCKS)
@pytest.mark.parametrize("between", ["T", " "])
@pytest.mark.parametrize(
    ("offset", "minutes"),
    [
        ("Z", 0),
        ("z", 0),
        (" UTC", 0),
        ("+00", 0),
        ("-00", 0),
        ("+02", 120),
        ("-03", -180),
        ("+0530", 330),
        ("-0330", -210),
        ("+12:45", 765),
        (" 02", 120),
        (" 0530", 330),
        (" 05:30", 330),
        ("+23:59", 1439),
        ("-23:59", -1439),
    ],
)
@pytest.mark.parametrize("zone", ["UTC", "America/New_York"])
def test_an_offset_is_read_in_each_of_its_forms(clock: str, between: str, offset: str, minutes: int, zone: str) -> None:
    expected = datetime(2026, 2, 27, 10, 20, tzinfo=timezone(timedelta(minutes=minutes)))
    assert read(f"2026-02-27{between}{clock}{offset}", zone) == expected


BAD_DIGITS = ["+2", "+24", "+24:00", "+02:60", "+0275", "+02:0", "+020", "+02:00:00", "+-02", "+0\u0662"]
BAD_NAMES = ["UTC", " utc", " GMT", " Z", "  02", " +02", "ZZ"]


@pytest.mark.parametrize("end", [*BAD_DIGITS, *BAD_NAMES])
def test_another_end_of_a_time_is_refused(end: str) -> None:
    with pytest.raises(ValidationError):
        read(f"2026-02-27T10:00{end}")


@pytest.mark.parametrize(
    "text", ["0000-01-01", "2026-02-30", "2026-13-01", "10000-01-01", "2026-02-27T25:00", "Z", "+02"]
)
def test_what_is_no_moment_is_refused(text: str) -> None:
    with pytest.raises(ValidationError):
        read(text)


@pytest.mark.parametrize("zone", ZONES)
def test_the_extremes_of_dotnet_are_read_in_every_zone(zone: str) -> None:
    """DateTime.MinValue and MaxValue, without an offset, with the zone's own and with that of UTC."""
    day = timedelta(days=1)
    for text in ("0001-01-01", "0001-01-01T00:00:00", "0001-01-01T00:00:00.0000000", "0001-01-01 00:00:00Z"):
        assert FIRST <= read(text, zone) < FIRST + day
    for text in ("9999-12-31T23:59:59.9999999", "9999-12-31 23:59:59", "9999-12-31T23:59:59.9999999Z"):
        assert LAST - day < read(text, zone) <= LAST


@pytest.mark.parametrize(
    ("text", "moment"),
    [
        ("0001-01-01T00:00:00+14:00", FIRST),
        ("0001-01-01T13:59:59+14", FIRST),
        ("0001-01-01T00:00:00+00", FIRST),
        ("9999-12-31T23:59:59.9999999-12:00", LAST),
        ("9999-12-31T12:00:00.0000001-12", LAST),
        ("9999-12-31T24:00", LAST),
        ("9999-12-31T23:59:59.9999999Z", LAST),
    ],
)
def test_a_moment_beyond_the_years_that_python_knows_is_the_nearest_of_them(text: str, moment: datetime) -> None:
    assert read(text) == moment


OFFSETS = st.integers(-(24 * 60 - 1), 24 * 60 - 1).map(lambda minutes: timezone(timedelta(minutes=minutes)))


@bounded
@given(st.datetimes(min_value=datetime(2, 1, 1), max_value=datetime(9998, 12, 31), timezones=OFFSETS))
def test_what_python_writes_is_read_back(moment: datetime) -> None:
    for separator in "T ":
        text = moment.isoformat(separator)
        assert read(text) == read(text.replace("+", " ")) == moment


@bounded
@given(st.datetimes(), st.sampled_from(ZONES))
def test_a_time_without_offset_is_the_zones_own_or_the_nearest_that_there_is(local: datetime, zone: str) -> None:
    found = read(local.isoformat(), zone)
    try:
        assert found == local.replace(tzinfo=ZoneInfo(zone)).astimezone(UTC)
    except OverflowError:
        assert found in (FIRST, LAST)


@bounded
@given(st.datetimes(timezones=st.just(UTC)), st.sampled_from(ZONES))
def test_what_is_shown_can_be_read_in_every_zone(moment: datetime, zone: str) -> None:
    text = f"{moment:%H:%M:%S.%f}+00"
    shown = field(zone).display(f"{moment.isoformat()[:10]} {text}")
    if shown is not None:  # Offsets of local mean time are cut to minutes.
        assert abs(read(shown, zone) - moment) < timedelta(minutes=1)
