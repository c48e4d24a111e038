"""Byte ranges, and names of recordings in headers."""

import re
from datetime import UTC, datetime

from hypothesis import given
from hypothesis import strategies as st

from service.recordings import file_names, ranges
from service.recordings.delivery import RequestConditions
from service.recordings.ranges import Validators

BODY = bytes(range(100))
NEW_YEAR = datetime(2026, 1, 1, tzinfo=UTC)
NUMBERS = st.integers(0, 150)


def body(text: str, size: int) -> tuple[int, bytes]:
    choice = ranges.evaluate(Validators(size, '"tag"', NEW_YEAR), RequestConditions(range=text))
    return choice.status, BODY[:size][choice.start : choice.start + choice.count]


@given(first=NUMBERS, last=NUMBERS, size=st.integers(0, 100))
def test_a_range_from_first_to_last_is_what_slicing_gives(first: int, last: int, size: int) -> None:
    wanted = BODY[:size][first : last + 1]
    expected = (200, BODY[:size]) if last < first else (206, wanted) if wanted else (416, b"")
    assert body(f"bytes={first}-{last}", size) == expected


@given(number=NUMBERS, size=st.integers(0, 100))
def test_a_range_from_a_byte_on_or_of_the_end_is_what_slicing_gives(number: int, size: int) -> None:
    rest, end = BODY[:size][number:], BODY[:size][max(size - number, 0) :]
    assert body(f"bytes={number}-", size) == ((206, rest) if rest else (416, b""))
    assert body(f"bytes=-{number}", size) == ((206, end) if end else (416, b""))


@given(st.text())
def test_whatever_a_range_says_the_bytes_are_of_the_recording(text: str) -> None:
    status, found = body(f"bytes={text}", 100)
    assert status in (200, 206, 416)
    assert found in BODY


@given(st.text(st.characters(exclude_categories=["Cs"])))
def test_a_name_in_a_header_stays_in_it_and_can_be_read_back(tag: str) -> None:
    name = file_names.file_name(tag, "mp3")
    if name is None:
        assert re.search(r"[/\x00-\x1f\x7f]", tag) or len(tag.encode()) > 251
        return
    header = file_names.attachment(name)
    assert header.isascii()
    assert header.isprintable()
    assert re.fullmatch(r"""attachment; filename="[^"\\]*"(; filename\*=UTF-8''[A-Za-z0-9._~%-]+)?""", header)


@given(st.text())
def test_conditions_are_handed_on_only_where_they_can_be_read(text: str) -> None:
    for handed in (ranges.etag_list(text), ranges.strong_etag(text)):
        assert handed is None or (handed.isascii() and handed.isprintable() and handed == text.strip())


@given(st.lists(st.one_of(st.integers(0, 10**12).map(str), st.sampled_from(["Mon,", "Jan", "GMT", "-2359", "0:0:0"]))))
def test_a_time_is_read_or_is_none_whatever_it_says(words: list[str]) -> None:
    read = ranges.http_date(" ".join(words))
    assert read is None or read.tzinfo is UTC
