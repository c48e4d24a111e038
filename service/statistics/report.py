"""Renders sums by bucket as JSON: columns and totals."""

from collections.abc import Callable, Mapping, Sequence
from decimal import ROUND_HALF_UP, Decimal
from functools import reduce
from typing import Any

import orjson

from service.statistics.buckets import CLOCK
from service.statistics.question import Question
from service.statistics.sums import EXACT, CallSums

CENT = Decimal("0.01")

Column = Callable[[CallSums], Any]


def report(question: Question, starts: Sequence[int], sums: Mapping[int, CallSums]) -> bytes:
    """The response body. Quality statistics contain all buckets; volume statistics omit buckets without calls."""
    shown = [start for start in starts if question.statistic.quality or start in sums]
    cells = [sums.get(start, CallSums()) for start in shown]
    total = reduce(CallSums.plus, cells, CallSums())
    columns = _quality(CLOCK[question.sampling]) if question.statistic.quality else VOLUMES
    return orjson.dumps(
        {
            "data": {"t": shown, **{name: [column(cell) for cell in cells] for name, column in columns.items()}},
            "rows": len(shown),
            "totals": {"t": 0, **{name: column(total) for name, column in columns.items()}},
        }
    )


def _minutes(sums: CallSums) -> Any:
    return _number(_ratio(sums.duration, 60, 2))


def _average_duration(sums: CallSums) -> Any:
    """Seconds; null if no call was successful."""
    return _number(_ratio(sums.talked, sums.successful, 2)) if sums.successful else None


def _successful_share(sums: CallSums) -> Any:
    """Per cent; null without calls."""
    return _number(_ratio(sums.successful, sums.calls, 3) * 100) if sums.calls else None


def _price(sums: CallSums) -> Any:
    return _number(sums.price.quantize(CENT, ROUND_HALF_UP, EXACT)) if sums.price.is_finite() else None


def _quality(seconds: int) -> Mapping[str, Column]:
    return {
        "total_calls": lambda sums: sums.calls,
        "acd": _average_duration,
        "asr": _successful_share,
        "cps": lambda sums: sums.calls / seconds,
    }


VOLUMES: Mapping[str, Column] = {
    "total_calls": lambda sums: sums.calls,
    "successful_calls": lambda sums: sums.successful,
    "failed_calls": lambda sums: sums.failed,
    "total_duration": _minutes,
    "acd": _average_duration,
    "asr": _successful_share,
    "total_price": _price,
}


def _ratio(numerator: int, denominator: int, digits: int) -> Decimal:
    """The quotient, rounded half away from zero, computed exactly in integers."""
    rounded = (2 * abs(numerator) * 10**digits + denominator) // (2 * denominator)
    return EXACT.scaleb(Decimal(rounded if numerator >= 0 else -rounded), -digits)


def _number(value: Decimal) -> orjson.Fragment:
    """A JSON number with all digits, without trailing zeros."""
    text = format(value, "f")
    text = text.rstrip("0").rstrip(".") if "." in text else text
    return orjson.Fragment("0" if text in ("-0", "") else text)
