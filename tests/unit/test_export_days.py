"""The number of days of an export: calendar days in the configured time zone."""

import calendar
from datetime import UTC, date, datetime, timedelta
from functools import lru_cache
from zoneinfo import ZoneInfo, available_timezones

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from service.errors import BadRequestError
from service.jsonapi import query_string
from service.query import Caller
from service.schemas.resource import Resource, configured
from service.tables import export_request
from service.tables.export_request import ExportRequest

NOW = datetime(2027, 1, 15, 12, 34, 56, 789, tzinfo=UTC)
CALLER = Caller(7, None, False)
ZONES = sorted(available_timezones())
bounded = settings(deadline=None, derandomize=True)


@lru_cache(8)
def cdrs(zone: str) -> Resource:
    return configured(ZoneInfo(zone), {})["cdrs"]


def export(zone: str, query: str, *, max_days: int = 31, now: datetime = NOW) -> ExportRequest:
    return export_request.parse(cdrs(zone), query_string.parse(query), CALLER, now, max_days, 1000)


def between(first: object, end: object, operators: str = "gteq lt") -> str:
    lower, upper = operators.split()
    return f"filter[time_start_{lower}]={first}&filter[time_start_{upper}]={end}".replace("+", "%2B")


def months(year: int) -> list[tuple[date, date]]:
    return [
        (first := date(year, month, 1), first + timedelta(days=calendar.monthrange(year, month)[1]))
        for month in range(1, 13)
    ]


@pytest.mark.parametrize("zone", ZONES)
def test_every_month_is_within_31_days_in_every_zone(zone: str) -> None:
    for first, end in months(2026):
        length = (end - first).days
        assert export(zone, between(first, end), max_days=length)
        with pytest.raises(BadRequestError, match=f"this one covers {length + 1}"):
            export(zone, between(first, f"{end}T12:00"), max_days=length)


# Zones and years in which clocks were moved within months of 31 days, by an hour, half an hour, two hours, and a day.
MOVED = [
    ("Europe/Berlin", 2024),
    ("America/New_York", 2026),
    ("Australia/Lord_Howe", 2025),
    ("Antarctica/Troll", 2026),
    ("Africa/Casablanca", 2025),
    ("America/Sao_Paulo", 2018),
    ("America/Asuncion", 2017),
    ("America/Havana", 2020),
    ("Asia/Kathmandu", 2026),
    ("Pacific/Chatham", 2025),
    ("Pacific/Apia", 2011),
    ("Asia/Pyongyang", 2015),
    ("Europe/Lisbon", 1992),
    ("Pacific/Kwajalein", 1969),
]


@pytest.mark.parametrize(("zone", "year"), MOVED)
def test_clocks_that_are_moved_make_no_month_too_long(zone: str, year: int) -> None:
    for first, end in months(year):
        assert export(zone, between(first, end))


@pytest.mark.parametrize(
    ("zone", "first", "end", "days"),
    [
        ("Europe/Berlin", "2026-10-01", "2026-11-01", 31),
        ("Europe/Berlin", "2026-10-01", "2026-11-01T00:00:01", 32),
        ("Europe/Berlin", "2026-03-01", "2026-04-01", 31),
        ("Europe/Berlin", "2026-03-01", "2026-04-01T01:00:01", 32),
        ("Europe/Berlin", "2026-10-25", "2026-10-26", 1),
        ("Europe/Berlin", "2026-10-25", "2026-10-26T00:00:01", 2),
        ("Europe/Berlin", "2026-03-29", "2026-03-30", 1),
        ("Europe/Berlin", "2026-10-24T12:00", "2026-10-25T12:00", 1),
        ("UTC", "2026-10-01", "2026-11-01", 31),
        ("UTC", "2026-10-01", "2026-11-01T00:00:00.000001", 32),
        ("Asia/Kolkata", "2026-10-01T00:00:00Z", "2026-11-01T00:00:00Z", 31),
        ("Asia/Kolkata", "2026-10-01", "2026-11-02", 32),
        ("Australia/Lord_Howe", "2026-04-05", "2026-04-06", 1),
        ("Australia/Lord_Howe", "2026-10-01", "2026-11-01", 31),
        ("UTC", "2026-10-01", "2026-10-01", 0),
        ("UTC", "2026-10-02", "2026-10-01", 0),
    ],
)
def test_the_days_are_those_of_the_calendar(zone: str, first: str, end: str, days: int) -> None:
    assert export(zone, between(first, end), max_days=max(days, 1))
    if days > 1:
        with pytest.raises(BadRequestError, match=f"at most {days - 1} days, and this one covers {days}"):
            export(zone, between(first, end), max_days=days - 1)


@bounded
@given(st.datetimes(datetime(1980, 1, 1), datetime(2026, 1, 1)), st.integers(1, 40), st.sampled_from(ZONES))
def test_the_same_time_some_days_later_is_so_many_days(local: datetime, days: int, zone: str) -> None:
    """By the zone's clocks, and by hours that nobody has moved."""
    assert export(zone, between(local.isoformat(), (local + timedelta(days=days)).isoformat()), max_days=days)
    moment = local.replace(tzinfo=UTC)
    assert export(zone, between(moment.isoformat(), (moment + timedelta(days=days)).isoformat()), max_days=days)


@bounded
@given(st.datetimes(datetime(1980, 1, 1), datetime(2026, 1, 1), timezones=st.just(UTC)), st.sampled_from(ZONES))
def test_the_default_window_is_one_day_at_any_moment(now: datetime, zone: str) -> None:
    assert export(zone, "", max_days=1, now=now)


@pytest.mark.parametrize("zone", ["UTC", "Europe/Berlin", "America/New_York"])
def test_the_first_and_the_last_moment_have_days_too(zone: str) -> None:
    least, most = "0001-01-01T00:00:00Z", "9999-12-31T23:59:59.9999999Z"
    assert export(zone, between(least, least, "gteq lteq")).name == "cdrs_00010101T000000Z_00010101T000000Z"
    assert export(zone, between(most, most, "gteq lteq")).query
    with pytest.raises(BadRequestError):
        export(zone, between(least, most, "gteq lteq"))
