"""Parsing of values. With backtracking, the tests of long texts would take hours."""

from decimal import Decimal as Number

import pytest
from marshmallow.exceptions import ValidationError

from service.schemas.fields import Decimal

LONG = 10**6


@pytest.mark.parametrize("text", ["1" * LONG + "x", "." + "1" * LONG + "x", "1" * LONG + ".1x"])
def test_a_long_number_that_is_none_is_refused_as_fast_as_it_is_read(text: str) -> None:
    with pytest.raises(ValidationError):
        Decimal("").deserialize(text)


@pytest.mark.parametrize("text", ["1e-16383", "1e131071", "-0.5", "0." + "0" * 16382 + "1", "NaN", "-Infinity"])
def test_a_number_that_postgresql_holds_is_read(text: str) -> None:
    assert str(Decimal("").deserialize(text)) == str(Number(text))


@pytest.mark.parametrize("text", ["1e-16384", "1e131072", "0e-16384", "0." + "0" * 16383 + "1", "1.5e-999999"])
def test_a_number_that_postgresql_cannot_hold_is_refused(text: str) -> None:
    with pytest.raises(ValidationError):
        Decimal("").deserialize(text)
